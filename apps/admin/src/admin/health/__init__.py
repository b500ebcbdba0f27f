"""The public health route: A-01."""
