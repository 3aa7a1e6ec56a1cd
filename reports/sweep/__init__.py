"""What one or two parameters cost: the table in the terminal, and the page with its plots."""
