"""The network of IVR: a network for all rates, whose channels are scaled by masks.

Sun, Tan, Sun, Sun, Feng, "Interpolation Variable Rate Image Compression" (ACM MM 2021): four
convolutions of stride 2 with masks and GDN, and their mirror. A mask is softplus(w_q) for each
channel; between two levels, w is interpolated. Latents are rounded as they are and follow Laplace
distributions; the hyper-encoder sees them rounded, in training too.
Our choices: the hyper-decoder has ReLUs where the authors' has leaky ones, so that it runs in
integers; the optional context and the optional network behind the decoder are left out.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.neural.blocks.control import Control, Level, between_levels, control_of
from baselines.neural.blocks.gdn import GDN, gdn_analysis, gdn_synthesis, start_as_transforms
from baselines.neural.entropy.factorised import noised
from baselines.neural.entropy.fixed.integer_path import IntegerPath
from baselines.neural.entropy.hyperprior_coder import TransformCoder
from baselines.neural.entropy.latent_network import (
    CodedLatents,
    LatentNetwork,
    hyper_analysis,
    hyper_synthesis,
)
from baselines.neural.ivr.architecture import IvrSizes
from baselines.neural.ivr.laplace import IvrPath, LaplacePrior, laplace_bits
from benchmark.errors import CorruptStream

IMAGE_CHANNELS = 3
KERNELS = ((5, 4), (4, 5), (5, 4), (4, 5))  # of the analysis
SLOPE = 0.2
START_MASK = math.log1p(math.e)  # softplus(1): of every mask as published
GAIN = 2.5  # levels of y per unit of an orthonormal transform of [0, 1], at the weight 1
LEAST_SPREAD = 0.15
NOISE = 0.003


class Mask(nn.Module):
    """Channel-wise x softplus(w(q)), w interpolated linearly between whole levels."""

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(levels, channels))

    def forward(self, features: Tensor, rate: Control) -> Tensor:
        """Scale `features` (N, C, H, W); they are overwritten while gradients are off."""
        return rate.map(
            lambda levels: functional.softplus(between_levels(self.weight, levels))
        ).scale(features)


class MaskedTransform(nn.Module):
    """Layers with a mask behind each of the four that change the resolution."""

    def __init__(self, layers: Iterable[nn.Module], widths: Sequence[int], levels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.masks = nn.ModuleList(Mask(width, levels) for width in widths)

    def forward(self, features: Tensor, rate: Control) -> Tensor:
        """Map (N, C, H, W), masks at `rate`."""
        masks = iter(self.masks)
        for layer in self.layers:
            features = layer(features)
            if not isinstance(layer, GDN):
                features = next(masks)(features, rate)
        return features


class IvrNetwork(LatentNetwork):
    """The network; images are in [-1, 1] outside, in [0, 1] for the transforms; controls are q."""

    prior: LaplacePrior  # type: ignore[assignment]

    quantised_bits: Mapping[str, int] = {"hyper_": 8}

    def __init__(self, sizes: IvrSizes) -> None:
        super().__init__()
        self.config = self.sizes = sizes
        inside = (sizes.transform,) * 3
        down, up = (*inside, sizes.latent), (*inside, IMAGE_CHANNELS)
        self.analysis = MaskedTransform(
            gdn_analysis(IMAGE_CHANNELS, down, KERNELS), down, sizes.rate_levels
        )
        self.synthesis = MaskedTransform(gdn_synthesis(sizes.latent, up, 5), up, sizes.rate_levels)
        self.hyper_analysis = hyper_analysis(sizes)
        self.hyper_analysis[1] = self.hyper_analysis[3] = nn.LeakyReLU(SLOPE)
        self.hyper_synthesis = hyper_synthesis(sizes, 2 * sizes.latent)
        self.prior = LaplacePrior(sizes.hyper_latent)

    def priors(self) -> tuple[nn.Module, ...]:  # type: ignore[override]
        """Return none: z's distributions have no quantiles."""
        return ()

    def controls_at(self, rate: Level | Control, realism: Level | Control) -> Level | Control:
        """Return the rate level; there is no realism weight."""
        return rate

    def freezable(self) -> Mapping[str, Sequence[nn.Parameter]]:
        """Return the parts by name; `rate_control` are the masks."""
        parts = dict(super().freezable())
        parts["rate_control"] = parts["masks"]
        return parts

    def analyse(self, images: Tensor, controls: Level | Control = 0.0) -> Tensor:
        """Return y of images (N, 3, H, W) in [-1, 1] at q; raises `ValueError` out of range."""
        return self.analysis(
            (images + 1) / 2, control_of(controls, self.sizes.rate_levels - 1, images)
        )

    def synthesise(self, latents: Tensor, controls: Level | Control = 0.0) -> Tensor:
        """Return images (N, 3, H, W), about [-1, 1] and not clamped, of y as decoded."""
        seen = latents if torch.is_grad_enabled() else latents.clone()  # masks overwrite it
        images: Tensor = self.synthesis(
            seen, control_of(controls, self.sizes.rate_levels - 1, latents)
        )
        return images * 2 - 1

    def hyper_analyse(self, latents: Tensor) -> Tensor:
        """Return z (N, Z, h / 4, w / 4) of y (N, M, h, w), which it rounds."""
        return self.hyper_analysis(_rounded(latents))

    def code(self, latents: Tensor, *, noisy: bool) -> CodedLatents:
        """Round y (N, M, h, w) and count its bits; see `LatentNetwork.code`."""
        rounded_hyper, z_bits = self.code_hyper(latents, noisy=noisy)
        mean, log_scale = self.hyper_synthesis(rounded_hyper).float().chunk(2, dim=1)
        values = noised(latents) if noisy else latents.round()
        bits = laplace_bits(values - mean, log_scale)
        return CodedLatents(_rounded(latents), bits.sum((1, 2, 3)), z_bits)

    def entropy_branches(self) -> dict[str, nn.Module]:
        """Return the hyper-decoder, all of the entropy model that runs in integers."""
        return {"hyper": self.hyper_synthesis}

    def follow(self, latents: Tensor, record: Callable[[str, Tensor], None]) -> None:
        """Decode y (N, M, h, w) in floating point, and record z."""
        rounded = self.round_hyper(self.hyper_analyse(latents))
        record("z", rounded)
        self.hyper_synthesis(rounded)

    def initialise(self, images: Tensor, lambdas: Sequence[float]) -> None:
        """Start as an orthogonal transform fitted to `images` (n, 3, h, w) in [-1, 1]."""
        transform, latent = self.sizes.transform, self.sizes.latent
        down, up = self.analysis, self.synthesis
        widths = (*(transform,) * 3, latent)
        spread = start_as_transforms(down.layers, up.layers, widths, images, 1.0)
        gains = torch.tensor([GAIN / math.sqrt(weight) for weight in lambdas])
        with torch.no_grad():
            for layer in (*down.layers, *up.layers):
                if not isinstance(layer, GDN):  # the masks behind it are not 1
                    layer.weight.div_(START_MASK)
                    layer.bias.div_(START_MASK)
            for mask, gain in ((down.masks[-1], gains), (up.masks[0], 1 / gains)):
                target = torch.expm1(gain * START_MASK).log()[:, None]
                mask.weight.copy_(target.expand_as(mask.weight))
            spread = (spread * float(gains[len(gains) // 2])).clamp(min=LEAST_SPREAD)
            self.hyper_analysis[0].weight.div_(spread[:, None, None])  # type: ignore[operator]
            last: nn.Conv2d = self.hyper_synthesis[-1]  # type: ignore[assignment]
            nn.init.normal_(last.weight, std=NOISE)
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]
            last.bias[latent:] = (spread / math.sqrt(2)).log()  # type: ignore[index]


def _rounded(values: Tensor) -> Tensor:
    return values + (values.round() - values).detach()


class IvrCoder(TransformCoder):
    """Images to latents to bytes, and back; see `TransformCoder`."""

    network: IvrNetwork
    path_type: ClassVar[type[IntegerPath]] = IvrPath

    def synthesise(self, latents: Tensor, controls: Any) -> Tensor:
        """Return the images of y; raises `CorruptStream` for a level that the network lacks."""
        highest = self.network.sizes.rate_levels - 1
        if controls > highest:
            raise CorruptStream(f"the stream is of level {controls:g}, the highest is {highest}")
        return super().synthesise(latents, controls)
