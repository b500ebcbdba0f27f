"""Compares the summaries that the views read with the rows that they are made of."""
