"""DIRAC and HFD as architectures: networks behind a base codec, without latents. No torch.

Ghouse, Petersen, Wiggers, Xu, Sautière, "A residual diffusion model for high perceptual quality
codec augmentation" (2023, arXiv 2301.05489), and Hoogeboom, Agustsson, Mentzer, Versari, Toderici,
Theis, "High-fidelity image compression with score-based generative models" (2023, arXiv
2305.18231), both after their abstracts: their texts were not at hand. Every constant that they must
have fixed and that is chosen here is a field, for a reader of the papers to set.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta

from baselines.neural.architecture import Architecture, LatentCoder
from baselines.neural.dimensions import (
    LARGEST_COUNT,
    Count,
    Dimensions,
    EvenWidth,
    Number,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from benchmark.codec import Setting

LARGEST_PATCH_PX = 1 << 14


@dataclass(frozen=True, slots=True)
class DiffusionConfig(Dimensions):
    """Dimensions of a diffusion decoder, its sampler, and the base that it was trained for.

    With the domain "residual", the decoder samples the difference from the base picture in units of
    its standard deviation, to which `noise_scale` is relative, limited to the level's threshold.
    With "picture", it samples the picture itself, of values in [-1, 1], to which `noise_scale` is
    relative and which is limited to that range. `base` and the fields after it describe the codec
    whose pictures the network was trained on; a preset has an empty `base` and cannot be trained or
    used.
    """

    widths: tuple[EvenWidth, EvenWidth, EvenWidth]  # at 1/4, 1/8 and 1/16 of the picture's sides
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
    # Its values, one for each level, lowest rate first.
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
        """Number of rate levels of the base that one network serves, 1 for a preset."""
        return max(1, len(self.settings))

    @property
    def sweep(self) -> "tuple[Setting, ...]":
        """Settings of the base, lowest rate first."""
        from benchmark.codec import Setting  # needs numpy

        return tuple(Setting(self.setting, value) for value in self.settings)

    def for_base(
        self, spec: str, fingerprint: str, setting: str, settings: tuple[float, ...]
    ) -> "DiffusionConfig":
        """Return the configuration for a base codec and its settings."""
        return replace(
            self, base=spec, base_fingerprint=fingerprint, setting=setting, settings=settings
        )


# Sizes for both methods. `full` is our choice: neither network's size was found. `micro` takes per
# step about the work of the other methods' smallest networks; `tiny` is for tests.
SIZES = {
    "full": ((128, 256, 384), 2, 512),
    "small": ((64, 96, 128), 2, 256),
    "micro": ((32, 48, 64), 1, 128),
    "tiny": ((4, 6, 8), 1, 8),
}


def _presets(
    domain: Literal["residual", "picture"],
    noise_scale: float,
    sampler: Literal["ddim", "ancestral"],
) -> dict[str, DiffusionConfig]:
    return {
        name: DiffusionConfig(widths, blocks, 2, embedding, domain, noise_scale, sampler)
        for name, (widths, blocks, embedding) in SIZES.items()
    }


class DiffusionArchitecture(Architecture[DiffusionConfig]):
    """Base class of both methods; the name of a network's table of levels has the method's domain.

    `initialise` measures the base's residuals, and leaves the weights random.
    """

    config_type = DiffusionConfig
    network_type = "baselines.neural.diffusion.model:DiffusionNetwork"

    def config_from_json(self, record: Any) -> DiffusionConfig:
        """Return the configuration on a card; raises `ValueError` that names the wrong field."""
        config = super().config_from_json(record)
        if config.domain != self._default.domain:
            raise ValueError(f"domain is {config.domain!r}, not {self._default.domain!r}")
        return config

    def coder(
        self,
        network: Any,
        tables: "Mapping[str, Tensor]",
        device: "torch.device | str" = "cpu",
    ) -> LatentCoder:
        """Raise `ValueError`: the network runs behind a base codec and codes nothing itself."""
        raise ValueError(f"a network of {self.name} codes nothing: {self.name}:base=... runs it")

    @property
    def _default(self) -> DiffusionConfig:
        return self.presets["full"]


class DiracArchitecture(DiffusionArchitecture):
    """DIRAC: the receiver samples the residual of a base codec, from a late start.

    Our choices: a schedule for unit variance, and DDIM, since one step has to be an answer.
    """

    name = "dirac"
    presets: Mapping[str, DiffusionConfig] = _presets("residual", 1.0, "ddim")


class HfdArchitecture(DiffusionArchitecture):
    """HFD: the receiver samples the picture given an autoencoder's reconstruction.

    Our choices: a noise scale of .1, that of residuals at about .1 bpp, and DDPM's ancestral steps.
    """

    name = "hfd"
    presets: Mapping[str, DiffusionConfig] = _presets("picture", 0.1, "ancestral")
