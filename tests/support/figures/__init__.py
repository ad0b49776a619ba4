"""Figures as their readers see them."""
