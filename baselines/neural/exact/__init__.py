"""Transforms in float64 whose results have the same bits on every machine."""
