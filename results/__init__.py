"""Measured results, and what writes them."""
