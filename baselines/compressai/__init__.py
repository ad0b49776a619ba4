"""CompressAI's learned codecs as contenders, and its networks as an architecture."""
