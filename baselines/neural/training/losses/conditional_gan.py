"""A GAN whose discriminator judges patches of an image with the latent beside it.

::

    latent ─ conv3, lrelu ─ 16 x larger ─┐
    image ───────────────────────────────┴ 3 x (conv4/2, lrelu) ─ conv4, lrelu ─ conv4 ─> logits

Mentzer et al., "High-Fidelity Generative Image Compression" (NeurIPS 2020), as TensorFlow
Compression's models/hific has it: every convolution is divided by its largest singular value
(Miyato et al., "Spectral normalization for generative adversarial networks", ICLR 2018).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu, pad
from torch.nn.utils.parametrizations import spectral_norm

from baselines.neural.perceptual import Perceptual
from baselines.neural.training.losses.gan import GAN_LOSSES
from baselines.neural.training.objective import Setup, StageObjective
from baselines.neural.training.recipe import AtLeastOne, Stage, Weight
from baselines.neural.training.step_guard import load_optimiser

LOSS = GAN_LOSSES["sgan"]  # non-saturating, without reference
IMAGE_CHANNELS = 3
PUBLISHED_CHANNELS = (64, 128, 256, 512)
PUBLISHED_LATENT_CHANNELS = 12
LATENT_STRIDE = 16  # pixels along a position of the latent
SLOPE = 0.2
KERNEL = 4


class PatchDiscriminator(nn.Module):
    """Logits of patches, for a latent of `latent` channels, reduced to `latent_channels`.

    `channels` are the widths of the convolutions but the last; all of them but the last one halve
    the resolution.

    >>> with torch.device("meta"):
    ...     made = PatchDiscriminator(220)
    >>> sum(parameter.numel() for parameter in made.parameters())
    2800797
    """

    def __init__(
        self,
        latent: int,
        channels: Sequence[int] = PUBLISHED_CHANNELS,
        latent_channels: int = PUBLISHED_LATENT_CHANNELS,
    ) -> None:
        super().__init__()
        self.reduce = spectral_norm(nn.Conv2d(latent, latent_channels, 3, padding=1))
        widths = (IMAGE_CHANNELS + latent_channels, *channels)
        self.strides = [2] * (len(channels) - 1) + [1]
        self.layers = nn.ModuleList(
            spectral_norm(nn.Conv2d(inputs, outputs, KERNEL, stride))
            for (inputs, outputs), stride in zip(pairwise(widths), self.strides, strict=True)
        )
        self.score = spectral_norm(nn.Conv2d(channels[-1], 1, KERNEL))

    def forward(self, images: Tensor, latents: Tensor) -> Tensor:
        """Return logits (N, 1, H / 8, W / 8) of images (N, 3, H, W) in [-1, 1].

        `latents` are (N, latent, H / 16, W / 16). The resolution is that of four `channels`.
        """
        known = leaky_relu(self.reduce(latents), SLOPE)
        known = interpolate(known, scale_factor=LATENT_STRIDE, mode="nearest")
        signal = torch.cat([images, known.to(images.dtype)], dim=1)
        for layer, stride in zip(self.layers, self.strides, strict=True):
            sides = (1, 1 if stride == 2 else 2)  # before and behind, as TensorFlow's "same"
            signal = leaky_relu(layer(pad(signal, (*sides, *sides))), SLOPE)
        logits: Tensor = self.score(pad(signal, (1, 2, 1, 2)))
        return logits


@dataclass(frozen=True, slots=True, kw_only=True)
class GanStage(Stage):
    """Stage of a network of one rate whose loss may have a GAN that sees the latent."""

    discriminator_channels: tuple[AtLeastOne, ...] = PUBLISHED_CHANNELS
    discriminator_latent_channels: AtLeastOne = PUBLISHED_LATENT_CHANNELS
    discriminator_learning_rate: Weight = 1e-4

    def __post_init__(self) -> None:
        Stage.__post_init__(self)
        if len(self.discriminator_channels) < 2:
            raise ValueError("discriminator_channels are fewer than two")

    @property
    def has_gan(self) -> bool:
        """True if a GAN is part of the loss."""
        raise NotImplementedError

    def check_network(self, rate_levels: int) -> None:
        """Raise `ValueError` for a network of several rates, or several lambdas."""
        if rate_levels != 1 or len(self.lambdas) != 1:
            raise ValueError(f"a {self.kind} stage trains a network of one rate, with one lambda")


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedGanStage(GanStage):
    """Stage whose loss has LPIPS and a GAN with one weight each."""

    lpips: Weight = 0.0
    gan: Weight = 0.0

    @property
    def has_gan(self) -> bool:
        """True if a GAN is part of the loss."""
        return self.gan > 0

    @property
    def has_lpips(self) -> bool:
        """True if LPIPS is part of the loss."""
        return self.lpips > 0


class ConditionalAdversary:
    """The discriminator of a stage with its optimiser; made with the first latents."""

    def __init__(self, setup: Setup, stage: GanStage) -> None:
        self._stage, self._setup = stage, setup
        self._network: PatchDiscriminator | None = None
        self._state: dict[str, Any] | None = None

    def generator_loss(self, images: Tensor, latents: Tensor) -> Tensor:
        """Return the non-saturating loss of each of `images` (n, 3, h, w): (n,)."""
        network = self._made(latents.shape[1])
        network.requires_grad_(False)
        logits = network(images, latents.detach())
        network.requires_grad_(True)
        return LOSS.generator_loss(None, logits)

    def update(
        self, originals: Tensor, images: Tensor, latents: Tensor, factor: float
    ) -> dict[str, Tensor]:
        """Update the discriminator by one step, averaged over processes; return its loss."""
        network, known = self._made(latents.shape[1]), latents.detach()
        for group in self._optimiser.param_groups:
            group["lr"] = self._stage.discriminator_learning_rate * factor
        self._optimiser.zero_grad()
        real, fake = network(originals, known), network(images.detach().float(), known)
        loss = LOSS.discriminator_loss(real, fake)
        loss.backward()  # type: ignore[no-untyped-call]
        mean = loss.detach().reshape(1)
        averaged = self._setup.workers.average(list(network.parameters()), mean)
        self._setup.guard.step(self._optimiser)
        return {"discriminator": averaged[0]}

    def state(self) -> dict[str, Any] | None:
        """Return weights and optimiser; None before the first step."""
        if self._network is None:
            return self._state
        return {"network": self._network.state_dict(), "optimiser": self._optimiser.state_dict()}

    def load_state(self, state: dict[str, Any] | None) -> None:
        """Restore what `state` returned."""
        self._network, self._state = None, state

    def _made(self, latent: int) -> PatchDiscriminator:
        if self._network is None:
            stage, setup = self._stage, self._setup
            widths = stage.discriminator_channels, stage.discriminator_latent_channels
            with torch.random.fork_rng():
                torch.manual_seed(setup.recipe.seed)
                network = PatchDiscriminator(latent, *widths).to(setup.device)
            rate = stage.discriminator_learning_rate
            self._optimiser = setup.guard.adam(network.parameters(), rate)
            if self._state is not None:
                network.load_state_dict(self._state["network"])
                load_optimiser(self._optimiser, self._state["optimiser"])
            self._network = network
        return self._network


class GanObjective(StageObjective):
    """Base class of objectives with LPIPS and a GAN that sees the latent, where the stage has them.

    `stage` is a `GanStage`.
    """

    _adversary: ConditionalAdversary | None

    def __init__(self, stage: Any, setup: Setup) -> None:
        super().__init__(stage, setup)
        self._perceptual = Perceptual().to(setup.device) if stage.has_lpips else None
        self._adversary = ConditionalAdversary(setup, stage) if stage.has_gan else None

    @property
    def is_realistic(self) -> bool:
        """True if LPIPS or a GAN is part of the loss."""
        return self._perceptual is not None or self._adversary is not None

    def realism(
        self,
        crops: Tensor,
        images: Tensor,
        latents: Tensor,
        factors: tuple[float, float],
        weights: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the penalty (n,) of reconstructions `images`, and its parts for the journal.

        factors: of LPIPS and of the generator's loss. weights: (n,), of crops; 1 unless given.
        """
        lpips, gan = factors
        mean = 1.0 if weights is None else weights.mean().clamp(min=1e-6)
        penalty, numbers = torch.zeros(len(crops), device=crops.device), {}
        if self._perceptual is not None:
            distance = self._perceptual(crops, images, weights)
            penalty = penalty + lpips * distance
            numbers["lpips"] = distance.mean() / mean
        if self._adversary is not None:
            losses = self._adversary.generator_loss(images, latents)
            losses = losses if weights is None else weights * losses
            penalty = penalty + gan * losses
            numbers["generator"] = losses.mean() / mean
        return penalty, numbers

    def update(
        self, crops: Tensor, images: Tensor, latents: Tensor
    ) -> Callable[[float], Mapping[str, Tensor | float]] | None:
        """Return the discriminator's update, a function of the learning rate's factor, if any."""
        adversary = self._adversary
        if adversary is None:
            return None

        def update(factor: float) -> Mapping[str, Tensor | float]:
            with self._setup.precision():
                return adversary.update(crops, images, latents, factor)

        return update
