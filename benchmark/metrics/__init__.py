"""Metrics of decoded images and of sets of decoded images: a file per metric."""
