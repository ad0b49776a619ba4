"""Bitstream archives: streams with their rows, for others to decode and score."""
