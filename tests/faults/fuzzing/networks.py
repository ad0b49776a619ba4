"""Whole decoders of learned codecs, with the smallest networks: milliseconds an execution.

Streams that claim more than a few thousand pixels are parsed and not decoded; the work that they
may ask for is bounded by `tests/faults/strangers/test_streams.py`.
"""

import math
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest.mock import patch

from baselines.compressai import codec as zoo
from baselines.neural.architecture import load_architecture
from baselines.neural.bitstream import container
from baselines.neural.bitstream.container import CHECKPOINT_BYTES, MAGIC
from baselines.neural.card import Card
from benchmark.codec import Codec
from benchmark.registry import import_target
from benchmark.spec import load_codec, parse_codec
from faults.fuzzing.headers import sign
from faults.fuzzing.target import MEND, Target
from support.networks.tiny_architecture import write_tiny
from support.networks.tiny_checkpoint import noise, write_checkpoint
from support.networks.tiny_diffusion import write_drawing
from support.networks.zoo import write_hyperprior

MAX_PIXELS = 1 << 14
_bounded = partial(Target, max_pixels=MAX_PIXELS, max_input_bytes=2048)
BEFORE_ID = len(MAGIC) + 1


def ours(folder: Path) -> Target:
    """CRDR: numbers and maps of both controls, one piece and tiles."""
    path = folder / "ours.safetensors"
    card = write_checkpoint(path)
    return _ours(load_codec(parse_codec(f"ours:beta=2.56:checkpoint={path}")), "crdr", card)


def hyperprior(folder: Path) -> Target:
    """A hyperprior of CompressAI, whose entropy decoder is foreign code that trusts its input."""
    codec = load_codec(write_hyperprior(folder))
    quality = codec.encode(noise(1, 1), codec.sweep[0])[:1]

    def claimed_pixels(data: bytes) -> int:
        stream = zoo.unpack(data, 2)
        return math.prod(zoo.padding(stream.width, stream.height)[2:])

    def mend(data: bytes) -> bytes:
        return quality + data[1:]  # the quality, of which there is one

    return _bounded(_decode(codec, claimed_pixels), mend)


def _method(folder: Path, name: str, options: str = "") -> Target:
    path = folder / f"{name}.safetensors"
    card = write_tiny(path, name)
    return _ours(load_codec(parse_codec(f"{name}{options}:checkpoint={path}")), name, card)


def _drawing(folder: Path, name: str) -> Target:
    card = write_tiny(folder / "elic-1.safetensors", "elic")
    write_drawing(folder / f"{name}-elic.safetensors", name, "elic", weights=folder)
    with patch.dict(os.environ, {"BENCH_WEIGHTS": str(folder)}):
        codec = load_codec(parse_codec(f"{name}:steps=1"))
    return _ours(codec, "elic", card)


charm, elic, ivr, hific, pqmim = (
    partial(_method, name=name) for name in ("charm", "elic", "ivr", "hific", "pqmim")
)
multirealism = partial(_method, name="multirealism", options=":beta=1.28")
dirac, hfd = (partial(_drawing, name=name) for name in ("dirac", "hfd"))  # behind ELIC


def _ours(codec: Codec, architecture: str, card: Card) -> Target:
    """Return the target of a codec whose streams are those of a checkpoint's container."""
    block = import_target(load_architecture(architecture).network).control_block
    identity = card.identity[:CHECKPOINT_BYTES]

    def claimed_pixels(data: bytes) -> int:
        stream = container.unpack(data, block)
        return stream.width * stream.height

    def mend(data: bytes) -> bytes:
        return sign(data[:BEFORE_ID] + identity + data[BEFORE_ID + CHECKPOINT_BYTES :])

    valid_stream = bytes([MEND]) + codec.encode(noise(24, 32), codec.sweep[0])
    return _bounded(_decode(codec, claimed_pixels), mend, inputs=(valid_stream,))


def _decode(codec: Codec, claimed_pixels: Callable[[bytes], int]) -> Callable[[bytes], int]:
    def parse(data: bytes) -> int:
        if claimed_pixels(data) > MAX_PIXELS:
            return 0
        height, width, channels = codec.decode(data).shape
        if channels != 3:
            raise AssertionError(f"a picture of {channels} channels")
        return height * width

    return parse
