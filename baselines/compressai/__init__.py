"""CompressAI's learned codecs as contenders."""
