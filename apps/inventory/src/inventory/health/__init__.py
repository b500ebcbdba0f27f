"""The public health route: I-01."""
