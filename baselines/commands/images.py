"""`bench encode` and `bench decode`: code single images, with our codec or any other."""

import re
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

import benchmark
from benchmark.codec import Codec, Setting, bits_per_pixel
from benchmark.errors import (
    FOREIGN,
    BadOption,
    BenchError,
    CorruptStream,
    ImageRefused,
    Unavailable,
    UnknownName,
    UsageError,
)
from benchmark.measure.request import Request
from benchmark.option import ARGUMENT, CODED, opt, some
from benchmark.plugins import is_of_package, one_line, printing_to_stderr, reason_of
from benchmark.spec import load_codec, parse_codec
from benchmark.system.atomic import write_file
from benchmark.system.settings import use_device

if TYPE_CHECKING:
    from benchmark.codec import Pixels

OURS, PLAIN = "ours", "ours:beta=0"
# Beginnings of streams that are recognised: ours, and files of a standard format.
BEGINNINGS = {
    OURS: rb"C\xd2",  # baselines.neural.bitstream.container
    "jpeg": rb"\xff\xd8\xff",
    "webp": rb"RIFF.{4}WEBP",
    "jpeg2000": rb"\xff\x4f\xff\x51",  # a codestream: .j2k
    "jpegxl": rb"\xff\x0a",  # a codestream
    "avif": rb".{4}ftypavif",
    "bpg": rb"BPG\xfb",
}
MAP_HELP = (
    "A grey picture of any size, stretched over the image: black is 0, white {}; each block of "
    "64 x 64 pixels takes its mean value, rounded to 16 levels."
)
CODEC = "Codec, name[:key=value]... or path.py:Class"


def encode(
    request: Annotated[Request, some("device weights_dir flatten", device="cpu")],
    image: Annotated[Path, opt(ARGUMENT, "Image file: PNG, JPEG, WebP, TIFF or PPM.")],
    stream: Annotated[Path, opt(ARGUMENT, "Stream to write: out.crdr, out.jpg.")],
    codec: Annotated[str, opt(CODED, f"{CODEC}.")] = PLAIN,
    point: Annotated[
        str, opt(CODED, "Setting: q=2.5, quality=30; default: the codec's middle one.")
    ] = "",
    q_map: Annotated[Path | None, opt(CODED, MAP_HELP.format("q = 4"))] = None,
    beta_map: Annotated[Path | None, opt(CODED, MAP_HELP.format("beta = 5.12"))] = None,
) -> None:
    """Encode an image with our codec, or with another.

    --q-map and --beta-map control our codec block by block.

    Examples:
      bench encode in.png out.crdr --codec ours:beta=3.84 --point q=2.5
      bench encode in.png out.crdr --q-map importance.png
      bench encode in.png out.crdr --codec ours:beta=0:effort=2
      bench encode in.png out.jpg --codec jpeg --point quality=30
    """
    coder = _opened(codec, request)
    files = {"q_map": q_map, "beta_map": beta_map}
    named = {name: path for name, path in files.items() if path is not None}
    if named and not _is_ours(codec):
        raise UsageError(f"maps are for our codec alone, not for {codec}: leave them out")
    maps = {name: read_image(path, flatten=True) for name, path in named.items()}
    setting = _setting(coder, point)
    pixels = read_image(image, request.flatten)
    try:
        with printing_to_stderr():
            data = coder.encode(pixels, setting, **maps)
    except BenchError:
        raise
    except FOREIGN as error:
        why = _why(coder, error)
        raise BenchError(f"{codec} cannot encode {image}: {why}") from error
    if not isinstance(data, bytes):
        why = f"encode gave {type(data).__name__}, not bytes"
        raise BenchError(f"{codec} cannot encode {image}: {why}")
    _write(stream, data)
    height, width, _ = pixels.shape
    at = "" if "q_map" in maps else f" at {setting}"
    print(f"{stream}: {len(data)} bytes, {bits_per_pixel(len(data), height * width):.4f} bpp{at}")


