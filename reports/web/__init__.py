"""What every page is made of: the HTML frame, figures, styles, scripts, and CSV files of the plotted numbers."""
