"""Copies in stock: I-02, I-03, I-07 to I-10."""
