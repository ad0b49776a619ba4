"""Rows of measurements, made up, compared, or those of the project."""
