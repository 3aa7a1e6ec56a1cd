"""Pruning with the exact cycle model in the loop: sparsity per layer, balanced rows, whole load words."""
