"""Carry out one cell: encode, decode, time. A failure is a result, not a crash."""

from time import perf_counter
from typing import Literal, NamedTuple

import numpy as np

from benchmark.codec import Codec, DeclaresSizes, Pixels, Setting
from benchmark.errors import BenchError

Stage = Literal["load", "encode", "decode", "verify", "worker"]


class Coded(NamedTuple):
    """A stream, what came out of it, and how long both took (wall clock)."""

    stream: bytes | None  # None where only the size is declared
    num_bytes: int
    decoded: Pixels
    encode_seconds: float | None
    decode_seconds: float | None


class Failed(NamedTuple):
    """Where and why there is nothing to score."""

    stage: Stage
    reason: str


def execute(
    encoder: Codec, decoder: Codec, image: str, pixels: Pixels, setting: Setting
) -> Coded | Failed:
    """Code one image; `decoder` is an instance that never encodes: only bytes cross over."""
    if isinstance(encoder, DeclaresSizes):
        return _declared(encoder, image, pixels, setting)
    own_copy = pixels.copy()  # a codec that writes into its input must not change the reference
    started = perf_counter()
    try:
        stream: object = encoder.encode(own_copy, setting)
    except Exception as error:  # adapters run foreign code; any exception is that codec's result
        return Failed("encode", explain(error))
    encoded = perf_counter()
    if not isinstance(stream, bytes):
        return Failed("verify", f"encode gave {type(stream).__name__}, not bytes")
    resumed = perf_counter()
    try:
        decoded = decoder.decode(stream)
    except Exception as error:
        return Failed("decode", explain(error))
    finished = perf_counter()
    wrong = _mismatch(decoded, pixels)
    if wrong:
        return Failed("verify", wrong)
    return Coded(stream, len(stream), decoded, encoded - started, finished - resumed)


def decode_again(
    decoder: Codec, image: str, setting: Setting, stream: bytes | None
) -> Pixels | Failed:
    """The reconstruction of a kept stream, or of a declared size."""
    try:
        if isinstance(decoder, DeclaresSizes):
            return decoder.declared(image, setting).decoded
        if stream is None:
            return Failed("load", "its stream was not kept")
        return decoder.decode(stream)
    except Exception as error:
        return Failed("decode", explain(error))


def explain(error: Exception) -> str:
    """One line about an exception: our own messages as they are, others with their type."""
    text = " ".join(str(error).split())
    return text if isinstance(error, BenchError) else f"{type(error).__name__}: {text}"


def _declared(codec: DeclaresSizes, image: str, pixels: Pixels, setting: Setting) -> Coded | Failed:
    try:
        declared = codec.declared(image, setting)
    except Exception as error:
        return Failed("decode", explain(error))
    wrong = _mismatch(declared.decoded, pixels)
    if wrong:
        return Failed("verify", wrong)
    return Coded(None, declared.num_bytes, declared.decoded, None, None)


def _mismatch(decoded: object, pixels: Pixels) -> str:
    if not isinstance(decoded, np.ndarray) or decoded.dtype != np.uint8:
        kind = getattr(decoded, "dtype", type(decoded).__name__)
        return f"decode gave {kind}, not an array of uint8"
    if decoded.shape != pixels.shape:
        return f"decoded {decoded.shape}, expected {pixels.shape}"
    return ""
