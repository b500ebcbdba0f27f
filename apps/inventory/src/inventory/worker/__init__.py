"""``python -m inventory.worker``: consumes events of orders and books, and takes back holds that nobody claimed."""
