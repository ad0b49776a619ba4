"""DIRAC and HFD as architectures of the boundary: networks behind a base, without latents.

Ghouse, Petersen, Wiggers, Xu, Sautière, "A residual diffusion model for high perceptual quality
codec augmentation" (2023, arXiv 2301.05489), and Hoogeboom, Agustsson, Mentzer, Versari, Toderici,
Theis, "High-fidelity image compression with score-based generative models" (2023, arXiv
2305.18231), both after their abstracts: their texts were not at hand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from baselines.neural.architecture import LatentCoder, PlainArchitecture, Shapes
from baselines.neural.diffusion.config import DiffusionConfig, presets
from baselines.neural.shapes import count

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from baselines.neural.diffusion.model import DiffusionNetwork


class DiffusionArchitecture(PlainArchitecture[DiffusionConfig]):
    """Base class of both methods; the table of levels of a network says which one it belongs to."""

    config_type = DiffusionConfig

    def config_from_json(self, record: Any) -> DiffusionConfig:
        """Return the configuration on a card; raises `ValueError` that names the wrong field."""
        found = super().config_from_json(record)
        if found.domain != self._default.domain:
            raise ValueError(f"domain is {found.domain!r}, not {self._default.domain!r}")
        return found

    def config_to_json(self, config: DiffusionConfig) -> dict[str, Any]:
        """Return the json object of a configuration."""
        record = super().config_to_json(config)
        return record | {name: list(record[name]) for name in ("widths", "settings")}

    def config_from_shapes(
        self, shapes: Shapes, known: DiffusionConfig | None = None
    ) -> DiffusionConfig:
        """Return the configuration of the network whose tensors have these names and shapes.

        No shape tells the base or the constants of the method: they are those of `known`.
        """
        config = known or self._default
        levels = shapes[f"levels_{config.domain}"]
        if levels != (config.levels, 4):
            config = replace(config, settings=tuple(map(float, range(levels[0]))))
        first, second, third = (
            shapes[f"unet.down.{at}.blocks.0.second.weight"][0] for at in range(3)
        )
        return replace(
            config,
            widths=(first, second, third),
            blocks=count("unet.down.0.blocks.{}.second.weight", shapes),
            middle=count("unet.middle.{}.second.weight", shapes),
            embedding=shapes["unet.embedding.2.weight"][0],
        )

    def rate_levels(self, config: DiffusionConfig) -> int:
        """Return how many rate levels of the base one network serves."""
        return config.levels

    def build(self, config: DiffusionConfig) -> "DiffusionNetwork":
        """Return a network with random weights, on torch's default device."""
        from baselines.neural.diffusion.model import DiffusionNetwork

        return DiffusionNetwork(config)

    def initialise(
        self, network: "DiffusionNetwork", crops: "Tensor", lambdas: Sequence[float]
    ) -> None:
        """Measure the base's residuals on `crops` (N, 3, H, W) in [-1, 1]; weights stay random.

        Raises `UsageError` for a network without a base, `Unavailable` where that cannot run.
        """
        from baselines.neural.diffusion.statistics import measure_levels

        measure_levels(network, crops)

    def coder(
        self,
        network: "DiffusionNetwork",
        tables: "Mapping[str, Tensor]",
        device: "torch.device | str" = "cpu",
    ) -> LatentCoder:
        """Raise `ValueError`: the network draws behind a base codec and codes nothing itself."""
        raise ValueError(f"a network of {self.name} codes nothing: {self.name}:base=... runs it")

    @property
    def _default(self) -> DiffusionConfig:
        return self.presets["full"]


class DiracArchitecture(DiffusionArchitecture):
    """DIRAC: the residual of a base codec, drawn by its receiver."""

    name = "dirac"
    presets: Mapping[str, DiffusionConfig] = presets("dirac")
    landmarks = ("unet.enter.weight", "unet.embedding.2.weight", "levels_residual")


class HfdArchitecture(DiffusionArchitecture):
    """HFD: the picture given an autoencoder's reconstruction, drawn by its receiver."""

    name = "hfd"
    presets: Mapping[str, DiffusionConfig] = presets("hfd")
    landmarks = ("unet.enter.weight", "unet.embedding.2.weight", "levels_picture")
