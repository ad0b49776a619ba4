"""WebP, lossy (VP8, 4:2:0), through imagecodecs' libwebp."""

import numpy as np

from baselines.formats.imagecodecs_wheel import describe_part, require_imagecodecs
from benchmark.codec import Between, CodecInfo, Pixels, Setting, require_accepted
from benchmark.errors import BadOption
from benchmark.facts import Facts, Memory, Typical


class WebP:
    """Option: method, libwebp's effort from 0 (fast) to 6 (slow), 4 by default as in cwebp."""

    name = "webp"
    sweep = tuple(Setting("quality", value) for value in (0, 5, 15, 30, 50, 70, 85, 95))
    accepts = Between("quality", 0, 100)
    facts = Facts(
        "WebP", "standard", colour="#CC79A7", marker="v", chroma="4:2:0",
        memory=Memory(15, 0, torch=False),
        typical=(Typical("quality", ((1, 0.15), (50, 0.18), (85, 0.26))),),
        published=(("WebP", "Pillow 7.1.2"),),
    )  # fmt: skip

    def __init__(self, *, method: int = 4) -> None:
        require_imagecodecs("webp", "WEBP")
        if method not in range(7):
            raise BadOption(f"webp: method is 0 to 6, not {method}")
        self._method = method

    def describe(self) -> CodecInfo:
        """Return the versions of libwebp and imagecodecs; fingerprint their files."""
        return describe_part(
            "webp",
            ("libwebp", "libsharpyuv"),
            command="imagecodecs.webp_encode(level={quality}, lossless=False, "
            f"method={self._method}, numthreads=0): 4:2:0, one thread",
            licence="BSD-3-Clause",
            timed="one call in this process",
            chroma="4:2:0",
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return a RIFF file of one VP8 chunk; `BadOption` unless quality is from 0 to 100."""
        from imagecodecs import webp_encode

        require_accepted(self, setting)
        return bytes(
            webp_encode(
                np.ascontiguousarray(pixels),
                setting.value,
                lossless=False,
                method=self._method,
                numthreads=0,  # 1 would switch libwebp's multithreading on
            )
        )

    def decode(self, data: bytes) -> Pixels:
        """Return the pixels; raises imagecodecs' `WebpError` for anything but a whole WebP."""
        from imagecodecs import webp_decode

        decoded: Pixels = webp_decode(data, index=0, hasalpha=False)
        return decoded

    def container_bytes(self, data: bytes) -> int:
        """Return the bytes of the RIFF file that are not the content of its VP8 chunk."""
        return len(data) - int.from_bytes(data[16:20], "little")
