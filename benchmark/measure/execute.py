"""Carry out a cell: encode, decode; seconds, memory, columns. A failure is a result, not a crash.

On Linux the kernel keeps the most resident memory of a process and forgets it on demand, which
takes some hundredths of a millisecond. What a process had loaded before counts as well.
"""

import gc
import math
import sys
from collections.abc import Callable
from hashlib import sha256
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from benchmark.codec import (
    Codec,
    Declared,
    Device,
    Pixels,
    Setting,
    bits_per_pixel,
    max_stream_bytes,
)
from benchmark.datasets.dataset import Source
from benchmark.errors import FOREIGN, raise_interruption
from benchmark.measure.cells import Enter, Failed, failed_by, ignore_stages
from benchmark.rows.schema import NOT_DETERMINISTIC
from benchmark.system.digest import pixels_sha256


class Coded(NamedTuple):
    """A stream, its decoded pixels, and the wall-clock seconds of both calls."""

    stream: bytes | None  # None where only the size is declared
    num_bytes: int
    decoded: Pixels
    encode_seconds: float | None
    decode_seconds: float | None
    container_bytes: int | None = None  # of num_bytes; None where the codec does not know
    encode_inside_seconds: float | None = None  # as a codec in a process of its own measures them
    decode_inside_seconds: float | None = None
    estimated_bits: float | None = None

    def columns(self, source: Source) -> dict[str, Any]:
        """Return the columns of a row that the two calls came to; metrics are not among them."""
        values = self._asdict()
        stream, decoded = values.pop("stream"), values.pop("decoded")
        return {
            **values,
            "status": "ok",
            "bytes_origin": "declared" if stream is None else "measured",
            "bpp": bits_per_pixel(self.num_bytes, source.width_px * source.height_px),
            "stream_sha256": None if stream is None else sha256(stream).hexdigest(),
            "decoded_sha256": pixels_sha256(decoded),
        }


def execute(
    encoder: Codec,
    decoder: Codec,
    image: str,
    pixels: Pixels,
    setting: Setting,
    enter: Enter = ignore_stages,
    device: Device = "cpu",
) -> Coded | Failed:
    """Code an image; `decoder` has never encoded: only bytes cross over. device: the codec's."""
    if hasattr(encoder, "declared"):
        enter("decode")
        return _declared(encoder, image, pixels, setting)
    own_copy = pixels.copy()  # a codec that writes into its input must not change the reference
    enter("encode")
    started = perf_counter()
    try:
        made: object = encoder.encode(own_copy, setting)
    except FOREIGN as error:  # its result
        return failed_by(encoder, "encode", error)
    encoded = perf_counter()
    estimated = _estimated_bits(encoder)
    most = max_stream_bytes(*pixels.shape[:2])
    wrong = "" if issubclass(type(made), bytes) else f"{type(made).__name__}, not bytes"
    # Nothing of a foreign object is called; what a subclass of bytes overrides decides nothing
    stream = b"" if wrong else memoryview(made).tobytes()  # type: ignore[arg-type]
    if not wrong and not 0 < len(stream) <= most:
        large = f"{len(stream):,} bytes, more than the {most:,} of the largest stream"
        wrong = large if stream else "no byte"
    if wrong:
        return Failed("verify", f"encode gave {wrong}")
    enter("decode")
    resumed = perf_counter()
    try:
        decoded = decoder.decode(stream)
        finished = perf_counter()
        if issubclass(type(decoded), np.ndarray):
            decoded = np.asarray(decoded)
        container = decoder.container_bytes(stream) if hasattr(decoder, "container_bytes") else None
        container = None if container is None else int(container)
        inside = [_plain_number(getattr(c, "inside_seconds", None)) for c in (encoder, decoder)]
    except FOREIGN as error:
        return failed_by(decoder, "decode", error)
    if wrong := _mismatch(decoded, pixels):
        return Failed("verify", wrong)
    seconds = (encoded - started, finished - resumed)
    return Coded(stream, len(stream), decoded, *seconds, container, inside[0], inside[1], estimated)


def _estimated_bits(encoder: Codec) -> float | None:
    """Return what the encoder estimates of its last stream; None for what is no number of bits."""
    try:
        bits = encoder.estimated_bits() if hasattr(encoder, "estimated_bits") else None
        return _plain_number(bits)
    except FOREIGN as error:
        raise_interruption(error)
        return None