def decode(
    request: Annotated[Request, some("device weights_dir", device="cpu")],
    stream: Annotated[
        Path, opt(ARGUMENT, "The stream: of `bench encode`, or a file of its format.")
    ],
    image: Annotated[Path, opt(ARGUMENT, "PNG file to write.")],
    codec: Annotated[str, opt(CODED, f"{CODEC}; default: as the stream begins.")] = "",
    beta: Annotated[
        float | None,
        opt(CODED, "Of our codec: realism weight, 0 to 5.12, instead of the stream's."),
    ] = None,
) -> None:
    """Decode a stream of any codec to an image.

    Streams of ours, JPEG, WebP, JPEG 2000, JPEG XL, AVIF and BPG are recognised; --codec names
    others. Streams kept by `bench run` are decoded by `bench export images`.

    Examples:
      bench decode out.crdr out.png
      bench decode out.crdr out.png --beta 5.12
      bench decode out.crdr out.png --codec ours:beta=0:exact=1
      bench decode stream.bin out.png --codec vtm
    """
    from PIL.Image import fromarray

    from benchmark.system.foreign_files import LARGEST_FILE_BYTES, read_regular

    if image.suffix.lower() != ".png":
        raise UsageError(f"{image}: what is decoded becomes a PNG, so its name ends in .png")
    use_device(request.device)  # a device that is not here is refused before the stream is read
    try:
        data = read_regular(stream, LARGEST_FILE_BYTES)
    except OSError as error:
        raise UsageError(f"{stream} cannot be read: {error.strerror}") from error
    name = codec or codec_of(data, stream)
    if beta is not None and not _is_ours(name):
        raise UsageError(f"--beta is for our codec alone, not for {name}: leave it out")
    if name == OURS:
        bundled = _bundled_checkpoint(data)
        name = f"{PLAIN}:checkpoint={bundled}" if bundled else PLAIN
    coder = _opened(name, request)
    called = parse_codec(name).name
    refused = f"{stream} cannot be decoded as {called}"
    try:
        with printing_to_stderr():
            pixels = coder.decode(data, **({} if beta is None else {"beta": beta}))
    except (Unavailable, BadOption):
        raise
    except FOREIGN as error:
        why = _why(coder, error)
        raise UsageError(f"{refused}: {why}{_remedy(error, data, called)}") from error
    if (
        not isinstance(pixels, np.ndarray)
        or pixels.dtype != np.uint8
        or pixels.shape[2:] != (3,)
        or not pixels.size
    ):
        raise UsageError(f"{refused}: what comes out is no 8-bit RGB")
    png = BytesIO()
    fromarray(pixels).save(png, "PNG")
    _write(image, png.getvalue())
    print(f"{image}: {pixels.shape[1]} x {pixels.shape[0]} pixels, decoded by {called}")


def codec_of(stream: bytes, path: Path) -> str:
    """Return the name of the codec whose streams begin as this one; raise `UsageError` if none."""
    for name, beginning in BEGINNINGS.items():
        if re.match(beginning, stream, re.DOTALL):
            return name
    raise UsageError(
        f"{path} does not begin as a stream of {', '.join(BEGINNINGS)}: --codec says which codec "
        "made it"
    )


def read_image(path: Path, flatten: bool = False) -> "Pixels":
    """Return an image's pixels by the harness's rules; raises `UsageError` where it has none."""
    try:
        return benchmark.read_image(path, flatten).pixels
    except ImageRefused as why:
        raise UsageError(str(why)) from why


def _why(coder: Codec, error: BaseException) -> str:
    """Return why a codec failed, of a user's with the line of its file."""
    reason = reason_of(error, type(coder))
    return one_line(error) if is_of_package(type(coder)) else reason


def _opened(codec: str, request: Request) -> Any:
    request.use_folders()
    use_device(request.device)
    return load_codec(parse_codec(codec))


def _is_ours(codec: str) -> bool:
    return parse_codec(codec).name == OURS


def _bundled_checkpoint(stream: bytes) -> str:
    """Return the path of our bundled checkpoint that a stream names; empty if it names another."""
    from baselines.neural.bitstream.container import read_checkpoint_id
    from baselines.neural.card import load_card
    from baselines.neural.network_codec import BUNDLED

    try:
        named = read_checkpoint_id(stream)
    except CorruptStream:
        return ""  # the decoder reports it
    paths = sorted(BUNDLED.glob(f"{OURS}*.safetensors.*"))
    return next((str(path) for path in paths if load_card(path).identity.startswith(named)), "")


def _remedy(error: BaseException, stream: bytes, codec: str) -> str:
    """Return the clause on the option that takes the checkpoint of a stream; empty for no other."""
    from baselines.neural.bitstream.container import OtherCheckpoint

    if not isinstance(error, OtherCheckpoint):
        return ""
    file = Path(_bundled_checkpoint(stream)).stem or "FILE"
    return f"; --codec {PLAIN if codec == OURS else codec}:checkpoint={file} takes its file"


def _setting(coder: Codec, point: str) -> Setting:
    if not point:
        return coder.sweep[len(coder.sweep) // 2]
    name, _, value = point.partition("=")
    names = sorted({known.name for known in coder.sweep})
    if name.strip() not in names:
        raise UnknownName(f"setting of {coder.name}", name, names)
    try:
        return Setting(name.strip(), float(value))
    except ValueError:
        raise UsageError(f"--point {point!r} is not of the form quality=30") from None


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.stat()  # a misspelt folder is an error, not a new folder
        write_file(path, data)
    except OSError as error:
        there = f"; make the folder {path.parent} first" * isinstance(error, FileNotFoundError)
        raise UsageError(f"{path} cannot be written: {error.strerror}{there}") from error
