"""Everybody's orders: A-11 and A-12."""
