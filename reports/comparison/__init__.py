"""Results side by side: tables and an HTML page."""
