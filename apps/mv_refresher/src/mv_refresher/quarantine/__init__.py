"""Watches the change records that Flink could not apply."""
