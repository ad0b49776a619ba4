"""Read image files as 8-bit RGB pixels; refuse, with a reason, what cannot be read exactly.

Pillow decodes PNG, JPEG, PPM and BMP, imagecodecs WebP, and tifffile TIFF. A colour profile is
neither applied nor kept: codecs and metrics take the file's numbers as sRGB.
"""

import math
import re
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.Image import Image, frombytes
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile

from benchmark.codec import MAX_PIXELS, Pixels
from benchmark.errors import ImageRefused, Reason
from benchmark.system.foreign_files import lacks_blocks, lacks_rows, read_regular

SMALL_PIXELS = 1 << 24  # an image with at most this many pixels may have a file of any size
MAX_PIXELS_PER_BYTE = 128  # a larger ratio means a flat picture or a decompression bomb
# A progressive JPEG repeats the picture in every scan; 10 scans are usual. A picture of MAX_PIXELS
# may have 12 scans.
MAX_SCANS = 100
MAX_SCANNED_PIXELS = 12 * MAX_PIXELS
START_OF_SCAN = b"\xff\xda"
MAX_TAGS = 100  # number of tags that are read from an ICC profile
MAX_FILE_BYTES = 1 << 30  # more than an uncompressed 8-bit RGBA image of MAX_PIXELS

ORIENTATION, XMP, PROFILE = 0x0112, 700, 34675  # TIFF tags; EXIF has the first, too
# ITU-T H.273's transfer functions and primaries, by their numbers in a PNG's cICP chunk
TRANSFERS, PRIMARIES = {16: "PQ", 18: "HLG"}, {9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}
# X, Y, Z of sRGB's red, green and blue, adapted to ICC's D50
SRGB = {
    b"rXYZ": (0.436, 0.222, 0.014), b"gXYZ": (0.385, 0.717, 0.097), b"bXYZ": (0.143, 0.061, 0.714)
}  # fmt: skip
PRIMARIES_TOLERANCE = 0.02  # of X, Y and Z
LOSSLESS_TIFF = {1, 5, 8, 32773, 32946, 34925, 50000}  # none, LZW, zip, PackBits, LZMA, zstd
FAX_IN_TIFF = {2, 3, 4}  # lossless CCITT, which imagecodecs does not support
JPEG_IN_TIFF = {6, 7, 33007}
MAX_WEBP_SIDE = 16383
# Formats that are not supported, for messages
OTHER_FORMATS = {
    rb"GIF8": "GIF",
    rb".{4}ftypavi[fs]": "AVIF",
    rb".{4}ftyp(hei|hev|mif1|msf1)": "HEIC",
    rb"\xff\x0a|\0\0\0\x0cJXL ": "JPEG XL",
}
_TIFF_WHITE_IS_0, _TIFF_BLACK_IS_0, _TIFF_RGB, _TIFF_PALETTE = 0, 1, 2, 3  # photometric
_TIFF_CMYK, _TIFF_YCBCR = 5, 6


class Photograph(NamedTuple):
    """Decoded image that can be measured."""

    pixels: Pixels  # C-contiguous, writable
    lossy: bool  # the file format is lossy: JPEG, WebP's VP8, JPEG in TIFF
    colours: str = ""  # the file's colour space if it is not sRGB: "PQ", "Display P3"


class _Raster(NamedTuple):
    samples: NDArray[np.uint8]  # (height, width, 1 grey | 2 grey, alpha | 3 RGB | 4 RGB, alpha)
    orientation: int  # EXIF, 1..8
    lossy: bool
    profile: bytes = b""  # ICC


def read_image(path: str | Path, flatten: bool = False, skip_row_check: bool = False) -> Photograph:
    """Decode the file at `path`; see `decode_image`."""
    file = Path(path)
    return decode_image(file.name, lambda: _read_contents(file), flatten, skip_row_check)


