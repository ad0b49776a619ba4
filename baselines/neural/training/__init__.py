"""Photographs and a recipe -> a checkpoint. Torch, numpy, Pillow, safetensors and lpips only."""
