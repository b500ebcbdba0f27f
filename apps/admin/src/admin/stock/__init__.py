"""Stock: A-07 to A-10."""
