"""Design-space exploration: search spaces, the evaluation of a point, and the search that survives interruption."""
