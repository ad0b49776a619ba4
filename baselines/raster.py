"""WebP, JPEG XL and JPEG 2000 through imagecodecs (JPEG 2000 also through Pillow); raw pixels."""

import struct
from dataclasses import replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from baselines.jpeg import pillow_files, pillow_version
from benchmark.codec import (
    Between,
    CodecInfo,
    OneOf,
    Pixels,
    Setting,
    require_accepted,
    require_options,
    require_sides,
)
from benchmark.errors import BadOption, CorruptStream, Reason, Unavailable
from benchmark.system.digest import files_sha256
from benchmark.system.machine import package_folder

MAX_RESOLUTIONS = 6  # opj_compress's default
START_OF_TILE_PART, COMMENT = b"\xff\x90", b"\xff\x64"  # ISO/IEC 15444-1, table A.2


class WheelCodec:
    """Base class of codecs that an extension module of imagecodecs decodes."""

    name: ClassVar[str]
    extension: ClassVar[str]  # name of the module's codec: "webp"
    libraries: ClassVar[tuple[str, ...]]  # prefixes of its linked libraries' file names
    licence: ClassVar[str] = "BSD-3-Clause"
    timed: ClassVar[str] = "one call in this process"
    chroma: ClassVar[str] = "4:4:4"
    tuned_for: ClassVar[str] = ""
    decode_args: ClassVar[dict[str, Any]]  # further arguments of the decoder
    command: str  # for `CodecInfo`

    def __init__(self) -> None:
        """Raise `Unavailable` unless imagecodecs is installed and has the extension."""
        try:
            import imagecodecs
        except ImportError as error:
            raise Unavailable(
                f"{self.name} needs the Python package imagecodecs: install it",
                Reason("package", "imagecodecs"),
            ) from error
        if not getattr(imagecodecs, self.extension.upper()).available:
            raise Unavailable(
                f"{self.name} is missing from this imagecodecs: install a complete wheel"
            )

    def describe(self) -> CodecInfo:
        """Return the versions of library and imagecodecs, and a fingerprint of their files."""
        import imagecodecs

        release = getattr(imagecodecs, f"{self.extension}_version")()
        return CodecInfo(
            version=f"{release}, imagecodecs {imagecodecs.__version__}",
            command=self.command,
            licence=self.licence,
            fingerprint=files_sha256(self.compiled_files()),
            timed=self.timed,
            chroma=self.chroma,
            tuned_for=self.tuned_for,
        )

    def decode(self, data: bytes) -> Pixels:
        """Return the pixels; raises errors of imagecodecs unless `data` is a complete stream."""
        import imagecodecs

        pixels: Pixels = getattr(imagecodecs, f"{self.extension}_decode")(data, **self.decode_args)
        return pixels

    def compiled_files(self) -> list[Path]:
        """Return the compiled files of the extension and of its libraries."""
        folder = package_folder("imagecodecs")
        library_folder = folder.parent / "imagecodecs.libs"
        libraries = [
            path for name in self.libraries for path in sorted(library_folder.glob(f"{name}*"))
        ]
        return [*sorted(folder.glob(f"_{self.extension}.*so")), *libraries]

    def container_bytes(self, data: bytes) -> int:
        """Return 0: the stream is a bare codestream."""
        return 0


