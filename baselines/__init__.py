"""Codecs under test: a file for each codec or library, each a class with `encode` and `decode`."""
