"""Stock that Inventory holds for orders: I-04 and I-06."""
