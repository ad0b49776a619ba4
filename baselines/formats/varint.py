"""A whole number to the fewest bytes of 7 bits each, as the streams of several codecs have it."""


def varint(number: int) -> bytes:
    """Lowest digit first; all bytes but the last have their highest bit set. Not for negatives.

    >>> varint(5).hex(), varint(768).hex()
    ('05', '8006')
    """
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)
