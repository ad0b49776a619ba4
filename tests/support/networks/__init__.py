"""Checkpoints of small networks with drawn weights."""
