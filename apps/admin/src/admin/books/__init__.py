"""The catalogue with its stock: A-03 to A-06."""
