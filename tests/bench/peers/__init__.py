"""What scorer is measured against: one small program each, written as a careful user of that library would."""
