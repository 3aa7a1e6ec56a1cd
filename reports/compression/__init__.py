"""What a compression did, step by step and layer by layer, and the sensitivity of layers."""