def decode_image(
    name: str,
    contents: bytes | Callable[[], bytes],
    flatten: bool = False,
    skip_row_check: bool = False,
) -> Photograph:
    """Decode a file's bytes to RGB, turned upright by EXIF; grey and palette become RGB.

    Raises `ImageRefused` for a damaged or truncated file, too many pixels (`MAX_PIXELS`,
    `MAX_PIXELS_PER_BYTE`) or scans, samples of more than 8 bits, several pages or frames,
    transparency, CMYK. `flatten` blends transparency with white and rounds a PNG's 16 bits to 8
    (both to nearest), and converts CMYK by Pillow's formula. Samples of fewer than 8 bits are
    scaled to 0..255. Of an MPO file, the first picture is read. `skip_row_check`: accept a PNG that
    lacks rows, since the caller compares the pixels' sha256.
    """
    name = name if name.isprintable() else ascii(name)
    try:
        data = contents if isinstance(contents, bytes) else contents()
        samples, orientation, lossy, profile = _decode_raster(data, flatten, skip_row_check)
        if samples.shape[2] in (2, 4):
            samples = _drop_alpha(samples, flatten)
    except ImageRefused as refused:
        raise _make_refusal(name, str(refused)) from None
    except MemoryError:
        raise _make_refusal(name, "does not fit into memory") from None
    except Exception as error:  # decoders are third-party code; any exception concerns this file
        detail = " ".join(str(error).split())[:200] or type(error).__name__
        raise _make_refusal(name, f"cannot be decoded (damaged or truncated?): {detail}") from error
    if samples.shape[2] == 1:
        samples = np.repeat(samples, 3, axis=2)
    pixels = np.ascontiguousarray(_turn_upright(samples, orientation))
    return Photograph(pixels, lossy, _stated_colours(data, profile))


def _make_refusal(name: str, objection: str) -> ImageRefused:
    return ImageRefused(f"{name} {objection}", Reason("image", objection))


def _read_contents(path: Path) -> bytes:
    try:
        if not path.is_file():  # a folder may be named like an image
            raise ImageRefused("is not a file")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ImageRefused(f"has {size} bytes, more than the {MAX_FILE_BYTES} allowed")
        return read_regular(path, MAX_FILE_BYTES)
    except OSError as error:
        raise ImageRefused(f"cannot be read: {error.strerror or error}") from None


def _decode_raster(data: bytes, flatten: bool, skip_row_check: bool) -> _Raster:
    if not data:
        raise ImageRefused("is empty")
    for magic, read in _READERS:
        if re.match(magic, data, re.DOTALL):
            return (
                _read_png(data, flatten, skip_row_check)
                if read is _read_png
                else read(data, flatten)
            )
    note = "".join(
        f", but {name}" for magic, name in OTHER_FORMATS.items() if re.match(magic, data, re.S)
    )
    raise ImageRefused(f"is not a PNG, JPEG, WebP, TIFF, PPM or BMP file{note}: convert it to PNG")


def _read_png(data: bytes, flatten: bool, skip_row_check: bool = False) -> _Raster:
    is_deep = data[24] == 16  # in IHDR, the first chunk; Pillow would truncate samples to 8 bits
    if is_deep and not flatten:
        _refuse_samples("16 bits", "convert it, or run with --flatten")
    image = PngImageFile(BytesIO(data))
    if getattr(image, "n_frames", 1) > 1:
        raise ImageRefused("is an animation")
    raster = _load_pillow(image, flatten, len(data))
    if not skip_row_check and lacks_rows(data, image):
        raise ImageRefused("is damaged or truncated: its last rows are missing")
    return raster._replace(samples=_round_samples(data)) if is_deep else raster


def _round_samples(png: bytes) -> NDArray[np.uint8]:
    """Return a 16-bit PNG's samples rounded to 8 bits; a transparent colour becomes alpha."""
    import imagecodecs

    samples = imagecodecs.png_decode(png)
    rounded = ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return rounded.reshape(*rounded.shape[:2], -1)


