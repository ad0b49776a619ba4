"""DIRAC and HFD as architectures: networks behind a base codec, without latents. No torch.

Ghouse, Petersen, Wiggers, Xu, Sautière, "A residual diffusion model for high perceptual quality
codec augmentation" (2023, arXiv 2301.05489), and Hoogeboom, Agustsson, Mentzer, Versari, Toderici,
Theis, "High-fidelity image compression with score-based generative models" (2023, arXiv
2305.18231), both after their abstracts: constants that they must have fixed are fields here.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta

from baselines.neural import dimensions as dim
from baselines.neural.architecture import Architecture, LatentCoder

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from benchmark.codec import Setting

LARGEST_PATCH_PX = 1 << 14


@dataclass(frozen=True, slots=True)
class DiffusionConfig(dim.Dimensions):
    """Dimensions of a diffusion decoder, its sampler, and the base that it was trained for.

    With the domain "residual", it samples the difference from the base picture in units of its
    standard deviation, to which `noise_scale` is relative, limited to the level's threshold. With
    "picture", it samples the picture itself, limited to [-1, 1], to which `noise_scale` is
    relative. A preset has an empty `base`.
    """

    widths: tuple[dim.EvenWidth, dim.EvenWidth, dim.EvenWidth]  # at 1/4, 1/8, 1/16 of the sides
    blocks: dim.Number  # residual blocks of each level on the way down; one more on the way up
    middle: dim.Count  # residual blocks at the lowest resolution, between both ways
    embedding: dim.EvenWidth  # of the vector that noise level and residual scale become
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
    settings: Annotated[tuple[float, ...], Meta(max_length=dim.LARGEST_COUNT)] = ()

    def __post_init__(self) -> None:
        dim.Dimensions.__post_init__(self)
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
        from benchmark.codec import Setting  # needs numpy

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
