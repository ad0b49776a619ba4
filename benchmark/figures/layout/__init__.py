"""Texts around what a figure shows: their sizes, labels that hide nothing, legends below."""
