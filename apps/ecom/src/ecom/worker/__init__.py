"""``python -m ecom.worker``: cancels orders that Inventory has rejected."""
