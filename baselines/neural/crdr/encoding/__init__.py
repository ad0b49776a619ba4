"""Decisions of CRDR's encoder for one image: its latents, its rate level, its stream."""
