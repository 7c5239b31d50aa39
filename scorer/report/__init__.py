"""What an evaluation found, for people: one page for a browser, and text for a terminal. Nothing is computed here."""
