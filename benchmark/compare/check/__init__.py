"""Checks: the verdict on whether new rows are better than a reference, equal or worse."""
