"""Losses that objectives share: rate and distortion, LPIPS, and those of GANs."""
