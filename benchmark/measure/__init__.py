"""Cells to rows: encode, decode from the bytes alone, time, score, record."""