def _read_jpeg(data: bytes, flatten: bool) -> _Raster:
    image = JpegImageFile(BytesIO(data))
    scans = data.count(START_OF_SCAN)  # in a scan, a byte 0 follows each byte 255
    if scans > MAX_SCANS or scans * math.prod(image.size) > MAX_SCANNED_PIXELS:
        raise ImageRefused(f"has {scans} scans of its {math.prod(image.size)} pixels: too many")
    raster = _load_pillow(image, flatten, len(data), lossy=True)
    if lacks_blocks(data, image):
        raise ImageRefused("is damaged or truncated: its last blocks are missing")
    return raster


def _read_ppm(data: bytes, flatten: bool) -> _Raster:
    if data[1:2] not in b"14":  # P1 and P4 are bitmaps without a maximum
        gap = rb"(?:\s|#[^\r\n]*[\r\n])+"
        header = re.match(rb"P\d" + 2 * (gap + rb"\d+") + gap + rb"(\d{1,5})\s", data)
        if not header:
            raise ImageRefused("has no PPM header that can be read")
        if int(header[1]) > 255:  # Pillow would reduce samples to 8 bits
            _refuse_samples(f"{int(header[1]).bit_length()} bits")
    return _load_pillow(PpmImageFile(BytesIO(data)), flatten, len(data))


def _load_pillow(
    image: ImageFile.ImageFile, flatten: bool, num_bytes: int, lossy: bool = False
) -> _Raster:
    """Load an image with its Pillow plugin; `Image.open` would warn of large files."""
    _refuse_large(*image.size, num_bytes)
    image.load()
    if image.mode == "CMYK" and not flatten:
        _refuse_cmyk()
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        mode = "RGBA"
    else:
        mode = "L" if image.mode in ("1", "L") else "RGB"
    samples = np.array(image if image.mode == mode else image.convert(mode))
    orientation = _orientation(image.info)  # after load: a PNG may store EXIF after the pixels
    profile = image.info.get("icc_profile") or b""
    return _Raster(samples.reshape(*samples.shape[:2], -1), orientation, lossy, profile)


