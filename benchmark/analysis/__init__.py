"""Rows to numbers that may be compared: means, BD-rates, intervals, trade-offs."""
