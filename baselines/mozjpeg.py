"""Progressive JPEG by mozjpeg inside libvips: trellis quantisation and optimised scans."""

import mmap
import re
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from baselines.formats.pillow_jpeg import JPEGDecoder, jpeg_files, jpeg_version
from benchmark.codec import Between, CodecInfo, Pixels, Setting, require_accepted
from benchmark.errors import BadOption, Reason, Unavailable
from benchmark.facts import Facts, Memory, Typical
from benchmark.system.digest import files_sha256

TABLES = range(9)
REMEDY = "install the Python package pyvips-binary"
ABSENT = Reason("package", "pyvips-binary")


class MozJPEG(JPEGDecoder):
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
        self._subsampling = subsampling
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
        """Return the versions of mozjpeg, libvips and the decoder; fingerprint their files."""
        import pyvips

        libvips = ".".join(str(pyvips.version(part)) for part in range(3))
        options = ", ".join(f"{name}={value!r}" for name, value in self._options.items())
        return CodecInfo(
            version=f"mozjpeg {_release(self._library)}, libvips {libvips}, "
            f"pyvips-binary {version('pyvips-binary')}, decoded by {jpeg_version()}",
            command=f"pyvips.Image.jpegsave_buffer(Q={{quality}}, {options})",
            licence="IJG AND BSD-3-Clause AND Zlib",
            fingerprint=files_sha256([self._library, *jpeg_files()]),
            revision=1,
            timed="one call in this process",
            chroma="4:2:0" if self._subsampling == 420 else "4:4:4",
            tuned_for="PSNR-HVS",
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return a JPEG stream; `BadOption` unless quality is a whole number from 1 to 100."""
        import pyvips

        require_accepted(self, setting)
        height, width, bands = pixels.shape
        samples = np.ascontiguousarray(pixels)
        image = pyvips.Image.new_from_memory(samples, width, height, bands, "uchar")
        return bytes(image.jpegsave_buffer(Q=int(setting.value), **self._options))


@cache
def _library() -> Path:
    """Return the libvips of pyvips-binary, loaded and set to one thread and no cache.

    Raises `Unavailable` without it: a libvips of the system may be built without mozjpeg.
    """
    binding = find_spec("_libvips")
    folder = Path(binding.origin).parent if binding and binding.origin else Path()
    libraries = sorted((folder / "pyvips_binary.libs").glob("libvips*"))
    if not libraries:
        raise Unavailable(f"mozjpeg needs a libvips that contains it: {REMEDY}", ABSENT)
    try:
        import pyvips
    except Exception as error:  # pyvips raises Exception itself where libvips does not start
        raise Unavailable(f"mozjpeg needs pyvips and libvips: {REMEDY}", ABSENT) from error
    if str(libraries[0].resolve()) not in Path("/proc/self/maps").read_text():
        raise Unavailable(f"mozjpeg needs the libvips of pyvips-binary, not another: {REMEDY}")
    pyvips.vips_lib.vips_concurrency_set(1)
    pyvips.cache_set_max(0)  # libvips keeps results of earlier calls, which would be timed
    return libraries[0]


def _release(library: Path) -> str:
    """Return mozjpeg's version, which libvips does not tell, from a text in the library."""
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        result = re.search(rb"mozjpeg version (\S+) \(build (\d+)\)", text)
        return f"{result[1].decode()} of {result[2].decode()}" if result else "of unknown version"