def _read_webp(data: bytes, flatten: bool) -> _Raster:
    chunks: dict[bytes, bytes] = {}
    position = 12
    while position + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, position)
        chunks.setdefault(name, data[position + 8 : position + 8 + size])
        position += 8 + size + size % 2
    if b"VP8X" in chunks:
        flags, width, height = struct.unpack_from("<I3s3s", chunks[b"VP8X"])
        if flags & 2:
            raise ImageRefused("is an animation")
        canvas_width, canvas_height = (
            int.from_bytes(side, "little") + 1 for side in (width, height)
        )
        _refuse_large(canvas_width, canvas_height, len(data))
        if max(canvas_width, canvas_height) > MAX_WEBP_SIDE:
            raise ImageRefused(
                f"has {canvas_width} x {canvas_height} pixels, but a WebP has at most 16383 a side"
            )
    elif b"VP8L" in chunks:
        (bits,) = struct.unpack_from("<I", chunks[b"VP8L"], 1)
        _refuse_large((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, len(data))
    elif b"VP8 " in chunks:
        width, height = struct.unpack_from("<HH", chunks[b"VP8 "], 6)
        _refuse_large(width & 0x3FFF, height & 0x3FFF, len(data))

    import imagecodecs

    blocks = {"exif": chunks.get(b"EXIF"), "xmp": chunks.get(b"XMP ")}
    orientation = _orientation({name: block for name, block in blocks.items() if block})
    lossy, profile = b"VP8L" not in chunks, chunks.get(b"ICCP", b"")
    return _Raster(imagecodecs.webp_decode(data), orientation, lossy, profile)


def _read_tiff(data: bytes, flatten: bool) -> _Raster:
    import logging

    import tifffile

    log = tifffile.logger()
    if not log.handlers:  # otherwise tifffile prints what `ImageRefused` says
        log.addHandler(logging.NullHandler())
    with tifffile.TiffFile(BytesIO(data)) as file:
        pages = [file.pages[index].aspage() for index in range(len(file.pages))]
        if sum(not page.is_reduced for page in pages) > 1:
            raise ImageRefused(f"has {len(pages)} pages")
        page: Any = pages[0]  # tifffile declares bitspersample as int; it can be a tuple
        (num_tags,) = struct.unpack_from(file.tiff.tagnoformat, data, page.offset)
        if len(page.tags) != num_tags:  # tifffile would use defaults, and return another picture
            raise ImageRefused("is damaged or truncated: its list of tags cannot be read")
        strips = zip(page.dataoffsets, page.databytecounts, strict=True)
        if any(size == 0 or start + size > len(data) for start, size in strips):
            raise ImageRefused("is damaged or truncated: some of its strips are missing")
        if page.bitspersample not in (1, 2, 4, 8) or page.dtype not in (np.uint8, np.bool_):
            _refuse_samples(f"{page.bitspersample} bits ({page.dtype})")
        if page.axes not in ("YX", "YXS", "SYX") or page.samplesperpixel > 5:
            raise ImageRefused(f"is not a picture but an array with axes {page.axes} {page.shape}")
        _refuse_large(page.imagewidth, page.imagelength, len(data))
        orientation = page.tags.valueof(ORIENTATION) or _orientation(
            {"xmp": page.tags.valueof(XMP)}
        )
        if page.compression in FAX_IN_TIFF:
            grey = np.array(TiffImageFile(BytesIO(data)).convert("L"))
            return _Raster(grey[..., np.newaxis], orientation, lossy=False)
        samples: NDArray[Any] = page.asarray(maxworkers=1)
    if "S" in page.axes:
        samples = np.moveaxis(samples, page.axes.index("S"), 2)  # planes may be stored separately
    else:
        samples = samples[..., np.newaxis]
    lossy = page.compression not in LOSSLESS_TIFF
    profile = page.tags.valueof(PROFILE) or b""
    return _Raster(_tiff_colours(page, samples, flatten), orientation, lossy, profile)


def _tiff_colours(page: Any, stored_samples: NDArray[Any], flatten: bool) -> NDArray[np.uint8]:
    photometric, extra = int(page.photometric), tuple(page.extrasamples)
    height, width, channels = stored_samples.shape
    if (photometric, channels) == (_TIFF_PALETTE, 1):
        rgb: NDArray[np.uint8] = (page.colormap.T >> 8).astype(np.uint8)[stored_samples[..., 0]]
        return rgb
    max_sample: int = (1 << page.bitspersample) - 1
    samples = (stored_samples.astype(np.uint16) * 255 // max_sample).astype(np.uint8)
    if (photometric, channels) == (_TIFF_CMYK, 4):
        if not flatten:
            _refuse_cmyk()
        return np.array(frombytes("CMYK", (width, height), samples.tobytes()).convert("RGB"))
    if photometric == _TIFF_YCBCR and page.compression in JPEG_IN_TIFF:
        photometric = _TIFF_RGB  # converted by the JPEG decoder
    num_colours = {_TIFF_WHITE_IS_0: 1, _TIFF_BLACK_IS_0: 1, _TIFF_RGB: 3}.get(photometric)
    if num_colours != channels - len(extra) or len(extra) > 1:
        layout = f"{channels} channels ({page.photometric.name})"
        raise ImageRefused(f"has {layout}, which cannot be read: convert it to RGB")
    if photometric == _TIFF_WHITE_IS_0:
        samples[..., 0] = 255 - samples[..., 0]
    if flatten and extra == (1,):  # colours are premultiplied by alpha
        over_white = samples[..., :-1].astype(np.uint16) + (255 - samples[..., -1:])
        return np.minimum(over_white, 255).astype(np.uint8)
    return samples


def _refuse_large(width: int, height: int, num_bytes: int) -> None:
    if width < 1 or height < 1:
        raise ImageRefused("has no pixels")
    if width * height > MAX_PIXELS:
        raise ImageRefused(f"has {width} x {height} pixels, more than the {MAX_PIXELS} allowed")
    if width * height > max(SMALL_PIXELS, MAX_PIXELS_PER_BYTE * num_bytes):
        raise ImageRefused(
            f"has {width} x {height} pixels in {num_bytes} bytes, more than {MAX_PIXELS_PER_BYTE} "
            "pixels per byte, which no photograph has"
        )


def _refuse_samples(depth: str, remedy: str = "convert it first") -> None:
    raise ImageRefused(f"has samples of {depth}, but only 8 bits can be measured: {remedy}")


def _refuse_cmyk() -> None:
    raise ImageRefused("is CMYK: convert it, or run with --flatten")


def _drop_alpha(samples: NDArray[np.uint8], flatten: bool) -> NDArray[np.uint8]:
    colours, alpha = samples[..., :-1], samples[..., -1:]
    if alpha.min() == 255:
        return colours
    if not flatten:
        raise ImageRefused("has transparent pixels: convert it, or run with --flatten")
    weight = alpha.astype(np.uint16)
    return ((colours * weight + 255 * (255 - weight) + 127) // 255).astype(np.uint8)


def _stated_colours(data: bytes, profile: bytes) -> str:
    """Return the colour space that the file states; "" if sRGB, or none that can be read."""
    head = data[: max(0, data.find(b"IDAT"))] if data.startswith(b"\x89PNG") else b""
    if chunk := re.search(rb"\0\0\0\x04cICP(.)(.)", head, re.DOTALL):
        primaries, transfer = (code[0] for code in chunk.groups())
        return TRANSFERS.get(transfer, PRIMARIES.get(primaries, ""))
    with suppress(struct.error):
        for number in range(min(MAX_TAGS, *struct.unpack_from(">I", profile, 128))):
            tag, offset, _ = struct.unpack_from(">4sII", profile, 132 + 12 * number)
            if tag in SRGB:
                primary = np.array(struct.unpack_from(">3i", profile, offset + 8)) / 65536
                if np.abs(primary - SRGB[tag]).max() > PRIMARIES_TOLERANCE:
                    return "an ICC profile with other primaries than sRGB's"
    return ""


def _orientation(info: Mapping[Any, Any]) -> int:
    """Return the orientation 1..8 from EXIF, else XMP; 1 (upright) if missing or unreadable."""
    blocks = dict(info)
    carrier = Image()
    try:
        for kind, name in (("APP1", "exif"), ("xmp", "xmp")):
            if digits := info.get(f"Raw profile type {kind}"):
                blocks.setdefault(name, bytes.fromhex("".join(digits.split("\n")[3:])))
        carrier.info = blocks
        return int(carrier.getexif().get(ORIENTATION, 1))
    except Exception:  # Pillow may raise anything for untrusted bytes
        return 1


def _turn_upright(samples: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo an orientation: which sides stored row 0 and column 0 are (EXIF 2.32, 4.6.4)."""
    if orientation in (5, 6, 7, 8):  # row 0 is a side of the scene
        samples = samples.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    return samples


_READERS: tuple[tuple[bytes, Callable[[bytes, bool], _Raster]], ...] = (
    (rb"\x89PNG\r\n\x1a\n.{4}IHDR", _read_png),
    (rb"\xff\xd8\xff", _read_jpeg),
    (rb"RIFF.{4}WEBP", _read_webp),
    (rb"II[*+]\x00|MM\x00[*+]", _read_tiff),
    (rb"P[1-6][\s#]", _read_ppm),
    # a text file may begin with "BM", too
    (
        rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",
        lambda data, flatten: _load_pillow(BmpImageFile(BytesIO(data)), flatten, len(data)),
    ),
)
