"""Losses of discriminator and generator from logits, for four kinds of GAN.

C(x) are the logits of real images, C(x_hat) those of reconstructions, r the reference that a
generator is compared with, sp = softplus, so that BCE(z, 1) = sp(-z) and BCE(z, 0) = sp(z).

============  ==============================  ============================================  =====
name          discriminator: half the sum of  generator                                     r
============  ==============================  ============================================  =====
sgan          sp(-C(x)), sp(C(x_hat))         sp(-C(x_hat))                                 none
rgan          sp(C(x_hat) - C(x)), twice      sp(C(r) - C(x_hat))                           x
ragan         sp(mean C(x_hat) - C(x)),       half the sum of sp(C(r) - mean C(x_hat)) and  x
              sp(C(x_hat) - mean C(x))        sp(mean C(r) - C(x_hat))
hrrgan        that of rgan                    that of rgan                                  q + 1
============  ==============================  ============================================  =====

SGAN: Goodfellow et al. (2014, non-saturating); RGAN and RaGAN: Jolicoeur-Martineau (ICLR 2019);
HRRGAN, and the halves and detached logits of all: Iwai et al., "Controlling Rate, Distortion, and
Realism" (WACV 2024). Only the means of RaGAN run over batch and patches.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu, pad, softplus
from torch.nn.utils.parametrizations import spectral_norm

from baselines.neural.perceptual import Perceptual
from baselines.neural.training.objective import RateDistortion, Setup
from baselines.neural.training.recipe import ONE_RATE, AtLeastOne, Stage, Weight

Reference = Literal["none", "real", "next_rate"]


class GanLoss(NamedTuple):
    """Losses of a GAN's discriminator and generator, and its label in figures.

    Logits are (N, 1, h, w). `discriminator_loss` maps real and fake logits to a scalar;
    `patch_losses` maps reference and fake logits to the generator's losses. `reference` are the
    images that the generator is compared with: "next_rate" is the reconstruction, without gradient,
    at the next higher rate level and the same beta; the real image at the highest level.
    """

    label: str
    discriminator_loss: Callable[[Tensor, Tensor], Tensor]
    patch_losses: Callable[[Tensor, Tensor], Tensor]
    reference: Reference

    def generator_loss(
        self, reference_logits: Tensor | None, fake_logits: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """Return the loss of each image (N,): the mean over its patches, each times its weight.

        Weights are 1, (N,), or (N, a, b) where a and b divide h and w.
        """
        reference = fake_logits if reference_logits is None else reference_logits
        losses = self.patch_losses(reference, fake_logits)
        if weights is None:
            return losses.mean((1, 2, 3))
        pictures, _, height, width = losses.shape
        cells = weights[:, None, None] if weights.ndim == 1 else weights
        rows, columns = cells.shape[1:]
        of_cells = losses.reshape(pictures, rows, height // rows, columns, width // columns)
        return (of_cells.mean((2, 4)) * cells).mean((1, 2))


def _standard_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    real, fake = _wide(real_logits, fake_logits)
    return 0.5 * (softplus(-real).mean() + softplus(fake).mean())


def _standard_patches(reference_logits: Tensor, fake_logits: Tensor) -> Tensor:
    return softplus(-_wide(reference_logits, fake_logits)[1])


def _relativistic_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    real, fake = _wide(real_logits, fake_logits)
    of_real, of_fake = softplus(fake.detach() - real), softplus(fake - real.detach())
    return 0.5 * (of_real.mean() + of_fake.mean())


def _relativistic_patches(reference_logits: Tensor, fake_logits: Tensor) -> Tensor:
    reference, fake = _wide(reference_logits.detach(), fake_logits)
    return softplus(reference - fake)


def _average_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    real, fake = _wide(real_logits, fake_logits)
    of_real = softplus(fake.detach().mean() - real)
    of_fake = softplus(fake - real.detach().mean())
    return 0.5 * (of_real.mean() + of_fake.mean())


def _average_patches(reference_logits: Tensor, fake_logits: Tensor) -> Tensor:
    reference, fake = _wide(reference_logits.detach(), fake_logits)
    return 0.5 * (softplus(reference - fake.mean()) + softplus(reference.mean() - fake))


def _wide(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return both in float32 or wider: under autocast, logits may come with eight bits."""
    dtype = torch.promote_types(first.dtype, torch.float32)
    return first.to(dtype), second.to(dtype)


GAN_LOSSES: Mapping[str, GanLoss] = {
    "sgan": GanLoss("SGAN", _standard_discriminator, _standard_patches, "none"),
    "rgan": GanLoss("RGAN", _relativistic_discriminator, _relativistic_patches, "real"),
    "ragan": GanLoss("RaGAN", _average_discriminator, _average_patches, "real"),
    "hrrgan": GanLoss("HRRGAN", _relativistic_discriminator, _relativistic_patches, "next_rate"),
}


IMAGE_CHANNELS = 3
PUBLISHED_CHANNELS = (64, 128, 256, 512)
PUBLISHED_LATENT_CHANNELS = 12
LATENT_STRIDE = 16  # pixels along a position of the latent
SLOPE = 0.2
KERNEL = 4


