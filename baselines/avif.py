"""Pixels to an 8-bit AVIF and back, through imagecodecs' libavif: libaom codes, dav1d decodes."""

from pathlib import Path

from benchmark.codec import CodecInfo, Pixels, Setting
from benchmark.errors import BadOption, Unavailable
from benchmark.system.digest import files_sha256
from benchmark.system.programs import package_folder


class AVIF:
    """Options: speed 0 (slow) to 10 (fast), 6 by default; subsampling 444 (default), 422 or 420.

    Both defaults are avifenc's. imagecodecs leaves the rest to libavif, whose version 1.3 tunes
    libaom for SSIM, not for PSNR.
    """

    name = "avif"
    sweep = tuple(Setting("quality", value) for value in (5, 15, 25, 35, 50, 65, 80, 90))

    def __init__(self, *, speed: int = 6, subsampling: int = 444) -> None:
        try:
            from imagecodecs import AVIF
        except ImportError as error:
            raise Unavailable("avif needs the Python package imagecodecs: install it") from error
        if not AVIF.available:
            raise Unavailable("avif is missing from this imagecodecs: install a complete wheel")
        if speed not in range(11):
            raise BadOption(f"avif: speed is 0 to 10, not {speed}")
        if subsampling not in (420, 422, 444):
            raise BadOption(f"avif: subsampling is 420, 422 or 444, not {subsampling}")
        self._speed = speed
        self._pixelformat = f"yuv{subsampling}"

    def describe(self) -> CodecInfo:
        """libavif, libaom and imagecodecs; the fingerprint is of their compiled files."""
        import imagecodecs

        folder = package_folder("imagecodecs")
        bundled = folder.parent / "imagecodecs.libs"
        libaom = sorted(bundled.glob("libaom*"))
        compiled = [*sorted(folder.glob("_avif.*so")), *sorted(bundled.glob("libavif*")), *libaom]
        versions = [imagecodecs.avif_version(), *map(_release_of_library, libaom)]
        return CodecInfo(
            version=f"{', '.join(versions)}, imagecodecs {imagecodecs.__version__}",
            command=f"imagecodecs.avif_encode(level={{quality}}, speed={self._speed}, "
            f"pixelformat={self._pixelformat!r}, bitspersample=8, codec='aom', primaries=1, "
            "transfer=13, matrix=6, numthreads=1): sRGB as full-range BT.601 YCbCr",
            licence="BSD-2-Clause",
            fingerprint=files_sha256(compiled),
            revision=1,
            timed="one call in this process, conversion from and to RGB included",
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """One still picture; `BadOption` unless quality is a whole number from 0 to 99."""
        from imagecodecs import avif_encode

        # 100 means lossless to imagecodecs: other matrix, no subsampling
        if setting.name != "quality" or setting.value not in range(100):
            raise BadOption(f"avif takes a whole quality from 0 to 99, not {setting}")
        return bytes(
            avif_encode(
                pixels,
                int(setting.value),
                speed=self._speed,
                pixelformat=self._pixelformat,
                bitspersample=8,
                codec="aom",
                primaries=1,  # the code points of H.273: BT.709, sRGB, BT.601
                transfer=13,
                matrix=6,
                numthreads=1,
            )
        )

    def decode(self, data: bytes) -> Pixels:
        """The pixels; imagecodecs' `AvifError` for anything but a whole AVIF."""
        from imagecodecs import avif_decode

        decoded: Pixels = avif_decode(data, index=0, numthreads=1)
        return decoded


def _release_of_library(path: Path) -> str:
    """The release in a shared library's file name, since imagecodecs does not tell libaom's.

    >>> _release_of_library(Path("libaom-91a0fe69.so.3.13.1"))
    'libaom 3.13.1'
    """
    name, _, release = path.name.partition(".so.")
    return f"{name.partition('-')[0]} {release}"
