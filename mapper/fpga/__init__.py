"""FPGA resources of a design without a synthesis."""
