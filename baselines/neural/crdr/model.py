"""The network of CRDR: an image, a rate and a realism weight -> a reconstruction and its bits.

::

    x ─ analysis(q) ─ y ───────────────────────── quantise ─ y_hat ─ synthesis(q, beta) ─> x_hat
                      └ hyper_analysis ─ z              └─── mu, sigma
                                         └ round ─ z_hat ─ hyper_synthesis ─ context ─┘

Iwai et al., "Controlling Rate, Distortion, and Realism" (WACV 2024). One network for every rate q
in [0, 4] and every beta in [0, 5.12]. Beta acts in the decoder only, q in the two transforms only:
the entropy model sees neither, nor do the bits depend on beta.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from baselines.neural.blocks.control import Control, Level, control_of
from baselines.neural.crdr.realism import HIGHEST_BETA
from baselines.neural.crdr.sizes import Sizes
from baselines.neural.crdr.transforms import Analysis, Synthesis
from baselines.neural.entropy.context import ChannelContext
from baselines.neural.entropy.hyperprior import (
    LEAST_LIKELIHOOD,
    FactorisedPrior,
    HyperSynthesis,
    at_least,
    hyper_analysis,
)
from baselines.neural.network import Estimate, Network

STRIDE = 64  # height and width of an image have to be multiples of it
LEAST_SCALE = 0.11
SQRT_2 = math.sqrt(2)


class Controls(NamedTuple):
    """Rate q in [0, 4] and realism weight beta in [0, 5.12] of a batch."""

    rate: Level | Control
    realism: Level | Control = 0.0


class CRDR(Network):
    """The network; each step is a method, which the codec and the tests combine."""

    stride = STRIDE

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = self.config = sizes
        self.analysis = Analysis(sizes)
        self.synthesis = Synthesis(sizes)
        self.hyper_analysis = hyper_analysis(sizes)
        self.hyper_synthesis = HyperSynthesis(sizes)
        self.prior = FactorisedPrior(sizes.hyper_latent)
        self.context = ChannelContext(sizes)

    def rate_control(self, q: Level, like: Tensor) -> Control:
        """q from 0 to 4: a number, (N,), or a map (N, 1, H / 64, W / 64); raises `ValueError`."""
        return control_of(q, self.sizes.rate_levels - 1, like)

    def realism_control(self, beta: Level, like: Tensor) -> Control:
        """Beta from 0 to 5.12, in the same forms; raises `ValueError`."""
        return control_of(beta, HIGHEST_BETA, like)

    def analyse(self, images: Tensor, q: Level | Control) -> Tensor:
        """(N, 3, H, W) in [-1, 1], multiples of 64, to y (N, M, H / 16, W / 16)."""
        if images.shape[2] % STRIDE or images.shape[3] % STRIDE:
            raise ValueError(f"{tuple(images.shape[2:])} are not multiples of {STRIDE}")
        rate = q if isinstance(q, Control) else self.rate_control(q, images)
        latents: Tensor = self.analysis(images, rate)
        return latents

    def hyper_analyse(self, latents: Tensor) -> Tensor:
        """y to z (N, Z, H / 64, W / 64)."""
        hyper: Tensor = self.hyper_analysis(latents)
        return hyper

    def round_hyper(self, hyper: Tensor) -> Tensor:
        """z to z_hat: whole steps from each channel's median, ties to even."""
        medians = self.prior.medians().detach()[:, None, None]
        return (hyper - medians).round() + medians

    def hyper_synthesise(self, rounded_hyper: Tensor) -> tuple[Tensor, Tensor]:
        """z_hat to mean and scale support, each (N, support, H / 16, W / 16)."""
        mean, scale = self.hyper_synthesis(rounded_hyper)
        return mean, scale

    def synthesise(self, latents: Tensor, q: Level | Control, beta: Level | Control) -> Tensor:
        """y_hat (N, M, H / 16, W / 16) to (N, 3, H, W) about [-1, 1], not clamped."""
        rate = q if isinstance(q, Control) else self.rate_control(q, latents)
        realism = beta if isinstance(beta, Control) else self.realism_control(beta, latents)
        images: Tensor = self.synthesis(latents, rate, realism)
        return images

    def priors(self) -> tuple[FactorisedPrior]:
        """Return the factorised prior of z."""
        return (self.prior,)

    def quantile_loss(self) -> Tensor:
        """Return `auxiliary_loss()`, by its earlier name."""
        return self.auxiliary_loss()

    def controls_at(self, rate: Level | Control, realism: Level | Control) -> Controls:
        """Return the controls of `forward` at a rate q and a realism weight beta."""
        return Controls(rate, realism)

    def freezable(self) -> dict[str, Sequence[nn.Parameter]]:
        """Return the parts by name; `rate_control` and `realism_control` act on q and on beta."""
        parts = dict(super().freezable())
        parts["rate_control"] = parts["attentions"]
        parts["realism_control"] = [*parts["embedding"], *parts.get("project", ())]
        return parts

    def forward(
        self,
        images: Tensor,
        controls: Controls | Level | Control,
        realism: Level | Control = 0.0,
        *,
        noisy: bool = True,
    ) -> Estimate:
        """The whole codec with estimated bits.

        Bits are those of the latents with uniform noise, as in training, or of the rounded ones.
        The decoder always sees rounded latents; in the backward pass rounding is the identity.
        Under autocast, what is rounded and what counts bits stays in float32.
        """
        # Two levels one after the other are the earlier form of the same.
        q, beta = controls if isinstance(controls, Controls) else Controls(controls, realism)
        latents = self.analyse(images, q).float()
        hyper = self.hyper_analyse(latents).float()
        with torch.autocast(images.device.type, enabled=False):
            z_bits = self.prior.bits(_noised(hyper) if noisy else self.round_hyper(hyper))
        rounded_hyper = hyper + (self.round_hyper(hyper) - hyper).detach()
        y_bits: list[Tensor] = []
        slices = torch.split(latents, list(self.sizes.slices) or [self.sizes.latent], dim=1)

        def quantise(index: int, mean: Tensor, scale: Tensor) -> Tensor:
            values = slices[index]
            symbols = (values - mean).round()
            residual = _noised(values) - mean if noisy else symbols
            y_bits.append(gaussian_bits(residual, scale.float()).sum((1, 2, 3)))
            return values + (symbols + mean - values).detach()

        decoded = self.context(*self.hyper_synthesise(rounded_hyper), quantise)
        images = self.synthesise(decoded, q, beta)
        return Estimate(images, torch.stack(y_bits).sum(0), z_bits.sum((1, 2, 3)), decoded)


def gaussian_bits(residuals: Tensor, scales: Tensor) -> Tensor:
    """Bits of the unit intervals around residuals, under normal distributions of mean 0.

    Scales below .11 count as .11. Same shapes in and out.

    >>> gaussian_bits(torch.tensor([0.0]), torch.tensor([0.5]))
    tensor([0.5507])
    """
    bounded = at_least(scales, LEAST_SCALE)
    distance = residuals.abs()  # in the lower tail, where the difference does not cancel
    # erfc, since torch's ndtr loses the tail in float32: .08 % more bits on the parity crop.
    near, far = (((distance + edge) / (bounded * SQRT_2)).erfc() for edge in (-0.5, 0.5))
    return -at_least(0.5 * (near - far), LEAST_LIKELIHOOD).log2()


def _noised(values: Tensor) -> Tensor:
    return values + torch.empty_like(values).uniform_(-0.5, 0.5)
