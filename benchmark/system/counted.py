"""A count and its noun: `1 image`, `2 images`."""


def counted(count: int, noun: str) -> str:
    """Return the count in digits and the noun, regular, in the singular or the plural.

    >>> counted(1, "codec"), counted(0, "codec"), counted(24, "image")
    ('1 codec', '0 codecs', '24 images')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
