"""Marker segments of a JPEG stream (ITU-T T.81, annex B): how many bytes are an application's."""

START_OF_SCAN = 0xDA
APPLICATION = range(0xE0, 0xF0)  # APP0 to APP15: JFIF, Exif, colour profiles


def application_bytes(stream: bytes) -> int:
    """Return the bytes of all application segments before the first scan, markers included."""
    found, start = 0, 2
    while start + 4 <= len(stream) and (marker := stream[start + 1]) != START_OF_SCAN:
        size = 2 + int.from_bytes(stream[start + 2 : start + 4])
        found += size if marker in APPLICATION else 0
        start += size
    return found
