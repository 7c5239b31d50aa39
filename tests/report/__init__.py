"""The report's page, as a browser shows it."""
