"""Codecs under test: one file per codec, each a class with `encode` and `decode`."""
