"""Entropy models and coders of learned codecs."""
