"""The network of ELIC: residual transforms with attention, and a space-channel context.

::

    x ─ analysis ─ y ───────────────────────── quantise ─ y_hat ─ synthesis ─> x_hat
                   └ hyper_analysis ─ z             └ mean, scale of each group, in two passes
                                      └ round ─ z_hat ─ hyper_synthesis ─ context ─┘

He et al., "ELIC: Efficient learned image compression with unevenly grouped space-channel contextual
adaptive coding" (CVPR 2022): one network for each rate. In training, contexts and decoder see
rounded latents, with the identity as gradient of rounding; implementations differ in this, and it
is our choice. A stage of the objective `elic` may let the contexts see noisy latents instead.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from baselines.neural.blocks.layers import RectifiedAttention
from baselines.neural.blocks.residual_transforms import analysis_layers, synthesis_layers
from baselines.neural.blocks.start_values import set_latent_gain, start_transforms
from baselines.neural.elic.architecture import ElicSizes
from baselines.neural.elic.context import CheckerboardConvolution, SpaceChannelContext
from baselines.neural.entropy.factorised import FactorisedPrior, noised
from baselines.neural.entropy.latent_network import (
    CodedLatents,
    LatentNetwork,
    hyper_analysis,
    hyper_synthesis,
    quantise_about,
)

GAIN = 1.25  # levels of y per unit of an orthonormal transform of [-1, 1], at the weight 1
NOISE = 0.003  # standard deviation of the last weights of a group's parameters


class ElicNetwork(LatentNetwork):
    """The network; images are in [-1, 1]."""

    def __init__(self, sizes: ElicSizes) -> None:
        super().__init__()
        self.config = self.sizes = sizes
        encoder = analysis_layers(sizes, RectifiedAttention)
        decoder = synthesis_layers(sizes, attention=RectifiedAttention)
        self.analysis = nn.Sequential(*(layer for layer, _ in encoder))
        self.synthesis = nn.Sequential(*(layer for layer, _ in decoder))
        self.hyper_analysis = hyper_analysis(sizes)
        self.hyper_synthesis = hyper_synthesis(sizes, sizes.support)
        self.prior = FactorisedPrior(sizes.hyper_latent)
        self.context = SpaceChannelContext(sizes)
        self.quantised_bits = {"hyper_": 8, "context.": 8}
        for name in ("analysis", "synthesis"):
            for i, layer in enumerate(self.get_submodule(name).children()):
                if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                    self.quantised_bits[f"{name}.{i}."] = 8
        self.noisy_contexts = False  # whether contexts see noisy latents in training

    def code(self, latents: Tensor, *, noisy: bool) -> CodedLatents:
        """Quantise y (N, M, h, w) group by group; see `LatentNetwork.code`."""
        rounded_hyper, z_bits = self.code_hyper(latents, noisy=noisy)
        seen = _noise if noisy and self.noisy_contexts else _rounding
        coded = self.context(self.hyper_synthesis(rounded_hyper), seen(latents, self.sizes))
        mean, scale = coded.mean.float(), coded.scale.float()
        quantised = quantise_about(latents, mean, scale, noisy=noisy)
        return CodedLatents(quantised.values, quantised.bits.sum((1, 2, 3)), z_bits)

    def entropy_branches(self) -> dict[str, nn.Module]:
        """Return the convolution sequences of the entropy model by name, as it runs in integers."""
        named: dict[str, nn.Module] = {"hyper": self.hyper_synthesis}
        for k in range(len(self.sizes.groups)):
            if k:
                named[f"channel.{k}"] = self.context.channel[k]
            spatial = self.context.spatial[k]
            assert isinstance(spatial, CheckerboardConvolution)
            named[f"spatial.{k}"] = nn.Sequential(spatial)
            named[f"aggregation.{k}"] = self.context.aggregation[k]
        return named

    def entropy_supports(self) -> tuple[str, ...]:
        """Return "support", y as the contexts see it, and "features", all that is aggregated."""
        return "support", "features"

    def follow(self, latents: Tensor, record: Callable[[str, Tensor], None]) -> None:
        """Decode y (N, M, h, w) in floating point, and record z, support and features."""
        rounded = self.round_hyper(self.hyper_analyse(latents))
        record("z", rounded)
        hyper = self.hyper_synthesis(rounded)
        record("features", hyper)
        decoded = self.context(hyper, _rounding(latents, self.sizes)).decoded
        record("support", decoded)
        groups = torch.split(decoded, list(self.sizes.groups), dim=1)
        for k, group in enumerate(groups):
            record("features", self.context.spatial[k](group))
            if k:
                record("features", self.context.features(k, hyper, groups[:k])[0])

    def initialise(self, images: Tensor, lambdas: Sequence[float]) -> None:
        """Start as an orthogonal transform fitted to `images` (n, 3, h, w) in [-1, 1].

        Sides are multiples of 16; `lambdas`, one for each rate level, determine how coarse y is.
        """
        gain = GAIN / math.sqrt(lambdas[0])
        spread = gain * start_transforms(self.analysis, self.synthesis, self.sizes, images)
        set_latent_gain(self.analysis, self.synthesis, gain)
        with torch.no_grad():
            self.hyper_analysis[0].weight.div_(spread[:, None, None])  # type: ignore[operator]
            parts = torch.split(spread, list(self.sizes.groups))
            for part, aggregation in zip(parts, self.context.aggregation, strict=True):
                last: nn.Conv2d = aggregation[-1]  # type: ignore[index]
                nn.init.normal_(last.weight, std=NOISE)
                nn.init.zeros_(last.bias)  # type: ignore[arg-type]
                last.bias[: len(part)] = part  # type: ignore[index]


def _rounding(latents: Tensor, sizes: ElicSizes) -> Callable[[int, Tensor], Tensor]:
    groups = torch.split(latents, list(sizes.groups), dim=1)

    def round_group(group: int, mean: Tensor) -> Tensor:
        values, about = groups[group], mean.float()
        return values + ((values - about).round() + about - values).detach()

    return round_group


def _noise(latents: Tensor, sizes: ElicSizes) -> Callable[[int, Tensor], Tensor]:
    """Return the groups with noise, the same one wherever a group is asked for."""
    groups = torch.split(noised(latents), list(sizes.groups), dim=1)
    return lambda group, _mean: groups[group]
