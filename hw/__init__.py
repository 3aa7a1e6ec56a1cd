"""Gateware of the zero-skipping array and its parameters. Importing the parameters does not import Amaranth."""
