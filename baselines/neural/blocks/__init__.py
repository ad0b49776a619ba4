"""Layers of learned codecs."""
