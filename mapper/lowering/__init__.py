"""From a quantized network to a program for one design: workloads, folds, tiles, layouts and memory words."""