def _plain_number(value: Any) -> float | None:
    """Return a number that a codec states as Python's own; None for one that no row can have."""
    number = math.nan if value is None else float(value)
    return number if 0 <= number < math.inf else None


def execute_within_memory(
    encoder: Codec,
    decoder: Codec,
    image: str,
    pixels: Pixels,
    setting: Setting,
    enter: Enter = ignore_stages,
    device: Device = "cpu",
) -> tuple[Coded | Failed, bool]:
    """Code an image, once more in tiles if a GPU's memory is too small; return whether it was."""
    outcome = execute(encoder, decoder, image, pixels, setting, enter, device)
    if not isinstance(outcome, Failed) or outcome.lacked != "device":
        return outcome, False
    if not hasattr(encoder, "make_tiled"):
        return outcome, False
    give_memory_back()
    try:
        tiled = encoder.make_tiled()
    except FOREIGN as error:
        again: Coded | Failed = failed_by(encoder, "encode", error)
    else:
        again = execute(tiled, decoder, image, pixels, setting, enter, device)
    if isinstance(again, Failed):
        reason = f"{outcome.reason}; once more in tiles, {again.stage}: {again.reason}"
        return outcome._replace(reason=reason), False
    return again, True


def decode_again(
    decoder: Codec, image: str, setting: Setting, stream: bytes | None
) -> Pixels | Failed:
    """Decode a kept stream again, or read the reconstruction of a declared size."""
    try:
        if hasattr(decoder, "declared"):
            declared: Declared = decoder.declared(image, setting)
            return declared.decoded
        if stream is None:
            return Failed("load", "its stream was not kept")
        return decoder.decode(stream)
    except FOREIGN as error:
        return failed_by(decoder, "decode", error)


def differs_again(
    decoder: Codec,
    second: Callable[[], Codec],
    image: str,
    setting: Setting,
    coded: Coded,
    enter: Enter = ignore_stages,
) -> Failed | None:
    """Decode a stream once more, untimed, with a new instance; return how the pixels differ.

    second: makes the instance; where that fails, or a GPU's memory does not hold another, the
    same `decoder` decodes again. None if the pixels are the same, to the last bit.
    """
    enter("load")
    try:
        other = second()
    except FOREIGN as error:  # of code that has once succeeded for `decoder`
        raise_interruption(error)
        other = decoder
    enter("decode")
    again = decode_again(other, image, setting, coded.stream)
    if isinstance(again, Failed) and again.lacked == "device":
        again = decode_again(decoder, image, setting, coded.stream)
    first, twice = coded.decoded, f"{NOT_DETERMINISTIC}: two decodes of the same bytes"
    if isinstance(again, Failed):
        return again._replace(reason=f"the second decode of the same bytes failed: {again.reason}")
    if not isinstance(again, np.ndarray) or again.shape != first.shape:
        shape = again.shape if isinstance(again, np.ndarray) else type(again).__name__
        return Failed("decode", f"{twice} give {first.shape} and {shape}")
    if again.dtype == first.dtype and np.array_equal(again, first):
        return None
    where = f"{np.count_nonzero(again != first)} of {again.size} samples"
    return Failed("decode", f"{twice} differ in {where}")


def give_memory_back() -> None:
    """Free garbage and torch's GPU memory; an error's handler would still refer to its arrays."""
    gc.collect()
    if (torch := sys.modules.get("torch")) is not None:
        torch.cuda.empty_cache()


def _declared(codec: Any, image: str, pixels: Pixels, setting: Setting) -> Coded | Failed:
    try:
        declared: Declared = codec.declared(image, setting)
    except FOREIGN as error:
        return failed_by(codec, "decode", error)
    if wrong := _mismatch(declared.decoded, pixels):
        return Failed("verify", wrong)
    size, most = declared.num_bytes, max_stream_bytes(*pixels.shape[:2])
    if not isinstance(size, (int, np.integer)) or not 0 <= size <= most:
        return Failed("verify", f"declared {size!r} bytes, which no stream of {most:,} at most has")
    return Coded(None, int(size), declared.decoded, None, None)


def _mismatch(decoded: object, pixels: Pixels) -> str:
    if not issubclass(type(decoded), np.ndarray):
        return f"decode gave {type(decoded).__name__}, not an array of uint8"
    array = np.asarray(decoded)
    if array.dtype != np.uint8:
        return f"decode gave {array.dtype}, not an array of uint8"
    if array.shape != pixels.shape:
        return f"decoded {array.shape}, expected {pixels.shape}"
    return ""
