"""JPEG by three encoders, libjpeg-turbo, jpegli and mozjpeg; Pillow's libjpeg-turbo decodes."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageFile, features

from benchmark.codec import (
    Between,
    CodecInfo,
    Pixels,
    Setting,
    require_accepted,
    require_options,
    require_sides,
)
from benchmark.errors import Reason, Unavailable
from benchmark.system.digest import files_sha256
from benchmark.system.machine import package_folder

MAX_SIDE_PX = 65500  # libjpeg's limit; the format allows 65535
SUBSAMPLING = {420: "4:2:0", 422: "4:2:2", 444: "4:4:4"}
START_OF_SCAN = 0xDA
APPLICATION = range(0xE0, 0xF0)  # APP0 to APP15: JFIF, Exif, colour profiles


class JPEGCodec:
    """Base class of the encoders; Pillow's libjpeg-turbo decodes their streams."""

    accepts = Between("quality", 1, 100, whole=True)

    def decode(self, data: bytes) -> Pixels:
        """Return the pixels, read-only; `OSError` unless `data` is a complete JPEG."""
        with open_jpeg(data) as image:
            return np.asarray(image)

    def container_bytes(self, data: bytes) -> int:
        """Return the size of application segments, such as JFIF's, including markers."""
        num_bytes, start = 0, 2  # segments up to the first scan (ITU-T T.81, annex B)
        while start + 4 <= len(data) and (marker := data[start + 1]) != START_OF_SCAN:
            size = 2 + int.from_bytes(data[start + 2 : start + 4])
            num_bytes += size if marker in APPLICATION else 0
            start += size
        return num_bytes