class PatchDiscriminator(nn.Module):
    """Logits of patches, for a latent of `latent` channels, reduced to `latent_channels`.

    `channels` are the widths of the convolutions but the last; those but the last halve the sides.
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
        """Return logits (N, 1, H / 8, W / 8) of images (N, 3, H, W) in [-1, 1] and latents."""
        known = leaky_relu(self.reduce(latents), SLOPE)
        known = interpolate(known, scale_factor=LATENT_STRIDE, mode="nearest")
        signal = torch.cat([images, known.to(images.dtype)], dim=1)
        for layer, stride in zip(self.layers, self.strides, strict=True):
            sides = (1, 1 if stride == 2 else 2)  # before and behind, as TensorFlow's "same"
            signal = leaky_relu(layer(pad(signal, (*sides, *sides))), SLOPE)
        return self.score(pad(signal, (1, 2, 1, 2)))


@dataclass(frozen=True, slots=True, kw_only=True)
class GanStage(Stage):
    """Stage of a network of a single rate whose loss may have a GAN that sees the latent."""

    discriminator_channels: tuple[AtLeastOne, ...] = PUBLISHED_CHANNELS
    discriminator_latent_channels: AtLeastOne = PUBLISHED_LATENT_CHANNELS
    discriminator_learning_rate: Weight = 1e-4

    rates = ONE_RATE

    def __post_init__(self) -> None:
        Stage.__post_init__(self)
        if len(self.discriminator_channels) < 2:
            raise ValueError("discriminator_channels are fewer than two")


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedGanStage(GanStage):
    """Stage whose loss has LPIPS and a GAN with a weight each."""

    lpips: Weight = 0.0
    gan: Weight = 0.0


class StageAdversary:
    """A discriminator with loss and optimiser; it sees what is `given` with images."""

    _network: Any = None

    def __init__(self, gan: GanLoss, stage: Any, setup: Setup) -> None:
        self.gan, self._stage, self._setup = gan, stage, setup
        self._state: dict[str, Any] | None = None  # to be restored
        self._seen = 0  # parts of the present batch

    def _make(self, make: Callable[[], nn.Module], **layout: Any) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(self._setup.recipe.seed)
            self._network = make().to(self._setup.device, non_blocking=True, **layout)
        rate = self._stage.discriminator_learning_rate
        self._optimiser = self._setup.guard.adam(self._network.parameters(), rate)
        self.load_state(self._state)

    def _prepare(self, condition: Tensor) -> None:
        """Make the network, where it depends on what is given."""

    def penalty(
        self,
        images: Tensor,
        condition: Tensor,
        references: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Return the generator's loss of each of `images` (n, 3, h, w), weighted: (n,)."""
        self._prepare(condition)
        self._network.requires_grad_(False)
        expected = None
        if self.gan.reference != "none":
            with torch.no_grad():
                expected = self._network(references, condition)
        logits = self._network(images, condition)
        self._network.requires_grad_(True)
        return self.gan.generator_loss(expected, logits, weights)

    def train(
        self,
        originals: Tensor,
        images: Tensor,
        condition: Tensor,
        factor: float | Tensor,
        serving: Sequence[nn.Parameter] = (),
    ) -> dict[str, Tensor]:
        """Do a step with the last part of a batch, averaged over processes; return the loss.

        serving: parameters that are trained even if only other processes' parts reach them.
        """
        parts = self._setup.recipe.accumulate
        if not self._seen:
            self._optimiser.zero_grad()
        for group in self._optimiser.param_groups:
            self._setup.guard.set_rate(group, self._stage.discriminator_learning_rate * factor)
        real = self._network(originals, condition)
        fake = self._network(images.detach().float(), condition)
        loss = self.gan.discriminator_loss(real, fake)
        (loss / parts).backward()  # type: ignore[no-untyped-call]
        self._seen = (self._seen + 1) % parts
        if self._seen:
            return {"discriminator": loss.detach()}
        for parameter in serving:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        parameters = list(self._network.parameters())
        averaged = self._setup.workers.average(parameters, loss.detach().reshape(1))
        self._take_step()
        return {"discriminator": averaged[0]}

    def _take_step(self) -> None:
        self._setup.guard.step(self._optimiser)

    def state(self) -> dict[str, Any] | None:
        """Return weights and optimiser; None before the network is made."""
        if self._network is None:
            return self._state
        return {"network": self._network.state_dict(), "optimiser": self._optimiser.state_dict()}

    def load_state(self, state: dict[str, Any] | None) -> None:
        """Restore what `state` returned."""
        self._state = state
        if self._network is not None and state is not None:
            self._network.load_state_dict(state["network"])
            self._optimiser.load_state_dict(state["optimiser"])
            self._setup.guard.prepared(self._optimiser)
            self._state = None


class ConditionalAdversary(StageAdversary):
    """The discriminator that sees latents; made with the first of them."""

    def __init__(self, stage: GanStage, setup: Setup) -> None:
        super().__init__(GAN_LOSSES["sgan"], stage, setup)

    def _prepare(self, condition: Tensor) -> None:
        if self._network is None:
            widths = self._stage.discriminator_channels, self._stage.discriminator_latent_channels
            self._make(lambda: PatchDiscriminator(condition.shape[1], *widths))


class GanObjective(RateDistortion):
    """Base class of objectives with LPIPS and a GAN that sees the latent, by their `GanStage`."""

    _adversary: ConditionalAdversary | None

    def __init__(self, stage: Any, setup: Setup) -> None:
        super().__init__(stage, setup)
        self._perceptual = Perceptual().to(setup.device) if stage.has_lpips else None
        self._adversary = ConditionalAdversary(stage, setup) if stage.has_gan else None

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
            losses = self._adversary.penalty(images, latents.detach())
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
                return adversary.train(crops, images, latents.detach(), factor)

        return update
