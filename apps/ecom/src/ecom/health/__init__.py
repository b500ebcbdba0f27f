"""The public health route: E-01."""
