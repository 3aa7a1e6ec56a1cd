"""The report of one network on one design: terminal tables and an HTML page."""
