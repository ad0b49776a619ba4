"""Measurements on a GPU, part by part, and the page that is written of them."""
