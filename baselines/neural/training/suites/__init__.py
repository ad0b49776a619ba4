"""Suites: several networks that train with the crops of one recipe."""
