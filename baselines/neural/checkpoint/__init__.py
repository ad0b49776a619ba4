"""Checkpoints of learned codecs and the cards beside them."""
