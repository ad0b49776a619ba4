"""Raw pixels behind a header of four bytes: measures the harness, not a codec."""

import struct
from hashlib import sha256

import numpy as np

from benchmark.codec import CodecInfo, OneOf, Pixels, Setting, require_accepted
from benchmark.errors import BadOption, CorruptStream

HEADER = struct.Struct("<HH")  # width, height; 16 bits are what JPEG and WebP have at most
FORMAT = "width, height as 16-bit little endian; rows of RGB, {bits} bits a channel"


class Raw:
    """Uncompressed pixels: 24 bits per pixel and 32 bits of header."""

    name = "raw"
    sweep = (Setting("bits", 8),)
    accepts = OneOf(sweep)

    def describe(self) -> CodecInfo:
        """Describe the format; the fingerprint is of its description."""
        return CodecInfo(
            version="raw 1",
            command=FORMAT,
            licence="MIT",
            fingerprint=sha256(FORMAT.encode()).hexdigest(),
            revision=1,
            timed="one copy of the pixels in this process",
            chroma="4:4:4",
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return header and rows; `BadOption` for a depth other than 8 or a side over 65535 px."""
        require_accepted(self, setting)
        height, width, _ = pixels.shape
        if max(height, width) > 65535:
            raise BadOption(f"raw stores at most 65535 x 65535 px, not {width} x {height}")
        return HEADER.pack(width, height) + pixels.tobytes()

    def decode(self, data: bytes) -> Pixels:
        """Return the pixels, read-only; `CorruptStream` unless header and length agree."""
        if len(data) < HEADER.size:
            raise CorruptStream(f"{len(data)} bytes cannot hold raw's header")
        width, height = HEADER.unpack_from(data)
        size = HEADER.size + 3 * width * height
        if not width or not height or len(data) != size:
            raise CorruptStream(
                f"a raw stream of {width} x {height} px has {size} bytes, not {len(data)}"
            )
        return np.frombuffer(data, np.uint8, offset=HEADER.size).reshape(height, width, 3)
