"""Baseline JPEG through Pillow's libjpeg-turbo, with Pillow's defaults."""

from collections.abc import Mapping
from functools import cache
from io import BytesIO

from PIL import Image, ImageFile

from baselines.formats.pillow_jpeg import JPEGDecoder, jpeg_files, jpeg_version, open_jpeg
from benchmark.codec import Between, CodecInfo, Pixels, Setting, require_accepted
from benchmark.errors import BadOption
from benchmark.facts import Facts, KnownDifference, Memory, Typical
from benchmark.system.digest import files_sha256

SUBSAMPLING = {420: "4:2:0", 422: "4:2:2", 444: "4:4:4"}


class JPEG(JPEGDecoder):
    """Options: subsampling 420 (default), 422 or 444; optimize 1 for image-specific Huffman tables.

    The stream is JFIF with no other metadata. Pillow and pillow-simd write the same bytes where
    they carry the same libjpeg-turbo.
    """

    name = "jpeg"
    sweep = tuple(Setting("quality", value) for value in (5, 10, 20, 30, 50, 70, 90, 95))
    accepts = Between("quality", 1, 100, whole=True)

    @staticmethod
    def facts(options: Mapping[str, str]) -> Facts:
        """Return the facts of a variant; its chroma format is the option's."""
        # Pillow 7.1.2 came with the IJG's libjpeg 9d. On Kodak, quality 10 to 90, that one gives
        # the published means to seven digits, libjpeg-turbo .09 to .12 dB more (docs/experiments).
        why = (
            "published with the IJG's libjpeg 9d, whose chroma filter costs .1 dB; ours is "
            "libjpeg-turbo"
        )
        return Facts(
            "JPEG" + " (optimised)" * (options.get("optimize") == "1"), "standard", "Programs",
            "#000000", "s", titled=("optimize",),
            chroma=":".join(options.get("subsampling", "420")),
            memory=Memory(15, 0, torch=False),
            typical=(Typical("quality", ((5, 0.013), (50, 0.02), (95, 0.035))),),
            published=(("JPEG", "Pillow 7.1.2"), ("JPEG", "")),
            known_differences=(
                KnownDifference("psnr_db", why, 0.0, 0.12),
                KnownDifference("ms_ssim", why, 0.0, 0.32),
            ),
            reference=True,
        )  # fmt: skip

    def __init__(self, *, subsampling: int = 420, optimize: int = 0) -> None:
        if subsampling not in SUBSAMPLING:
            raise BadOption(f"jpeg: subsampling is 420, 422 or 444, not {subsampling}")
        if optimize not in (0, 1):
            raise BadOption(f"jpeg: optimize is 0 or 1, not {optimize}")
        self._subsampling = SUBSAMPLING[subsampling]
        self._optimize = bool(optimize)

    def describe(self) -> CodecInfo:
        """Return the versions of libjpeg-turbo and Pillow; fingerprint their compiled files."""
        return CodecInfo(
            version=jpeg_version(),
            command="PIL.Image.save(format='JPEG', quality={quality}, "
            f"subsampling={self._subsampling!r}, optimize={self._optimize})",
            licence="IJG AND BSD-3-Clause AND Zlib",
            fingerprint=files_sha256(jpeg_files()),
            revision=1,
            timed="one call in this process, with Pillow's copy of the pixels",
            chroma=self._subsampling,
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return a JFIF stream; `BadOption` unless quality is a whole number from 1 to 100."""
        require_accepted(self, setting)
        if self._optimize:
            _let_one_buffer_hold(pixels)
        stream = BytesIO()
        Image.fromarray(pixels).save(
            stream,
            "JPEG",
            quality=int(setting.value),
            subsampling=self._subsampling,
            optimize=self._optimize,
        )
        return stream.getvalue()

    def setting_of(self, data: bytes) -> Setting:
        """Return the quality whose quantisation tables a stream has, the nearest where none has."""
        with open_jpeg(data) as image:
            table: list[int] = image.quantization[0]  # type: ignore[attr-defined]
        differences = {
            quality: sum(abs(mine - its) for mine, its in zip(known, table, strict=True))
            for quality, known in _luma_tables().items()
        }
        return Setting("quality", min(differences, key=differences.__getitem__))


@cache
def _luma_tables() -> dict[int, list[int]]:
    """Return the quantisation table of luma for each quality, as libjpeg-turbo scales it."""
    tables = {}
    for quality in range(1, 101):
        stream = BytesIO()
        Image.new("L", (8, 8)).save(stream, "JPEG", quality=quality)
        with Image.open(stream) as image:
            tables[quality] = image.quantization[0]  # type: ignore[attr-defined]
    return tables


def _let_one_buffer_hold(pixels: Pixels) -> None:
    """Raise Pillow's MAXBLOCK so that one buffer holds the whole stream, as optimising needs.

    Pillow provides w * h bytes, 2 w * h from quality 95, and fails with "broken data stream" on
    noise, which takes 3 w * h at 4:4:4. The bound is that of tj3JPEGBufSize in libjpeg-turbo for
    4:4:4 (6 bytes per pixel of whole blocks, 2048 of headers) with the largest block, 16 x 16.
    MAXBLOCK is shared by all threads, therefore it only ever grows.
    """
    height, width, _ = pixels.shape
    bound = 6 * (-(-height // 16) * 16) * (-(-width // 16) * 16) + 2048
    ImageFile.MAXBLOCK = max(ImageFile.MAXBLOCK, bound)
