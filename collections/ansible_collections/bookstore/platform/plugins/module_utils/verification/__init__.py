"""Checks of a running platform; see model.py for their shape and runner.py for how they run."""
