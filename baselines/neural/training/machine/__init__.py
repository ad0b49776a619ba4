"""Processes of a run, their precision, and steps that are left out."""
