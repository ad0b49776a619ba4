"""Measurement of cells: encode, decode from the bytes alone, time, score, record."""
