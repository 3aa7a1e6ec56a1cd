"""Turns results into terminal tables and self-contained HTML pages. Imports result types only."""
