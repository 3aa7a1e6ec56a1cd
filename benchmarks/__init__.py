"""Measurements: exactness over many configurations, speed of the model and of the simulation. Not part of the tests."""
