"""Variable-length integers (LEB128) of the streams of several codecs."""


def varint(number: int) -> bytes:
    """Return a number from 0 up in bytes of 7 bits, lowest first, all but the last marked by bit 7.

    >>> varint(5).hex(), varint(768).hex()
    ('05', '8006')
    """
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)
