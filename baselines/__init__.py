"""The contenders: one file a codec, each a class with `encode` and `decode`."""
