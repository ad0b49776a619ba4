"""A count and its noun: `1 image`, `2 images`."""


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return the count in digits and the noun, in the singular or the plural.

    plural: for what takes more than an `s`, such as a noun with its verb.

    >>> counted(1, "codec"), counted(0, "codec"), counted(24, "image")
    ('1 codec', '0 codecs', '24 images')
    >>> counted(1, "row is", "rows are"), counted(2, "row is", "rows are")
    ('1 row is', '2 rows are')
    """
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"
