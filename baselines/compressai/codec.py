"""CompressAI's learned image codecs, through its compress() and decompress().

    compressai:model=bmshj2018-hyperprior:metric=mse
    compressai:model=cheng2020-attn:metric=ms-ssim
    compressai:model=mbt2018-mean:checkpoint=trained/lambda-{quality}.pth.tar
    compressai:model=cheng2020-anchor:checkpoint=low.pth,middle.pth,high.pth:name=Mine
    compressai:model=mbt2018-mean:weights=random
    hyperprior:weights=matched        the same model, reduced, as this project trained it

The sweep holds the qualities whose weight files are present. Padding (zeros, centred, to multiples
of 64) and rounding are those of CompressAI's own evaluation; its numbers differ only by the header,
8 to 10 bytes.

The entropy model's parameters are computed in floating point: a stream decodes on the kind of
device, with the versions and the number of threads that it was made with. A damaged payload gives a
wrong image, not an error.

A stream:

    quality        1 byte: which of the model's networks decodes it
    width, height  a varint each, in pixels
    lengths        a varint for each string, in bytes; their number follows from the model
    strings        in this order; the last byte of the last one ends the stream

A stream of n bytes is of at most 2^18 + 1024 n pixels, sides rounded up to multiples of 64: a
decoder refuses more, since its work depends on them, and an encoder writes zeros behind the last
string of an image so blank that its stream would have fewer bytes.
"""

from collections.abc import Mapping
from hashlib import sha256
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from baselines.compressai import weights as weight_files
from baselines.neural.bitstream.container import ByteReader, varint
from baselines.neural.card import Card, has_card, verified_card
from benchmark.codec import (
    CodecInfo,
    OneOf,
    Pixels,
    Setting,
    device_kind,
    require_accepted,
)
from benchmark.errors import CorruptStream, ImageRefused
from benchmark.system.machine import package_folder
from benchmark.system.settings import chosen_device

if TYPE_CHECKING:
    from torch import Tensor

REVISION = 3
LATENT_STEP = 16  # pixels of a latent position in every model of the zoo
CAVEATS = {
    "random": "random weights",
    "matched": "reduced, trained by this project",
}


# The widest hyperprior needs 660 bytes of memory per pixel: 44 GB for an image of this size.
MAX_PIXELS = 1 << 26
STEP = 64  # pixels; the deepest model of the zoo divides height and width by as much
STRING_TAIL = 64  # bytes that CompressAI's decoder reads at its start and ahead
FREE_PIXELS, PIXELS_PER_BYTE = 1 << 18, 1 << 10


class ZooStream(NamedTuple):
    """Contents of a stream."""

    quality: int  # 0..255
    width: int  # pixels
    height: int  # pixels
    strings: tuple[bytes, ...]


def pack(stream: ZooStream) -> bytes:
    """Return the bytes of a stream.

    >>> pack(ZooStream(3, 768, 512, (b"latent", b"z"))).hex(" ")
    '03 80 06 80 04 06 01 6c 61 74 65 6e 74 7a'
    """
    sizes = (stream.width, stream.height, *map(len, stream.strings))
    header = bytes([stream.quality]) + b"".join(map(varint, sizes))
    return header + b"".join(stream.strings)


def unpack(data: bytes, num_strings: int) -> ZooStream:
    """Return the stream that `pack` was given.

    Raises `CorruptStream` where the bytes do not add up to exactly a stream of that many strings,
    or claim an image of no pixels or of more than `MAX_PIXELS`; nothing is allocated before that.
    """
    reader = ByteReader(data)
    (quality,) = reader.take(1)
    width, height, *lengths = (reader.varint() for _ in range(2 + num_strings))
    if not 0 < width * height <= MAX_PIXELS:
        raise CorruptStream(f"the stream claims an image of {width} x {height} pixels")
    strings = tuple(reader.take(length) for length in lengths)
    if rest := reader.rest():
        raise CorruptStream(f"the stream has {len(rest)} bytes after its last string")
    return ZooStream(quality, width, height, strings)


