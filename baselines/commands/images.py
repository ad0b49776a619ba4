"""`bench encode` and `bench decode`: code a single image with any codec."""

import re
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

import benchmark
from benchmark.codec import Codec, Setting, bits_per_pixel
from benchmark.errors import (
    FOREIGN_ERRORS,
    BadOption,
    BenchError,
    CorruptStream,
    ImageRefused,
    Unavailable,
    UnknownName,
    UsageError,
)
from benchmark.measure.request import Request
from benchmark.option import ARGUMENT, CODED, opt, subset
from benchmark.plugins import is_of_package, one_line, printing_to_stderr, reason_of
from benchmark.spec import load_codec, parse_codec
from benchmark.system.atomic import write_file
from benchmark.system.settings import use_device

if TYPE_CHECKING:
    from benchmark.codec import Pixels

OURS, USUAL = "ours", "ours:beta=0"
# Codec -> regular expression for the first bytes of its streams
SIGNATURES = {
    OURS: rb"C\xd2",  # baselines.neural.bitstream.container
    "jpeg": rb"\xff\xd8\xff",
    "webp": rb"RIFF.{4}WEBP",
    "jpeg2000": rb"\xff\x4f\xff\x51",  # a codestream: .j2k
    "jpegxl": rb"\xff\x0a",  # a codestream
    "avif": rb".{4}ftypavif",
    "bpg": rb"BPG\xfb",
}
MAP_HELP = (
    "Grey picture of any size, stretched over the image: black is 0, white {}; each block of "
    "64 x 64 pixels uses its mean, rounded to 16 levels."
)
CODEC = "Codec, name[:key=value]... or path.py:Class"


def encode(
    request: Annotated[Request, subset("device weights_dir flatten", device="cpu")],
    image: Annotated[Path, opt(ARGUMENT, "Image: PNG, JPEG, WebP, TIFF or PPM.")],
    stream: Annotated[Path, opt(ARGUMENT, "Stream to write, such as out.crdr or out.jpg.")],
    codec: Annotated[str, opt(CODED, f"{CODEC}.")] = USUAL,
    point: Annotated[
        str,
        opt(CODED, "Setting, such as q=2.5 or quality=30; default: the middle of the sweep."),
    ] = "",
    q_map: Annotated[Path | None, opt(CODED, MAP_HELP.format("q = 4"))] = None,
    beta_map: Annotated[Path | None, opt(CODED, MAP_HELP.format("beta = 5.12"))] = None,
) -> None:
    """Encode an image with a codec, by default ours.

    For ours, --q-map and --beta-map set rate and realism by block.

    Examples:
      bench encode in.png out.crdr --codec ours:beta=3.84 --point q=2.5
      bench encode in.png out.crdr --q-map importance.png
      bench encode in.png out.crdr --codec ours:beta=0:effort=2
      bench encode in.png out.jpg --codec jpeg --point quality=30
    """
    coder = _open_codec(codec, request)
    files = {"q_map": q_map, "beta_map": beta_map}
    paths = {name: path for name, path in files.items() if path is not None}
    if paths and not _is_ours(codec):
        raise UsageError(f"--q-map and --beta-map apply to ours, not to {codec}: leave both out")
    maps = {name: read_image(path, flatten=True) for name, path in paths.items()}
    setting = _parse_point(coder, point)
    pixels = read_image(image, request.flatten)
    try:
        with printing_to_stderr():
            data = coder.encode(pixels, setting, **maps)
    except BenchError:
        raise
    except FOREIGN_ERRORS as error:
        reason = _failure_reason(coder, error)
        raise BenchError(f"{codec} cannot encode {image}: {reason}") from error
    if not isinstance(data, bytes):
        reason = f"encode returned {type(data).__name__}, not bytes"
        raise BenchError(f"{codec} cannot encode {image}: {reason}")
    _write_result(stream, data)
    height, width, _ = pixels.shape
    bpp = bits_per_pixel(len(data), height * width)
    suffix = "" if "q_map" in maps else f" at {setting}"
    print(f"{stream}: {len(data)} bytes, {bpp:.4f} bpp{suffix}")


