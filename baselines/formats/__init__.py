"""File formats and programs that several codecs use."""
