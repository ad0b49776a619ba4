"""Metrics of decoded images and of sets of decoded images: one file per metric."""
