"""Measurements, not tests: cycles on known networks, time to map and cost, speed of the RTL simulation, exactness.

``python -m benchmarks [SECTION ...]`` measures and writes Markdown; ``benchmarks.sections`` lists the sections."""
