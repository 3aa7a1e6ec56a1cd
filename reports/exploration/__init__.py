"""The outcome of an exploration: the Pareto front in the terminal and as an HTML page."""
