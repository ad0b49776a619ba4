"""Other codecs than ours for the commands that code single images, named or recognised."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import benchmark
from benchmark.codec import Pixels
from benchmark.errors import BenchError, Unavailable, UsageError
from benchmark.plan.request import Request

OURS = "ours"
# How streams begin that are recognised: ours, and those that are files of a standard format.
BEGINNINGS = (
    (OURS, rb"C\xd2"),  # baselines.neural.bitstream.container
    ("jpeg", rb"\xff\xd8\xff"),
    ("webp", rb"RIFF.{4}WEBP"),
    ("jpeg2000", rb"\xff\x4f\xff\x51"),  # a codestream: .j2k
    ("jpegxl", rb"\xff\x0a"),  # a codestream
    ("avif", rb".{4}ftypavif"),
    ("bpg", rb"BPG\xfb"),
)


def codec_of(stream: bytes, path: Path) -> str:
    """Return the name of the codec whose streams begin as this one; raise `UsageError` if none."""
    for name, beginning in BEGINNINGS:
        if re.match(beginning, stream, re.DOTALL):
            return name
    raise UsageError(
        f"{path} does not begin as a stream of {', '.join(name for name, _ in BEGINNINGS)}: "
        "--codec says which codec made it"
    )


def refuse_options(codec: str, given: Mapping[str, bool]) -> None:
    """Raise `UsageError` if an option of our codec was given for another one."""
    for name, is_given in given.items():
        if is_given:
            raise UsageError(f"--{name} is for our codec alone, not for {codec}: leave it out")


def encode_as(
    codec: str,
    encode: Callable[..., bytes],
    setting: Mapping[str, float],
    pixels: Pixels,
    image: Path,
) -> bytes:
    """Return the stream of an image at a setting, or at the codec's middle one.

    encode: of the codec that `benchmark.codec` opened. Raises what the codec says of the request,
    and `BenchError` where it fails.
    """
    try:
        return encode(pixels, **setting)
    except BenchError:
        raise
    except Exception as error:  # adapters run foreign code
        raise BenchError(f"{codec} cannot encode {image}: {_told(error)}") from error


def decode_as(codec: str, stream: bytes, path: Path, request: Request) -> Pixels:
    """Return the image of a stream; raises `UsageError` where the codec cannot decode it."""
    bound = benchmark.open_codec(codec, device=request.device, weights_dir=request.weights_dir)
    try:
        pixels = bound.decode(stream)
    except Unavailable:
        raise
    except Exception as error:  # adapters run foreign code
        why = str(error) if isinstance(error, BenchError) else _told(error)
        raise UsageError(f"{path} cannot be decoded as {codec}: {why}") from error
    if getattr(pixels, "dtype", None) != "uint8" or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise UsageError(f"{path} cannot be decoded as {codec}: what comes out is no 8-bit RGB")
    return pixels


def setting_of(point: str) -> dict[str, float]:
    """Return a setting given as text, none for an empty one; raises `UsageError`.

    >>> setting_of("quality=30"), setting_of("")
    ({'quality': 30.0}, {})
    """
    if not point:
        return {}
    name, _, value = point.partition("=")
    try:
        return {name.strip(): float(value)}
    except ValueError:
        raise UsageError(f"--point {point!r} is not of the form quality=30") from None


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
