"""JPEG XL, lossy (VarDCT, XYB), through imagecodecs' libjxl."""

from baselines.formats.imagecodecs_wheel import describe_part, require_imagecodecs
from benchmark.codec import Between, CodecInfo, Pixels, Setting, require_accepted
from benchmark.errors import BadOption
from benchmark.facts import Facts, Memory, Typical


class JPEGXL:
    """Option: effort, from 1 (fast) to 10 (slow), 7 by default as in cjxl.

    The setting is the Butteraugli distance: 1 is called visually lossless, and the lowest rate is
    the largest distance. From 20 on libjxl codes at half the resolution.
    """

    name = "jpegxl"
    sweep = tuple(Setting("distance", value) for value in (25, 15, 9, 5.5, 3, 1.7, 1, 0.5))
    accepts = Between("distance", 0.01, 25)
    facts = Facts(
        "JPEG XL", "standard", colour="#009E73", marker="P",
        chroma="4:4:4", tuned_for="Butteraugli", memory=Memory(70, 0, torch=False),
        typical=(Typical("distance", ((0.5, 1.7), (3, 1.1), (15, 1.0))),),
    )  # fmt: skip

    def __init__(self, *, effort: int = 7) -> None:
        require_imagecodecs("jpegxl", "JPEGXL")
        if effort not in range(1, 11):
            raise BadOption(f"jpegxl: effort is 1 to 10, not {effort}")
        self._effort = effort

    def describe(self) -> CodecInfo:
        """Return the versions of libjxl and imagecodecs; fingerprint their files."""
        return describe_part(
            "jpegxl",
            ("libjxl",),
            command="imagecodecs.jpegxl_encode(distance={distance}, lossless=False, "
            f"effort={self._effort}, photometric='rgb', usecontainer=False, numthreads=1): "
            "XYB, no chroma subsampling",
            licence="BSD-3-Clause",
            timed="one call in this process, conversion from and to RGB included",
            chroma="4:4:4",
            tuned_for="Butteraugli",
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return a bare codestream; `BadOption` unless distance is from 0.01 to 25."""
        from imagecodecs import jpegxl_encode

        require_accepted(self, setting)
        return bytes(
            jpegxl_encode(
                pixels,
                distance=setting.value,
                lossless=False,
                effort=self._effort,
                photometric="rgb",
                usecontainer=False,
                numthreads=1,
            )
        )

    def decode(self, data: bytes) -> Pixels:
        """Return the pixels; raises `ValueError` or `JpegxlError` for anything but a JPEG XL."""
        from imagecodecs import jpegxl_decode

        decoded: Pixels = jpegxl_decode(data, index=0, numthreads=1)
        return decoded

    def container_bytes(self, data: bytes) -> int:
        """Return 0: the stream is a bare codestream."""
        return 0