def most_pixels(num_bytes: int) -> int:
    """Return the most pixels that a decoder works on for a stream of `num_bytes`."""
    return FREE_PIXELS + PIXELS_PER_BYTE * num_bytes


def long_enough(stream: ZooStream) -> ZooStream:
    """Return the stream with zeros after the last string, if a decoder would refuse its size.

    Only blank images take so few bytes; entropy decoders ignore the zeros.
    """
    _, _, wide, high = padding(stream.width, stream.height)
    lacking = wide * high - most_pixels(sum(map(len, stream.strings)))
    *others, last = stream.strings
    last += bytes(max(0, -(-lacking // PIXELS_PER_BYTE)))
    return stream._replace(strings=(*others, last))


class CompressAI:
    """Model of the zoo, trained for a metric, at all qualities whose weights are present.

    `weights` is "published", "random" for a seeded, untrained network, or "matched" for networks
    that this project trained with the work per pixel of its own codec and the crops per rate level
    of its training. `checkpoint` names state dicts instead, several by commas, lowest rate first,
    or by a number for `{quality}`. Autoregressive models run on the CPU.
    """

    name = "compressai"
    packages: ClassVar[tuple[str, ...]] = ("torch", "compressai")
    not_here: ClassVar[Mapping[str, str]] = weight_files.not_here()
    published_weights = staticmethod(weight_files.published_files)

    def __init__(
        self,
        *,
        model: str,
        metric: str = "mse",
        weights: str = "published",
        checkpoint: str = "",
    ) -> None:
        package_folder("compressai")
        self._model, self._metric = model, metric
        self._device = "cpu" if model in weight_files.AUTOREGRESSIVE else chosen_device()
        self.num_strings = 1 if "factorized" in model else 2
        sources = weight_files.find_sources(model, metric, weights, checkpoint, self._device)
        self._kind = next(iter(sources.values())).weights
        self._sources = sources
        self._paths = [source.path for source in sources.values() if source.path is not None]
        self.sweep = tuple(Setting("quality", quality) for quality in sources)
        self.accepts = OneOf(self.sweep)

    def describe(self) -> CodecInfo:
        """Return version, call, CompressAI's licence and the sha256 of the weights."""
        versions = f"CompressAI {version('compressai')}, torch {version('torch')}"
        trainings: dict[str, None] = {}
        for card in self._cards():
            steps = f"{card.steps} steps of {card.crops} crops in all: {card.training_data}"
            training = card.training if card.steps is None else steps
            trainings["N={}, M={}, {}".format(*card.config.widths, training)] = None
        layers = "CompressAI's own layers"  # as rows have it
        named = list(zip(self.sweep, self._sources.values(), strict=True))
        digests = b"".join(bytes.fromhex(each.sha256) for _, each in named)
        seeded = f"{weight_files.RANDOM_SEED} {versions} {self._model}"  # without weight files
        return CodecInfo(
            version="; ".join((versions, layers, *trainings)),
            command=f"{self._model} for {self._metric}, {self._kind} weights, quality {{quality}}: "
            f"compress() and decompress() with {layers}, zeros around it to multiples of "
            f"{STEP}",
            licence="BSD-3-Clause-Clear",
            fingerprint=sha256(digests or seeded.encode()).hexdigest(),
            revision=REVISION,
            timed="one call in this process: padding, transforms, entropy coding",
            device=device_kind(self._device),
            caveat=self._caveat(),
            chroma="4:4:4",
            tuned_for="MS-SSIM" if self._metric == "ms-ssim" else "PSNR",
            parts=tuple((str(at), each.sha256) for at, each in named if each.sha256),
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return the stream of an image; raises `ImageRefused` above `MAX_PIXELS`."""
        from baselines.neural.network import inference

        height, width, _ = pixels.shape
        if height * width > MAX_PIXELS:
            raise ImageRefused(f"{width} x {height} is more than {MAX_PIXELS} pixels")
        require_accepted(self, setting)
        quality = int(setting.value)
        net: Any = weight_files.network(self._sources[quality])
        with inference():
            strings = net.compress(padded_planes(pixels, self._device))["strings"]
        stream = ZooStream(quality, width, height, tuple(string for (string,) in strings))
        return pack(long_enough(stream))

    def decode(self, data: bytes) -> Pixels:
        """Return the image, rounded to 8 bits; raises `CorruptStream` for an incomplete stream."""
        from baselines.neural.network import inference

        stream = unpack(data, self.num_strings)
        if stream.quality not in self._sources:
            raise CorruptStream(f"the stream is of quality {stream.quality}, which is not here")
        _, _, wide, high = padding(stream.width, stream.height)
        if wide * high > most_pixels(len(data)):
            size = f"{stream.width} x {stream.height} pixels in {len(data)} bytes"
            raise CorruptStream(f"the stream claims {size}: no image takes so few")
        net: Any = weight_files.network(self._sources[stream.quality])
        factor = int(net.downsampling_factor)
        # CompressAI's decoder reads beyond the end of a damaged string, at most four bytes a symbol
        # or fifteen times four bits for an escape: what it reads there are zeros.
        beyond = 4 * int(net.M) * (wide // LATENT_STEP) * (high // LATENT_STEP) + STRING_TAIL
        strings = [[string + bytes(15 * len(string) + beyond)] for string in stream.strings]
        with inference():
            decoded = net.decompress(strings, (high // factor, wide // factor))["x_hat"][0]
            return inner_pixels(decoded, stream.width, stream.height)

    def setting_of(self, data: bytes) -> Setting:
        """Return the quality that a stream was made at; raises `CorruptStream` as `decode` does."""
        return Setting("quality", unpack(data, self.num_strings).quality)

    def _cards(self) -> list[Card]:
        return [verified_card(path) for path in self._paths if has_card(path)]

    def _caveat(self) -> str:
        cards = self._cards()
        if cards and not all(card.steps for card in cards):  # whoever trained them, or did not
            return ", ".join(dict.fromkeys(card.shown_caveat for card in cards if not card.steps))
        if self._kind == "published":
            qualities = range(1, weight_files.QUALITIES[self._model] + 1)
            missing = [f"{quality}" for quality in qualities if quality not in self._sources]
            return f"no weights for quality {', '.join(missing)}" if missing else ""
        return CAVEATS.get(self._kind, "")


def padding(width: int, height: int) -> tuple[int, int, int, int]:
    """Return the padding of CompressAI's evaluation: left, top, padded width, padded height.

    >>> padding(451, 64)
    (30, 0, 512, 64)
    """
    wide, high = (-(-side // STEP) * STEP for side in (width, height))
    return (wide - width) // 2, (high - height) // 2, wide, high


def padded_planes(pixels: Pixels, device: str) -> "Tensor":
    """Return an image as a network gets it: float32 of 0 to 1, (1, 3, height, width), padded."""
    import torch
    from torch.nn import functional

    height, width, _ = pixels.shape
    left, top, wide, high = padding(width, height)
    planes = torch.from_numpy(pixels.astype(np.float32)).to(device).permute(2, 0, 1)[None] / 255
    return functional.pad(planes, (left, wide - width - left, top, high - height - top))


def inner_pixels(planes: "Tensor", width: int, height: int) -> Pixels:
    """Return the image inside a network's planes, (3, height, width), rounded to 8 bits."""
    left, top, _, _ = padding(width, height)
    picture = planes[:, top : top + height, left : left + width].permute(1, 2, 0)
    pixels: Pixels = picture.mul(255).round_().clamp_(0, 255).byte().contiguous().cpu().numpy()
    return pixels
