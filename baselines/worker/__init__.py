"""Codecs in their authors' environment: another Python, other libraries, another machine."""
