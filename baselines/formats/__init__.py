"""File formats and programs shared by several codecs."""
