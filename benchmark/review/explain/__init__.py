"""Causes of the difference between two curves."""