class WebP(WheelCodec):
    """WebP, lossy (VP8, 4:2:0), through imagecodecs' libwebp.

    Option: method, libwebp's effort from 0 (fast) to 6 (slow), 4 by default as in cwebp.
    """

    name, extension, libraries = "webp", "webp", ("libwebp", "libsharpyuv")
    decode_args: ClassVar[dict[str, Any]] = {"index": 0, "hasalpha": False}
    chroma = "4:2:0"
    sweep = tuple(Setting("quality", value) for value in (0, 5, 15, 30, 50, 70, 85, 95))
    accepts = Between("quality", 0, 100)

    def __init__(self, *, method: int = 4) -> None:
        super().__init__()
        require_options(self.name, method=(method, range(7)))
        self._method = method
        self.command = (
            f"imagecodecs.webp_encode(level={{quality}}, lossless=False, method={method}, "
            "numthreads=0): 4:2:0, one thread"
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return a RIFF file with a VP8 chunk; `BadOption` unless quality is from 0 to 100."""
        from imagecodecs import webp_encode

        require_accepted(self, setting)
        require_sides("WebP", pixels, 16382)  # imagecodecs' limit; the format allows 16383
        contiguous, level = np.ascontiguousarray(pixels), setting.value
        # numthreads=1 would switch libwebp's multithreading on
        data = webp_encode(contiguous, level, lossless=False, method=self._method, numthreads=0)
        return bytes(data)

    def container_bytes(self, data: bytes) -> int:
        """Return the size of the RIFF file without the content of its VP8 chunk."""
        return len(data) - int.from_bytes(data[16:20], "little")


class JPEGXL(WheelCodec):
    """JPEG XL, lossy (VarDCT, XYB), through imagecodecs' libjxl.

    Option: effort, 1 (fast) to 10 (slow), 7 by default as in cjxl. The setting is the Butteraugli
    distance, where 25 gives the lowest rate, and 1 is called visually lossless. From 20 on, libjxl
    halves the resolution.
    """

    name, extension, libraries = "jpegxl", "jpegxl", ("libjxl",)
    decode_args: ClassVar[dict[str, Any]] = {"index": 0, "numthreads": 1}
    timed = "one call in this process, conversion from and to RGB included"
    tuned_for = "Butteraugli"
    sweep = tuple(Setting("distance", value) for value in (25, 15, 9, 5.5, 3, 1.7, 1, 0.5))
    accepts = Between("distance", 0.01, 25)

    def __init__(self, *, effort: int = 7) -> None:
        super().__init__()
        require_options(self.name, effort=(effort, range(1, 11)))
        self._effort = effort
        self.command = (
            f"imagecodecs.jpegxl_encode(distance={{distance}}, lossless=False, effort={effort}, "
            "photometric='rgb', usecontainer=False, numthreads=1): XYB, no chroma subsampling"
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return a bare codestream; `BadOption` unless distance is from 0.01 to 25."""
        from imagecodecs import jpegxl_encode

        require_accepted(self, setting)
        data = jpegxl_encode(
            pixels,
            distance=setting.value,
            lossless=False,
            effort=self._effort,
            photometric="rgb",
            usecontainer=False,
            numthreads=1,
        )
        return bytes(data)


class JPEG2000(WheelCodec):
    """JPEG 2000 codestreams (9/7 wavelet) through the OpenJPEG of Pillow or of imagecodecs.

    Option: control, OpenJPEG's rate control, "ratio" (default) or "psnr".
    ratio: 24 bits per pixel divided by the stream's rate. Pillow encodes; the stream equals that of
    `opj_compress -r RATIO -I`: one tile, one layer, six resolutions (fewer under 32 px).
    psnr: target in dB, the only control in imagecodecs; RPCL order, precincts of 256 x 256.
    Both: irreversible wavelet and colour transform, 4:4:4, without OpenJPEG's comment of 39 bytes.
    """

    name, extension, libraries = "jpeg2000", "jpeg2k", ("libopenjp2",)
    decode_args: ClassVar[dict[str, Any]] = {"planar": False, "numthreads": 1}
    licence = "BSD-2-Clause"
    timed = "one call in this process, removal of the comment included"
    tuned_for = "PSNR"
    sweep = tuple(Setting("ratio", value) for value in (240, 144, 96, 64, 48, 32, 20, 12))
    accepts = Between("ratio", 1, 2400)
    command = (
        "imagecodecs.jpeg2k_encode(level={psnr}, codecformat='j2k', reversible=False, "
        "mct=True, resolutions=6, planar=False, numthreads=1), comment removed"
    )

    def __init__(self, *, control: str = "ratio") -> None:
        super().__init__()
        require_options(self.name, control=(control, ("ratio", "psnr")))
        self._uses_ratio = control == "ratio"
        if not self._uses_ratio:
            self.sweep = tuple(Setting("psnr", value) for value in range(22, 44, 3))
            self.accepts = Between("psnr", 1, 100)  # levels below 1 are lossless

    def describe(self) -> CodecInfo:
        """Return the versions of OpenJPEG and its wrappers, and a fingerprint of their files."""
        info = super().describe()
        if not self._uses_ratio:
            return info
        encoder = f"openjpeg {_pillow_openjpeg_version()}, {pillow_version()}"
        return replace(
            info,
            version=f"{encoder}, decoded by {info.version}",
            command="PIL.Image.save(format='JPEG2000', no_jp2=True, quality_mode='rates', "
            "quality_layers=[{ratio}], irreversible=True, mct=1, num_resolutions=6): "
            "opj_compress -r {ratio} -I, comment removed",
            fingerprint=files_sha256([*pillow_files("libopenjp2"), *self.compiled_files()]),
            revision=2,
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return a bare codestream; the ratio is 1 to 2400, the psnr 1 to 100 dB."""
        require_accepted(self, setting)
        if self._uses_ratio:
            from PIL import Image

            _pillow_openjpeg_version()  # raises `Unavailable` if Pillow was built without OpenJPEG
            stream = BytesIO()
            resolutions = min(MAX_RESOLUTIONS, min(pixels.shape[:2]).bit_length())
            Image.fromarray(pixels).save(
                stream,
                "JPEG2000",
                no_jp2=True,
                quality_mode="rates",
                quality_layers=[setting.value],
                irreversible=True,
                mct=1,
                num_resolutions=resolutions,
            )
            return _remove_comments(stream.getvalue())
        from imagecodecs import jpeg2k_encode

        data = jpeg2k_encode(
            pixels,
            setting.value,  # type: ignore[arg-type]  # a float works; the stub says int
            codecformat="j2k",
            reversible=False,
            mct=True,
            resolutions=6,
            planar=False,
            numthreads=1,
        )
        return _remove_comments(bytes(data))


def _pillow_openjpeg_version() -> str:
    from PIL import features

    if release := features.version("jpg_2000"):
        return release
    raise Unavailable(
        "this Pillow was built without OpenJPEG, which jpeg2000 needs for a ratio: install Pillow "
        "as a wheel, or use jpeg2000:control=psnr"
    )


def _remove_comments(stream: bytes) -> bytes:
    segments, start = [stream[:2]], 2
    while (marker := stream[start : start + 2]) != START_OF_TILE_PART:
        if len(marker) < 2:
            raise CorruptStream("OpenJPEG wrote a JPEG 2000 header without a tile part")
        end = start + 2 + int.from_bytes(stream[start + 2 : start + 4])
        if marker != COMMENT:
            segments.append(stream[start:end])
        start = end
    return b"".join([*segments, stream[start:]])


HEADER = struct.Struct("<HH")  # width, height; 16 bits are also the limit of JPEG and WebP
FORMAT = "width, height as 16-bit little endian; rows of RGB, {bits} bits a channel"


class Raw:
    """Uncompressed pixels after a header of 32 bits, to measure the harness."""

    name = "raw"
    sweep = (Setting("bits", 8),)
    accepts = OneOf(sweep)

    def describe(self) -> CodecInfo:
        """Describe the format; the fingerprint hashes the description."""
        return CodecInfo(
            version="raw 1",
            command=FORMAT,
            licence="MIT",
            fingerprint=sha256(FORMAT.encode()).hexdigest(),
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
