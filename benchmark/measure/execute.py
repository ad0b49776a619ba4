"""Execute a cell: encode, decode, measure times, make columns. A failure is a result, too."""

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
from benchmark.errors import FOREIGN_ERRORS, raise_interruption
from benchmark.measure.cells import Failed, StageCallback, failed_by, ignore_stages
from benchmark.rows.schema import NOT_DETERMINISTIC
from benchmark.system.digest import pixels_sha256


class Coded(NamedTuple):
    """Stream and decoded pixels, with the wall-clock seconds of both calls."""

    stream: bytes | None  # None if only the size is declared
    num_bytes: int
    decoded: Pixels
    encode_seconds: float | None
    decode_seconds: float | None
    container_bytes: int | None = None  # included in num_bytes; None if the codec states none
    encode_inside_seconds: float | None = None  # measured by the codec in its process
    decode_inside_seconds: float | None = None
    estimated_bits: float | None = None

    def columns(self, source: Source) -> dict[str, Any]:
        """Return the columns of a row, without metrics."""
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
    enter: StageCallback = ignore_stages,
    device: Device = "cpu",
) -> Coded | Failed:
    """Code an image on the codec's `device`; only bytes cross from encoder to decoder."""
    if hasattr(encoder, "declared"):
        enter("decode")
        return _execute_declared(encoder, image, pixels, setting)
    input_copy = pixels.copy()  # a codec that writes into its input must not change the reference
    enter("encode")
    encode_start = perf_counter()
    try:
        result: object = encoder.encode(input_copy, setting)
    except FOREIGN_ERRORS as error:  # the failure is the codec's result
        return failed_by(encoder, "encode", error)
    encode_end = perf_counter()
    estimated_bits = _estimated_bits(encoder)
    max_bytes = max_stream_bytes(*pixels.shape[:2])
    problem = "" if issubclass(type(result), bytes) else f"{type(result).__name__}, not bytes"
    # No method of a foreign object is called, since a subclass of bytes may override it
    stream = b"" if problem else memoryview(result).tobytes()  # type: ignore[arg-type]
    if not problem and not 0 < len(stream) <= max_bytes:
        too_large = f"{len(stream):,} bytes, more than the {max_bytes:,} of the largest stream"
        problem = too_large if stream else "no byte"
    if problem:
        return Failed("verify", f"encode gave {problem}")
    enter("decode")
    decode_start = perf_counter()
    try:
        decoded = decoder.decode(stream)
        decode_end = perf_counter()
        if issubclass(type(decoded), np.ndarray):
            decoded = np.asarray(decoded)
        container = decoder.container_bytes(stream) if hasattr(decoder, "container_bytes") else None
        container = None if container is None else int(container)
        inside_seconds = [
            _plain_number(getattr(codec, "inside_seconds", None)) for codec in (encoder, decoder)
        ]
    except FOREIGN_ERRORS as error:
        return failed_by(decoder, "decode", error)
    if problem := _find_mismatch(decoded, pixels):
        return Failed("verify", problem)
    seconds = (encode_end - encode_start, decode_end - decode_start)
    codec_numbers = (inside_seconds[0], inside_seconds[1], estimated_bits)
    return Coded(stream, len(stream), decoded, *seconds, container, *codec_numbers)


def _estimated_bits(encoder: Codec) -> float | None:
    try:
        bits = encoder.estimated_bits() if hasattr(encoder, "estimated_bits") else None
        return _plain_number(bits)
    except FOREIGN_ERRORS as error:
        raise_interruption(error)
        return None


def _plain_number(value: Any) -> float | None:
    """Convert a codec's number to float; None for a number that rows cannot have."""
    number = math.nan if value is None else float(value)
    return number if 0 <= number < math.inf else None


