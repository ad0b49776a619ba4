"""The base codec of a diffusion decoder: any codec of the registry, and its pictures.

A decoder belongs to the weights of a base that has an option `checkpoint` or `weights`.
"""

import inspect
import io
import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np

from benchmark.codec import Codec, CodecInfo, Pixels, Setting
from benchmark.codec_spec import codec_class, load_codec, parse_codec, resolve
from benchmark.errors import BadOption
from benchmark.system.atomic import write_file

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from baselines.neural.training.photographs import Photographs


METHODS = ("dirac", "hfd")  # which are no base


@runtime_checkable
class TellsSetting(Protocol):
    """Codec whose streams hold the setting that they were made at."""

    def setting_of(self, data: bytes) -> Setting:
        """Return the setting of a stream; raises `CorruptStream` for what is none."""
        ...


@runtime_checkable
class ReconstructsBatches(Protocol):
    """Learned codec that reconstructs batches without coding them."""

    def reconstruct(self, images: "Tensor", setting: Setting) -> "tuple[Tensor, Tensor]":
        """Return pictures like `images`, (N, 3, H, W) in [-1, 1], and estimated bits (N,)."""
        ...


class CodedCrops(NamedTuple):
    """Crops as a base codec reconstructs them."""

    images: "Tensor"  # (N, 3, H, W), 8-bit values mapped to [-1, 1]
    bits: "Tensor"  # (N,), of streams or as estimated


class BaseCodec:
    """A codec under a diffusion decoder, by its spec."""

    def __init__(self, text: str) -> None:
        variants = resolve(parse_codec(text))
        if variants[0].name in METHODS:
            raise BadOption(f"base={text}: a decoder that draws is no base of another")
        if len(variants) > 1:
            listed = ", ".join(variant.text for variant in variants)
            raise BadOption(f"base={text} stands for several codecs, {listed}: name one of them")
        self.spec = variants[0]
        self.codec: Codec = load_codec(self.spec)

    @cached_property
    def info(self) -> CodecInfo:
        """The codec's description; raises `Unavailable` where it cannot encode."""
        return self.codec.describe()

    @cached_property
    def fingerprint(self) -> str:
        """The digest of the codec's weights, empty for one without."""
        options = inspect.signature(codec_class(self.spec)).parameters.keys()
        return self.info.fingerprint if options & {"checkpoint", "weights"} else ""

    def code_crops(self, crops: "Tensor", setting: Setting) -> CodedCrops:
        """Return crops (N, 3, H, W) in [-1, 1] as the codec shows them at a setting."""
        import torch

        def eight_bits(images: "Tensor") -> "Tensor":
            return images.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)

        if isinstance(self.codec, ReconstructsBatches):
            images, bits = self.codec.reconstruct(crops, setting)
            return CodedCrops(eight_bits(images).float() / 127.5 - 1, bits)
        levels = eight_bits(crops).permute(0, 2, 3, 1).contiguous().cpu().numpy()
        streams = [self.codec.encode(pixels, setting) for pixels in levels]
        decoded = np.stack([self.codec.decode(data) for data in streams])
        images = torch.from_numpy(decoded).permute(0, 3, 1, 2).to(crops.device)
        bits = torch.tensor([8.0 * len(data) for data in streams], device=crops.device)
        return CodedCrops(images.float() / 127.5 - 1, bits)

    def position(
        self, data: bytes, pixels: Pixels, settings: Sequence[float], rates: Sequence[float],
        overhead_bytes: float,
    ) -> float:  # fmt: skip
        """Return where a stream lies among rate levels, counted from 0.

        pixels: the decoded picture. settings and rates: of the levels, rates in log2 of bits per
        pixel without the bytes that every stream has. A stream that does not tell its setting is
        placed by its own rate.
        """
        if isinstance(self.codec, TellsSetting):
            return placed(self.codec.setting_of(data).value, settings)
        bits = 8 * max(1.0, len(data) - overhead_bytes)
        return placed(math.log2(bits / (pixels.shape[0] * pixels.shape[1])), rates)


def placed(value: float, among: Sequence[float]) -> float:
    """Return the place of a value among others that rise or fall, between them in proportion.

    >>> placed(25, [10, 20, 30]), placed(27, [42, 32, 22]), placed(5, [10, 20])
    (1.5, 1.5, 0.0)
    """
    order = np.argsort(among)
    return float(np.interp(value, np.asarray(among, float)[order], order.astype(float)))


FOLDER = "base"  # in the run's folder
MOST_BYTES = 16 << 30  # of pixels of all levels; a run with more codes its crops by themselves


class ShownPhotographs:
    """Photographs at one setting of a base, by number, as `draw_crops` reads them.

    A photograph is coded where it is needed first, and written to a file of `folder`.
    """

    def __init__(
        self,
        photographs: "Photographs",
        base: BaseCodec,
        setting: Setting,
        folder: Path,
        device: "torch.device",
    ) -> None:
        self._photographs, self._folder = photographs, folder
        self._base, self._setting, self._device = base, setting, device

    def __len__(self) -> int:
        return len(self._photographs)

    def decoded(self, index: int) -> Pixels:
        """Return the base's picture of a photograph, uint8 (height, width, 3)."""
        path = self._folder / f"{self._setting.value:g}-{index}.npy"
        try:
            kept: Pixels = np.load(path, mmap_mode="r")
        except FileNotFoundError:
            kept = self._coded(self._photographs.decoded(index))
            content = io.BytesIO()
            np.save(content, kept)
            write_file(path, content.getbuffer())
        return kept

    def _coded(self, pixels: Pixels) -> Pixels:
        from baselines.neural.inference import padded, to_images, to_pixels

        image = to_images(padded(pixels), self._device)
        shown = to_pixels(self._base.code_crops(image, self._setting).images)
        return shown[: pixels.shape[0], : pixels.shape[1]]
