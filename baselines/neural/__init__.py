"""Learned codecs: what they share, from layers to checkpoints. Nothing here imports CompressAI."""
