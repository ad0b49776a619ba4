"""DIRAC and HFD as architectures: networks behind a base codec, without latents. No torch.

Ghouse, Petersen, Wiggers, Xu, Sautière, "A residual diffusion model for high perceptual quality
codec augmentation" (2023, arXiv 2301.05489), and Hoogeboom, Agustsson, Mentzer, Versari, Toderici,
Theis, "High-fidelity image compression with score-based generative models" (2023, arXiv
2305.18231), both after their abstracts: constants that they must have fixed are fields here.
"""

import inspect
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import numpy as np
from msgspec import Meta

from baselines.neural.architecture import (
    LARGEST_COUNT,
    Architecture,
    Count,
    Dimensions,
    EvenWidth,
    LatentCoder,
    Number,
)
from benchmark.codec import Codec, CodecInfo, Pixels, Setting
from benchmark.errors import BadOption
from benchmark.spec import codec_class, load_codec, parse_codec, resolve

if TYPE_CHECKING:
    import torch
    from torch import Tensor

LARGEST_PATCH_PX = 1 << 14


@dataclass(frozen=True, slots=True)
class DiffusionConfig(Dimensions):
    """Dimensions of a diffusion decoder, its sampler, and the base that it was trained for.

    With the domain "residual", it samples the difference from the base picture in units of its
    standard deviation, to which `noise_scale` is relative, limited to the level's threshold. With
    "picture", it samples the picture itself, limited to [-1, 1], to which `noise_scale` is
    relative. A preset has an empty `base`.
    """

    widths: tuple[EvenWidth, EvenWidth, EvenWidth]  # at 1/4, 1/8, 1/16 of the sides
    blocks: Number  # residual blocks of each level on the way down; one more on the way up
    middle: Count  # residual blocks at the lowest resolution, between both ways
    embedding: EvenWidth  # of the vector that noise level and residual scale become
    domain: Literal["residual", "picture"]
    noise_scale: Annotated[float, Meta(gt=0, le=sys.float_info.max)]  # n of the schedule
    sampler: Literal["ddim", "ancestral"]
    # Share of the training residuals of a level that are within its threshold.
    threshold_share: Annotated[float, Meta(gt=0, le=1)] = 0.999
    patch_px: int = 1024  # pictures larger than this in a side are sampled in patches
    overlap_px: int = 128  # of two patches
    base: str = ""  # a codec spec: "elic", "jpeg:optimize=1"
    base_fingerprint: str = ""  # of the base's weights; empty for a base without weights
    setting: str = ""  # name of the base's rate control
    # Its values at the levels, lowest rate first.
    settings: Annotated[tuple[float, ...], Meta(max_length=LARGEST_COUNT)] = ()

    def __post_init__(self) -> None:
        Dimensions.__post_init__(self)
        sides = self.overlap_px, self.patch_px
        if any(side % 16 for side in sides) or not 0 < 2 * sides[0] <= sides[1] <= LARGEST_PATCH_PX:
            raise ValueError(
                f"patches of {self.patch_px} px overlap by {self.overlap_px}: both are multiples "
                "of 16, and the overlap is at most half a patch"
            )

    @property
    def rate_levels(self) -> int:
        """Number of rate levels of the base that a network serves, 1 for a preset."""
        return max(1, len(self.settings))

    @property
    def sweep(self) -> "tuple[Setting, ...]":
        """Settings of the base, lowest rate first."""
        return tuple(Setting(self.setting, value) for value in self.settings)


# Sizes for both methods, our choice: `micro` takes per step about the work of the other methods'
# smallest networks; `tiny` is for tests.
SIZES = {
    "full": ((128, 256, 384), 2, 512),
    "small": ((64, 96, 128), 2, 256),
    "micro": ((32, 48, 64), 1, 128),
    "tiny": ((4, 6, 8), 1, 8),
}


def _presets(*method: Any) -> dict[str, DiffusionConfig]:
    return {
        name: DiffusionConfig(widths, blocks, 2, embedding, *method)
        for name, (widths, blocks, embedding) in SIZES.items()
    }


class DiffusionArchitecture(Architecture[DiffusionConfig]):
    """Base class of both methods. `initialise` measures the base's residuals alone."""

    network_type = "baselines.neural.diffusion.model:DiffusionNetwork"

    def config_from_json(self, record: Any) -> DiffusionConfig:
        """Return the configuration on a card; raises `ValueError` that names the wrong field."""
        config, domain = super().config_from_json(record), self.presets["full"].domain
        if config.domain != domain:
            raise ValueError(f"domain is {config.domain!r}, not {domain!r}")
        return config

    def coder(
        self, network: Any, tables: "Mapping[str, Tensor]", device: "torch.device | str" = "cpu"
    ) -> LatentCoder:
        """Raise `ValueError`: the network runs behind a base codec and codes nothing itself."""
        raise ValueError(f"a network of {self.name} codes nothing: {self.name}:base=... runs it")


class DiracArchitecture(DiffusionArchitecture):
    """DIRAC: samples the residual of a base codec from a late start, by DDIM."""

    name = "dirac"
    presets: Mapping[str, DiffusionConfig] = _presets("residual", 1.0, "ddim")


class HfdArchitecture(DiffusionArchitecture):
    """HFD: samples the picture, at the noise scale of residuals at .1 bpp, by ancestral steps."""

    name = "hfd"
    presets: Mapping[str, DiffusionConfig] = _presets("picture", 0.1, "ancestral")


METHODS = ("dirac", "hfd")  # which are no base


class CodedCrops(NamedTuple):
    """Crops as a base codec reconstructs them."""

    images: "Tensor"  # (N, 3, H, W), 8-bit values mapped to [-1, 1]
    bits: "Tensor"  # (N,), of streams or as estimated


class BaseCodec:
    """A codec under a diffusion decoder, by its spec.

    It may have `setting_of`, from a stream to its setting, and `reconstruct`, from images (N, 3, H,
    W) in [-1, 1] and a setting to pictures like them and bits, without coding.
    """

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
        """The digest of the codec's weights, empty without weights."""
        options = inspect.signature(codec_class(self.spec)).parameters.keys()
        return self.info.fingerprint if options & {"checkpoint", "weights"} else ""

    def code_crops(self, crops: "Tensor", setting: Setting) -> CodedCrops:
        """Return crops (N, 3, H, W) in [-1, 1] as the codec shows them at a setting."""
        import torch

        def eight_bits(images: "Tensor") -> "Tensor":
            return images.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)

        if hasattr(self.codec, "reconstruct"):
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

        rates: of the levels, log2 of bits per pixel without the bytes that every stream has.
        """
        if hasattr(self.codec, "setting_of"):
            return placed(self.codec.setting_of(data).value, settings)
        bits = 8 * max(1.0, len(data) - overhead_bytes)
        return placed(math.log2(bits / (pixels.shape[0] * pixels.shape[1])), rates)


def placed(value: float, among: Sequence[float]) -> float:
    """Return the place of a value among others that rise or fall, between them in proportion."""
    order = np.argsort(among)
    return float(np.interp(value, np.asarray(among, float)[order], order.astype(float)))
