"""Runs programs on the RTL: builds the Verilog with a simulator, drives it with cocotb, and compares bits and cycles."""