def decode(
    request: Annotated[Request, subset("device weights_dir", device="cpu")],
    stream: Annotated[
        Path,
        opt(
            ARGUMENT,
            "Stream from `bench encode`, or a JPEG, WebP, JPEG 2000, JPEG XL, AVIF or BPG file.",
        ),
    ],
    image: Annotated[Path, opt(ARGUMENT, "PNG file to write.")],
    codec: Annotated[str, opt(CODED, f"{CODEC}; default: recognised from the stream.")] = "",
    beta: Annotated[
        float | None,
        opt(CODED, "Realism weight of our codec, 0 to 5.12, in place of the value in the stream."),
    ] = None,
) -> None:
    """Decode a stream of any codec to a PNG file.

    Streams of ours, JPEG, WebP, JPEG 2000, JPEG XL, AVIF and BPG are recognised; give --codec for
    others. For the streams of a results folder, use `bench export images`.

    Examples:
      bench decode out.crdr out.png
      bench decode out.crdr out.png --beta 5.12
      bench decode out.crdr out.png --codec ours:beta=0:exact=1
      bench decode stream.bin out.png --codec vtm
    """
    from PIL.Image import fromarray

    from benchmark.system.foreign_files import MAX_FOREIGN_FILE_BYTES, read_regular

    if image.suffix.lower() != ".png":
        raise UsageError(f"{image}: the decoded image will be a PNG, so its name must end in .png")
    use_device(request.device)  # refuse a missing device before the stream is read
    try:
        data = read_regular(stream, MAX_FOREIGN_FILE_BYTES)
    except OSError as error:
        raise UsageError(f"{stream} cannot be read: {error.strerror}") from error
    name = codec or recognise_codec(data, stream)
    if beta is not None and not _is_ours(name):
        raise UsageError(f"--beta applies to ours, not to {name}: leave out --beta")
    if name == OURS:
        checkpoint = _bundled_checkpoint(data)
        name = f"{USUAL}:checkpoint={checkpoint}" if checkpoint else USUAL
    coder = _open_codec(name, request)
    codec_name = parse_codec(name).name
    failure = f"{stream} cannot be decoded as {codec_name}"
    try:
        with printing_to_stderr():
            pixels = coder.decode(data, **({} if beta is None else {"beta": beta}))
    except (Unavailable, BadOption):
        raise
    except FOREIGN_ERRORS as error:
        reason = _failure_reason(coder, error)
        remedy = _remedy(error, data, codec_name)
        raise UsageError(f"{failure}: {reason}{remedy}") from error
    if (
        not isinstance(pixels, np.ndarray)
        or pixels.dtype != np.uint8
        or pixels.shape[2:] != (3,)
        or not pixels.size
    ):
        raise UsageError(f"{failure}: the decoded image is not 8-bit RGB")
    png = BytesIO()
    fromarray(pixels).save(png, "PNG")
    _write_result(image, png.getvalue())
    print(f"{image}: {pixels.shape[1]} x {pixels.shape[0]} pixels, decoded by {codec_name}")


def recognise_codec(stream: bytes, path: Path) -> str:
    """Return the codec that a stream's first bytes show; `UsageError` if unknown."""
    for name, signature in SIGNATURES.items():
        if re.match(signature, stream, re.DOTALL):
            return name
    raise UsageError(
        f"{path} is not recognised as a stream of {', '.join(SIGNATURES)}: give its codec with "
        "--codec"
    )


def read_image(path: Path, flatten: bool = False) -> "Pixels":
    """Read an image by the rules of the harness; raises `UsageError`."""
    try:
        return benchmark.read_image(path, flatten).pixels
    except ImageRefused as error:
        raise UsageError(str(error)) from error


def _failure_reason(coder: Codec, error: BaseException) -> str:
    # for a user's codec, the reason includes the line that failed
    reason = reason_of(error, type(coder))
    return one_line(error) if is_of_package(type(coder)) else reason


def _open_codec(codec: str, request: Request) -> Any:
    request.use_folders()
    use_device(request.device)
    return load_codec(parse_codec(codec))


def _is_ours(codec: str) -> bool:
    return parse_codec(codec).name == OURS


def _bundled_checkpoint(stream: bytes) -> str:
    from baselines.neural.bitstream.container import read_checkpoint_id
    from baselines.neural.card import load_card
    from baselines.neural.network_codec import BUNDLED

    try:
        identity = read_checkpoint_id(stream)
    except CorruptStream:
        return ""  # the decoder reports it
    paths = sorted(BUNDLED.glob(f"{OURS}*.safetensors.*"))
    return next((str(path) for path in paths if load_card(path).identity.startswith(identity)), "")


def _remedy(error: BaseException, stream: bytes, codec: str) -> str:
    from baselines.neural.bitstream.container import CheckpointMismatch

    if not isinstance(error, CheckpointMismatch):
        return ""
    file = Path(_bundled_checkpoint(stream)).stem or "FILE"
    return f": give the file with --codec {USUAL if codec == OURS else codec}:checkpoint={file}"


def _parse_point(coder: Codec, point: str) -> Setting:
    if not point:
        return coder.sweep[len(coder.sweep) // 2]
    name, _, value = point.partition("=")
    names = sorted({setting.name for setting in coder.sweep})
    if name.strip() not in names:
        raise UnknownName(f"setting of {coder.name}", name, names)
    try:
        return Setting(name.strip(), float(value))
    except ValueError:
        raise UsageError(f"--point {point!r} has no number: use the form quality=30") from None


def _write_result(path: Path, data: bytes) -> None:
    try:
        path.parent.stat()  # fails if the folder is misspelt
        write_file(path, data)
    except OSError as error:
        remedy = f"; make the folder {path.parent} first" * isinstance(error, FileNotFoundError)
        raise UsageError(f"{path} cannot be written: {error.strerror}{remedy}") from error
