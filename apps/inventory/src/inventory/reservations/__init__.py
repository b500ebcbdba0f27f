"""Holds on stock for orders being placed: I-04 to I-06."""
