"""The entropy coder's bytes, read in a second way."""
