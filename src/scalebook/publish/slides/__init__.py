"""The slides: a deck for a browser, and its PDF."""
