"""Layers that learned codecs are built from."""