def execute_within_memory(
    encoder: Codec,
    decoder: Codec,
    image: str,
    pixels: Pixels,
    setting: Setting,
    enter: StageCallback = ignore_stages,
    device: Device = "cpu",
) -> tuple[Coded | Failed, bool]:
    """Code an image, in tiles if the GPU's memory is too small; return whether tiles were used."""
    outcome = execute(encoder, decoder, image, pixels, setting, enter, device)
    if not isinstance(outcome, Failed) or outcome.exhausted_memory != "device":
        return outcome, False
    if not hasattr(encoder, "make_tiled"):
        return outcome, False
    free_memory()
    try:
        tiled_encoder = encoder.make_tiled()
    except FOREIGN_ERRORS as error:
        tiled_outcome: Coded | Failed = failed_by(encoder, "encode", error)
    else:
        tiled_outcome = execute(tiled_encoder, decoder, image, pixels, setting, enter, device)
    if isinstance(tiled_outcome, Failed):
        reason = (
            f"{outcome.reason}; once more in tiles, {tiled_outcome.stage}: {tiled_outcome.reason}"
        )
        return outcome._replace(reason=reason), False
    return tiled_outcome, True


def decode_again(
    decoder: Codec, image: str, setting: Setting, stream: bytes | None
) -> Pixels | Failed:
    """Decode a stream again, or read the reconstruction of a declared size."""
    try:
        if hasattr(decoder, "declared"):
            declared: Declared = decoder.declared(image, setting)
            return declared.decoded
        if stream is None:
            return Failed("load", "its stream was not kept")
        return decoder.decode(stream)
    except FOREIGN_ERRORS as error:
        return failed_by(decoder, "decode", error)


def compare_decodes(
    decoder: Codec,
    create_codec: Callable[[], Codec],
    image: str,
    setting: Setting,
    coded: Coded,
    enter: StageCallback = ignore_stages,
) -> Failed | None:
    """Decode a stream again, untimed, with a new codec if possible; compare all pixels."""
    enter("load")
    try:
        second_decoder = create_codec()
    except FOREIGN_ERRORS as error:  # the same code succeeded for `decoder`
        raise_interruption(error)
        second_decoder = decoder
    enter("decode")
    pixels = decode_again(second_decoder, image, setting, coded.stream)
    if isinstance(pixels, Failed) and pixels.exhausted_memory == "device":
        pixels = decode_again(decoder, image, setting, coded.stream)
    first_pixels, prefix = coded.decoded, f"{NOT_DETERMINISTIC}: two decodes of the same bytes"
    if isinstance(pixels, Failed):
        return pixels._replace(
            reason=f"the second decode of the same bytes failed: {pixels.reason}"
        )
    if not isinstance(pixels, np.ndarray) or pixels.shape != first_pixels.shape:
        shape = pixels.shape if isinstance(pixels, np.ndarray) else type(pixels).__name__
        return Failed("decode", f"{prefix} give {first_pixels.shape} and {shape}")
    if pixels.dtype == first_pixels.dtype and np.array_equal(pixels, first_pixels):
        return None
    difference = f"{np.count_nonzero(pixels != first_pixels)} of {pixels.size} samples"
    return Failed("decode", f"{prefix} differ in {difference}")


def free_memory() -> None:
    """Free garbage and torch's GPU memory; `except` blocks keep arrays alive: call it outside."""
    gc.collect()
    if (torch := sys.modules.get("torch")) is not None:
        torch.cuda.empty_cache()


def _execute_declared(codec: Any, image: str, pixels: Pixels, setting: Setting) -> Coded | Failed:
    try:
        declared: Declared = codec.declared(image, setting)
    except FOREIGN_ERRORS as error:
        return failed_by(codec, "decode", error)
    if problem := _find_mismatch(declared.decoded, pixels):
        return Failed("verify", problem)
    num_bytes, max_bytes = declared.num_bytes, max_stream_bytes(*pixels.shape[:2])
    if not isinstance(num_bytes, (int, np.integer)) or not 0 <= num_bytes <= max_bytes:
        return Failed(
            "verify", f"the declared size, {num_bytes!r} bytes, is not 0 to {max_bytes:,} bytes"
        )
    return Coded(None, int(num_bytes), declared.decoded, None, None)


def _find_mismatch(decoded: object, pixels: Pixels) -> str:
    if not issubclass(type(decoded), np.ndarray):
        return f"decode gave {type(decoded).__name__}, not an array of uint8"
    array = np.asarray(decoded)
    if array.dtype != np.uint8:
        return f"decode gave {array.dtype}, not an array of uint8"
    if array.shape != pixels.shape:
        return f"decoded {array.shape}, expected {pixels.shape}"
    return ""
