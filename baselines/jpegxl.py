"""Pixels to a lossy JPEG XL codestream (VarDCT, XYB) and back, through imagecodecs' libjxl."""

from benchmark.codec import CodecInfo, Pixels, Setting
from benchmark.errors import BadOption, Unavailable
from benchmark.system.digest import files_sha256
from benchmark.system.programs import package_folder


class JPEGXL:
    """Option: effort, from 1 (fast) to 10 (slow), 7 by default as in cjxl.

    The setting is the Butteraugli distance: 1 is called visually lossless, and the lowest rate is
    the largest distance. From 20 on libjxl codes at half the resolution.
    """

    name = "jpegxl"
    sweep = tuple(Setting("distance", value) for value in (25, 15, 9, 5.5, 3, 1.7, 1, 0.5))

    def __init__(self, *, effort: int = 7) -> None:
        try:
            from imagecodecs import JPEGXL
        except ImportError as error:
            raise Unavailable("jpegxl needs the Python package imagecodecs: install it") from error
        if not JPEGXL.available:
            raise Unavailable("jpegxl is missing from this imagecodecs: install a complete wheel")
        if effort not in range(1, 11):
            raise BadOption(f"jpegxl: effort is 1 to 10, not {effort}")
        self._effort = effort

    def describe(self) -> CodecInfo:
        """libjxl and the imagecodecs around it; the fingerprint is of their compiled files."""
        import imagecodecs

        folder = package_folder("imagecodecs")
        libraries = sorted((folder.parent / "imagecodecs.libs").glob("libjxl*"))
        return CodecInfo(
            version=f"{imagecodecs.jpegxl_version()}, imagecodecs {imagecodecs.__version__}",
            command="imagecodecs.jpegxl_encode(distance={distance}, lossless=False, "
            f"effort={self._effort}, photometric='rgb', usecontainer=False, numthreads=1): "
            "XYB, no chroma subsampling",
            licence="BSD-3-Clause",
            fingerprint=files_sha256([*sorted(folder.glob("_jpegxl.*so")), *libraries]),
            revision=1,
            timed="one call in this process, conversion from and to RGB included",
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """A bare codestream; `BadOption` unless distance is from 0.01 to 25."""
        from imagecodecs import jpegxl_encode

        if setting.name != "distance" or not 0.01 <= setting.value <= 25:
            raise BadOption(f"jpegxl takes a distance from 0.01 to 25, not {setting}")
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
        """The pixels; `ValueError` or `JpegxlError` for anything but a whole JPEG XL."""
        from imagecodecs import jpegxl_decode

        decoded: Pixels = jpegxl_decode(data, index=0, numthreads=1)
        return decoded