class JPEG(JPEGCodec):
    """Baseline JPEG through Pillow's libjpeg-turbo, with Pillow's defaults.

    Options: subsampling 420 (default), 422 or 444; optimize 1 for image-specific Huffman tables.
    Streams are JFIF without other metadata; Pillow and pillow-simd write the same bytes.
    """

    name = "jpeg"
    sweep = tuple(Setting("quality", value) for value in (5, 10, 20, 30, 50, 70, 90, 95))

    def __init__(self, *, subsampling: int = 420, optimize: int = 0) -> None:
        require_options(
            self.name, subsampling=(subsampling, (*SUBSAMPLING,)), optimize=(optimize, (0, 1))
        )
        self._subsampling = SUBSAMPLING[subsampling]
        self._optimize = bool(optimize)

    def describe(self) -> CodecInfo:
        """Return the versions of libjpeg-turbo and Pillow, with a fingerprint of compiled files."""
        return CodecInfo(
            version=jpeg_version(),
            command="PIL.Image.save(format='JPEG', quality={quality}, "
            f"subsampling={self._subsampling!r}, optimize={self._optimize})",
            licence="IJG AND BSD-3-Clause AND Zlib",
            fingerprint=files_sha256(pillow_files("libjpeg")),
            timed="one call in this process, with Pillow's copy of the pixels",
            chroma=self._subsampling,
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return a JFIF stream; `BadOption` unless quality is a whole number from 1 to 100."""
        require_accepted(self, setting)
        require_sides("JPEG", pixels, MAX_SIDE_PX)
        if self._optimize:
            # Pillow's buffer of w * h bytes (2 w * h from quality 95 on) must hold an optimised
            # stream, which for noise takes 3 w * h at 4:4:4. The bound is that of libjpeg-turbo's
            # tj3JPEGBufSize for 4:4:4: 6 bytes per pixel of complete blocks of 16 x 16, and 2048
            # for headers. MAXBLOCK is never lowered, since all threads share it.
            height, width, _ = pixels.shape
            bound = 6 * (-(-height // 16) * 16) * (-(-width // 16) * 16) + 2048
            ImageFile.MAXBLOCK = max(ImageFile.MAXBLOCK, bound)
        stream = BytesIO()
        quality, optimize = int(setting.value), self._optimize
        Image.fromarray(pixels).save(
            stream, "JPEG", quality=quality, subsampling=self._subsampling, optimize=optimize
        )
        return stream.getvalue()

    def setting_of(self, data: bytes) -> Setting:
        """Return the quality whose quantisation tables are nearest to the stream's."""
        with open_jpeg(data) as image:
            table = np.array(image.quantization[0])  # type: ignore[attr-defined]  # of luma
        tables = _luma_tables()
        return Setting(
            "quality", min(tables, key=lambda quality: abs(tables[quality] - table).sum())
        )


class Jpegli(JPEGCodec):
    """Baseline JPEG by jpegli, the encoder of the JPEG XL authors; 4:2:0, without options.

    On Kodak at low rates, libjpeg-turbo's decoder gives .1 dB more than jpegli's.
    """

    name = "jpegli"
    sweep = tuple(Setting("quality", value) for value in (1, 15, 35, 55, 75, 90))

    def __init__(self) -> None:
        try:
            import pyjpegli
        except ImportError as error:
            raise Unavailable(
                "jpegli needs pyjpegli: install the Python package", Reason("package", "pyjpegli")
            ) from error
        self._library = Path(pyjpegli.__file__)

    def describe(self) -> CodecInfo:
        """Return the versions of pyjpegli and decoder, and a fingerprint of compiled files."""
        from importlib.metadata import version

        return CodecInfo(
            version=f"pyjpegli {version('pyjpegli')}, decoded by {jpeg_version()}",
            command="pyjpegli.encode(pixels, width, height, quality={quality}): 4:2:0, sequential",
            licence="BSD-3-Clause",
            fingerprint=files_sha256([self._library, *pillow_files("libjpeg")]),
            chroma="4:2:0",
            tuned_for="Butteraugli",
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return a JPEG stream; `BadOption` unless quality is a whole number from 1 to 100."""
        from pyjpegli import encode

        require_accepted(self, setting)
        require_sides("JPEG", pixels, MAX_SIDE_PX)
        height, width, _ = pixels.shape
        contiguous_pixels = np.ascontiguousarray(pixels)
        return bytes(encode(contiguous_pixels, width, height, quality=int(setting.value)))


class MozJPEG(JPEGCodec):
    """Progressive JPEG by the mozjpeg in libvips: trellis quantisation and optimised scans.

    Options: subsampling 420 (default) or 444; table 0 to 8, the quantisation table, default 3. The
    defaults are those of mozjpeg's program cjpeg. Table 2 needs fewer bits at equal PSNR on Kodak,
    on which its authors tuned it.
    """

    name = "mozjpeg"
    sweep = tuple(Setting("quality", value) for value in (5, 15, 30, 50, 70, 85))

    def __init__(self, *, subsampling: int = 420, table: int = 3) -> None:
        require_options(self.name, subsampling=(subsampling, (420, 444)), table=(table, range(9)))
        self._library = _load_libvips()
        self._subsampling = SUBSAMPLING[subsampling]
        self._options = {
            "subsample_mode": "on" if subsampling == 420 else "off",
            "quant_table": table,
            "trellis_quant": True,
            "overshoot_deringing": True,
            "optimize_scans": True,
            "interlace": True,
            "keep": "none",
        }

    def describe(self) -> CodecInfo:
        """Return the versions of mozjpeg, libvips and decoder, and a fingerprint of their files."""
        from importlib.metadata import version

        import pyvips

        # libvips does not report mozjpeg's version, but the library contains it as text
        match = re.search(rb"mozjpeg version (\S+) \(build (\d+)\)", self._library.read_bytes())
        release = " of ".join(map(bytes.decode, match.groups())) if match else "of unknown version"
        libvips = ".".join(str(pyvips.version(index)) for index in range(3))
        options = ", ".join(f"{name}={value!r}" for name, value in self._options.items())
        return CodecInfo(
            version=f"mozjpeg {release}, libvips {libvips}, "
            f"pyvips-binary {version('pyvips-binary')}, decoded by {jpeg_version()}",
            command=f"pyvips.Image.jpegsave_buffer(Q={{quality}}, {options})",
            licence="IJG AND BSD-3-Clause AND Zlib",
            fingerprint=files_sha256([self._library, *pillow_files("libjpeg")]),
            chroma=self._subsampling,
            tuned_for="PSNR-HVS",
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return a JPEG stream; `BadOption` unless quality is a whole number from 1 to 100."""
        import pyvips

        require_accepted(self, setting)
        require_sides("JPEG", pixels, MAX_SIDE_PX)
        height, width, bands = pixels.shape
        samples = np.ascontiguousarray(pixels)
        image = pyvips.Image.new_from_memory(samples, width, height, bands, "uchar")
        return bytes(image.jpegsave_buffer(Q=int(setting.value), **self._options))


def pillow_version() -> str:
    """Return "Pillow 13.0.0", or the version of pillow-simd, a post-release in the same folder."""
    return f"{'pillow-simd' if '.post' in PIL.__version__ else 'Pillow'} {PIL.__version__}"


def jpeg_version() -> str:
    """Return the versions of library and package: "libjpeg-turbo 3.2.0, Pillow 13.0.0"."""
    turbo = features.version("libjpeg_turbo")
    library = f"libjpeg-turbo {turbo}" if turbo else f"libjpeg {features.version('jpg')}"
    return f"{library}, {pillow_version()}"


def pillow_files(library: str) -> list[Path]:
    """Return Pillow's compiled files, with those of a library ("libjpeg")."""
    folder = package_folder("PIL")
    libraries = (folder.parent / "pillow.libs").glob(f"{library}*")
    return [*sorted(folder.glob("_imaging.*so")), *sorted(libraries)]


@contextmanager
def open_jpeg(data: bytes) -> Iterator[Image.Image]:
    """Open a JPEG without Pillow's warning about large pictures, since sources may be large."""
    # Pillow still refuses more than twice the pixels that trigger the warning
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(BytesIO(data), formats=("JPEG",))
    with image:
        yield image


@cache
def _luma_tables() -> "dict[int, np.ndarray[tuple[int], np.dtype[np.int64]]]":
    tables = {}
    for quality in range(1, 101):
        stream = BytesIO()
        Image.new("L", (8, 8)).save(stream, "JPEG", quality=quality)
        with Image.open(stream) as image:
            tables[quality] = np.array(image.quantization[0])  # type: ignore[attr-defined]
    return tables


@cache
def _load_libvips() -> Path:
    # use one thread and no cache; refuse the system's libvips, which may lack mozjpeg
    unavailable = Unavailable(
        "mozjpeg needs a libvips that contains it: install the Python package pyvips-binary",
        Reason("package", "pyvips-binary"),
    )
    binding = find_spec("_libvips")
    folder = Path(binding.origin).parent if binding and binding.origin else Path()
    libraries = sorted((folder / "pyvips_binary.libs").glob("libvips*"))
    if not libraries:
        raise unavailable
    try:
        import pyvips
    except Exception as error:  # pyvips raises plain Exception if libvips does not start
        raise unavailable from error
    if str(libraries[0].resolve()) not in Path("/proc/self/maps").read_text():
        raise unavailable
    pyvips.vips_lib.vips_concurrency_set(1)
    pyvips.cache_set_max(0)  # cached results of earlier calls would distort timings
    return libraries[0]
