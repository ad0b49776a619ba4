"""Photographs to train on and to validate with, and crops of them."""
