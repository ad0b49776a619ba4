"""File and colour formats that several codecs share."""
