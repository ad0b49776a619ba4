"""Progressive JPEG by mozjpeg inside libvips: trellis quantisation and optimised scans."""

import mmap
import re
from collections.abc import Mapping
from ctypes import CDLL, byref, c_char_p, c_int, c_size_t, c_void_p, string_at
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from baselines.formats.jpeg_segments import application_bytes
from baselines.formats.pillow_jpeg import decode_jpeg, jpeg_files, jpeg_version
from benchmark.codec import (
    Between,
    CodecInfo,
    Facts,
    Memory,
    Pixels,
    Setting,
    Typical,
    require_accepted,
)
from benchmark.errors import BadOption, ProgramFailed, Unavailable
from benchmark.system.digest import files_sha256

TABLES = range(9)
REMEDY = "install the Python package pyvips-binary"
# Members of libvips' enumerations VipsForeignSubsample, VipsForeignKeep and VipsBandFormat
SUBSAMPLE_ON, SUBSAMPLE_OFF, KEEP_NONE, UCHAR = 1, 2, 0, 0


class MozJPEG:
    """Options: subsampling 420 (default) or 444; table 0 to 8, the quantisation table, default 3.

    The defaults are those of mozjpeg's own program cjpeg. Table 2 needs fewer bits at equal PSNR
    on Kodak, and was tuned on Kodak by its authors. Decoded by Pillow's libjpeg-turbo.
    """

    name = "mozjpeg"
    sweep = tuple(Setting("quality", value) for value in (5, 15, 30, 50, 70, 85))
    accepts = Between("quality", 1, 100, whole=True)
    facts = Facts(
        "mozjpeg", "standard", colour="#882255", marker="h", memory=Memory(20, 0, torch=False),
        typical=(Typical("quality", ((5, 0.25), (90, 0.6))),),
    )  # fmt: skip

    def __init__(self, *, subsampling: int = 420, table: int = 3) -> None:
        if subsampling not in (420, 444):
            raise BadOption(f"mozjpeg: subsampling is 420 or 444, not {subsampling}")
        if table not in TABLES:
            raise BadOption(f"mozjpeg: table is 0 to {TABLES[-1]}, not {table}")
        self._library = _library()
        self._vips = _loaded(self._library)
        self._subsampling = subsampling
        self._options = {
            "subsample_mode": SUBSAMPLE_ON if subsampling == 420 else SUBSAMPLE_OFF,
            "quant_table": table,
            "trellis_quant": 1,
            "overshoot_deringing": 1,
            "optimize_scans": 1,
            "interlace": 1,
            "keep": KEEP_NONE,
        }

    def describe(self) -> CodecInfo:
        """Return the versions of mozjpeg, libvips and the decoder; fingerprint their files."""
        libvips = ".".join(str(self._vips.vips_version(part)) for part in range(3))
        options = ", ".join(f"{name}={value}" for name, value in self._options.items())
        return CodecInfo(
            version=f"mozjpeg {_release(self._library)}, libvips {libvips}, "
            f"pyvips-binary {version('pyvips-binary')}, decoded by {jpeg_version()}",
            command=f"vips_jpegsave_buffer(Q={{quality}}, {options})",
            licence="IJG AND BSD-3-Clause AND Zlib",
            fingerprint=files_sha256([self._library, *jpeg_files()]),
            revision=1,
            timed="one call in this process",
            chroma="4:2:0" if self._subsampling == 420 else "4:4:4",
            tuned_for="PSNR-HVS",
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return a JPEG stream; `BadOption` unless quality is a whole number from 1 to 100."""
        require_accepted(self, setting)
        return _saved(self._vips, pixels, {"Q": int(setting.value), **self._options})

    def decode(self, data: bytes) -> Pixels:
        """Return the pixels, read-only; `OSError` for anything but a whole JPEG."""
        return decode_jpeg(data)

    def container_bytes(self, data: bytes) -> int:
        """Return the bytes of application segments: libvips leaves out JFIF's."""
        return application_bytes(data)


def _library() -> Path:
    """Return libvips in pyvips-binary; a libvips of the system may be built without mozjpeg."""
    found = find_spec("_libvips")
    folder = Path(found.origin).parent if found and found.origin else Path()
    for path in sorted((folder / "pyvips_binary.libs").glob("libvips*")):
        return path
    raise Unavailable(f"mozjpeg needs a libvips that contains it: {REMEDY}")


@cache
def _loaded(library: Path) -> CDLL:
    """Return libvips, started; `Unavailable` if it cannot be."""
    try:
        vips = CDLL(str(library))
    except OSError as error:
        raise Unavailable(f"mozjpeg needs libvips: {REMEDY}") from error
    if vips.vips_init(b"rdrbench"):
        raise Unavailable(f"mozjpeg needs libvips, and {library} does not start: {REMEDY}")
    vips.vips_concurrency_set(1)
    vips.vips_cache_set_max(0)  # libvips keeps results of earlier calls, which would be timed
    vips.vips_image_new_from_memory_copy.restype = c_void_p
    vips.vips_error_buffer.restype = c_char_p
    return vips


def _saved(vips: CDLL, pixels: Pixels, options: Mapping[str, int]) -> bytes:
    """Return the JPEG stream that `vips_jpegsave_buffer` writes; raise `ProgramFailed`."""
    height, width, bands = pixels.shape
    samples = np.ascontiguousarray(pixels)
    source = samples.ctypes.data_as(c_void_p)
    size = c_size_t(samples.nbytes)
    image = c_void_p(
        vips.vips_image_new_from_memory_copy(source, size, width, height, bands, UCHAR)
    )
    stream, length = c_void_p(), c_size_t()
    named = [part for name, value in options.items() for part in (name.encode(), c_int(value))]
    try:
        if vips.vips_jpegsave_buffer(image, byref(stream), byref(length), *named, None):
            told = vips.vips_error_buffer().decode(errors="replace").strip()
            vips.vips_error_clear()
            raise ProgramFailed(f"libvips writes no JPEG: {told}")
        return string_at(stream, length.value)
    finally:
        vips.g_free(stream)
        vips.g_object_unref(image)


def _release(library: Path) -> str:
    """Return mozjpeg's version, which libvips does not tell, from a text in the library."""
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        found = re.search(rb"mozjpeg version (\S+) \(build (\d+)\)", text)
        return f"{found[1].decode()} of {found[2].decode()}" if found else "of unknown version"
