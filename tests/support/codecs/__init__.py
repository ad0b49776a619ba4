"""Codecs that are given to `bench` as files."""
