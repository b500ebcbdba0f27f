"""Compares what arrived in analytics with what the sources say that they have."""
