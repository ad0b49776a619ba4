"""AVIF, 8 bits, through imagecodecs' libavif: libaom encodes, dav1d decodes."""

from baselines.formats.imagecodecs_wheel import describe_part, require_imagecodecs
from benchmark.codec import CodecInfo, Pixels, Setting
from benchmark.errors import BadOption


class AVIF:
    """Options: speed 0 (slow) to 10 (fast), 6 by default; subsampling 444 (default), 422 or 420.

    Both defaults are avifenc's. imagecodecs leaves the rest to libavif, whose version 1.3 tunes
    libaom for SSIM, not for PSNR.
    """

    name = "avif"
    sweep = tuple(Setting("quality", value) for value in (5, 15, 25, 35, 50, 65, 80, 90))

    def __init__(self, *, speed: int = 6, subsampling: int = 444) -> None:
        require_imagecodecs("avif", "AVIF")
        if speed not in range(11):
            raise BadOption(f"avif: speed is 0 to 10, not {speed}")
        if subsampling not in (420, 422, 444):
            raise BadOption(f"avif: subsampling is 420, 422 or 444, not {subsampling}")
        self._speed = speed
        self._pixelformat = f"yuv{subsampling}"
        self._chroma = ":".join(str(subsampling))

    def describe(self) -> CodecInfo:
        """Return the versions of libavif, libaom and imagecodecs; fingerprint their files."""
        return describe_part(
            "avif",
            ("libavif", "libaom"),
            command=f"imagecodecs.avif_encode(level={{quality}}, speed={self._speed}, "
            f"pixelformat={self._pixelformat!r}, bitspersample=8, codec='aom', primaries=1, "
            "transfer=13, matrix=6, numthreads=1): sRGB as full-range BT.601 YCbCr",
            licence="BSD-2-Clause",
            timed="one call in this process, conversion from and to RGB included",
            chroma=self._chroma,
            tuned_for="SSIM",
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return one still picture; `BadOption` unless quality is a whole number from 0 to 99."""
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
        """Return the pixels; raises imagecodecs' `AvifError` for anything but a whole AVIF."""
        from imagecodecs import avif_decode

        decoded: Pixels = avif_decode(data, index=0, numthreads=1)
        return decoded
