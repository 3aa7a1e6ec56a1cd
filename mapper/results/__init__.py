"""Results as frozen plain data, ready for JSON and for pandas; the only room of the mapper that reports read."""
