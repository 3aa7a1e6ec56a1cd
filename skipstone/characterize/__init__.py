"""Characterization: what our own gateware costs in standard cells, measured where the tools are installed, carried as data."""
