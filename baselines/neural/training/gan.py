"""GANs: four losses, discriminators conditioned on rate levels or latents, and their training.

C(x) are the logits of real images, C(x_hat) those of reconstructions; r is the generator's
reference image; sp is softplus, so that BCE(z, 1) = sp(-z) and BCE(z, 0) = sp(z).

============  ==============================  ============================================  =====
name          discriminator: half the sum of  generator                                     r
============  ==============================  ============================================  =====
sgan          sp(-C(x)), sp(C(x_hat))         sp(-C(x_hat))                                 none
rgan          sp(C(x_hat) - C(x)), twice      sp(C(r) - C(x_hat))                           x
ragan         sp(mean C(x_hat) - C(x)),       half the sum of sp(C(r) - mean C(x_hat)) and  x
              sp(C(x_hat) - mean C(x))        sp(mean C(r) - C(x_hat))
hrrgan        as rgan                         as rgan                                       q + 1
============  ==============================  ============================================  =====

SGAN: Goodfellow et al. (2014, non-saturating); RGAN and RaGAN: Jolicoeur-Martineau (ICLR 2019);
HRRGAN, and in all losses the factors 1/2 and detached logits: Iwai et al., "Controlling Rate,
Distortion, and Realism" (WACV 2024). RaGAN's means are over batch and patches.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu, one_hot, pad, softplus
from torch.nn.utils.parametrizations import spectral_norm

from baselines.neural.blocks.layers import IMAGE_CHANNELS, convolution
from baselines.neural.training.objective import Setup

Reference = Literal["none", "real", "next_rate"]


Losses = Callable[[Tensor, Tensor], Tensor]  # (logits of real or reference, of fake) -> loss


class GanLoss(NamedTuple):
    """Losses of a GAN's discriminator and generator; logits are (N, 1, h, w)."""

    real_loss: Losses  # discriminator's loss for real images
    fake_loss: Losses  # discriminator's loss for reconstructions
    patch_loss: Losses  # generator's loss
    # Images with which reconstructions are compared. "next_rate": the reconstruction at the next
    # rate level (the real image, at the highest level) and the same beta, without a gradient
    reference: Reference

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """Return the discriminator's loss, a scalar: half the sum of the real and fake means."""
        logits = _widen(real_logits, fake_logits)
        return 0.5 * (self.real_loss(*logits).mean() + self.fake_loss(*logits).mean())

    def patch_losses(self, reference_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """Return the generator's loss of each patch (N, 1, h, w)."""
        return self.patch_loss(*_widen(reference_logits.detach(), fake_logits))

    def generator_loss(
        self, reference_logits: Tensor | None, fake_logits: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """Return each image's loss (N,); weights: (N,), or (N, a, b) with divisors of h and w."""
        if reference_logits is None:  # the loss does not use them
            reference_logits = fake_logits
        losses = self.patch_losses(reference_logits, fake_logits)
        if weights is None:
            return losses.mean((1, 2, 3))
        count, _, height, width = losses.shape
        cell_weights = weights[:, None, None] if weights.ndim == 1 else weights
        rows, columns = cell_weights.shape[1:]
        cell_losses = losses.reshape(count, rows, height // rows, columns, width // columns)
        return (cell_losses.mean((2, 4)) * cell_weights).mean((1, 2))


def _widen(real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
    # converts to float32, since logits may have only eight significant bits under autocast
    dtype = torch.promote_types(real_logits.dtype, torch.float32)
    return real_logits.to(dtype), fake_logits.to(dtype)


_RELATIVISTIC: tuple[Losses, Losses, Losses] = (
    lambda real, fake: softplus(fake.detach() - real),
    lambda real, fake: softplus(fake - real.detach()),
    lambda reference, fake: softplus(reference - fake),
)
GAN_LOSSES: Mapping[str, GanLoss] = {
    "sgan": GanLoss(
        lambda real, _fake: softplus(-real),
        lambda _real, fake: softplus(fake),
        lambda _reference, fake: softplus(-fake),
        "none",
    ),
    "rgan": GanLoss(*_RELATIVISTIC, "real"),
    "ragan": GanLoss(
        lambda real, fake: softplus(fake.detach().mean() - real),
        lambda real, fake: softplus(fake - real.detach().mean()),
        lambda r, fake: 0.5 * (softplus(r - fake.mean()) + softplus(r.mean() - fake)),
        "real",
    ),
    "hrrgan": GanLoss(*_RELATIVISTIC, "next_rate"),
}


PUBLISHED_CHANNELS = (64, 128, 256, 512)
PUBLISHED_LATENT_CHANNELS = 12
LATENT_STRIDE = 16  # pixels between positions of the latent
SLOPE = 0.2  # of leaky ReLUs below 0
KERNEL = 4  # of patch discriminators


class PatchDiscriminator(nn.Module):
    """Patch discriminator that also sees the latent, projected to `latent_channels`."""

    def __init__(
        self,
        latent: int,  # number of the latent's channels
        channels: Sequence[int] = PUBLISHED_CHANNELS,  # all layers but the last have stride 2
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
        condition = leaky_relu(self.reduce(latents), SLOPE)
        condition = interpolate(condition, scale_factor=LATENT_STRIDE, mode="nearest")
        features = torch.cat([images, condition.to(images.dtype)], dim=1)
        for layer, stride in zip(self.layers, self.strides, strict=True):
            padding = (1, 1 if stride == 2 else 2)  # before and after, like TensorFlow's "same"
            features = leaky_relu(layer(pad(features, (*padding, *padding))), SLOPE)
        return self.score(pad(features, (1, 2, 1, 2)))


class DiscriminatorDesign(NamedTuple):
    """Layers that rate levels share, and layers that see the level."""

    backbones: Literal["shared", "each"]
    heads: Literal["shared", "each"]
    condition: Literal["none", "image", "features"]


DISCRIMINATORS: Mapping[str, DiscriminatorDesign] = {
    "independent": DiscriminatorDesign("each", "each", "none"),
    "shared": DiscriminatorDesign("shared", "shared", "none"),
    "shared-conditioned": DiscriminatorDesign("shared", "shared", "image"),
    "hybrid-head": DiscriminatorDesign("shared", "each", "none"),
    "hybrid-head-conditioned": DiscriminatorDesign("shared", "each", "image"),
    "hybrid-backbone": DiscriminatorDesign("each", "shared", "none"),
    "hybrid-backbone-conditioned": DiscriminatorDesign("each", "shared", "features"),
}


class Discriminator(nn.Module):
    """Discriminator whose backbone and head are shared, or have a copy for each rate level."""

    # If a batch has no image at a copy's level, the copy is not run and gets no gradient.

    def __init__(self, design: DiscriminatorDesign, levels: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        half = len(channels) // 2
        self.levels, self.condition = levels, design.condition
        image_channels = IMAGE_CHANNELS + levels * (design.condition == "image")
        feature_channels = channels[half - 1] + levels * (design.condition == "features")
        num_copies = {"shared": 1, "each": levels}
        self.backbones = nn.ModuleList(
            nn.Sequential(*_discriminator_stages(image_channels, channels[:half]))
            for _ in range(num_copies[design.backbones])
        )
        self.heads = nn.ModuleList(
            nn.Sequential(
                *_discriminator_stages(feature_channels, channels[half:]),
                convolution(channels[-1], 1, 3),
            )
            for _ in range(num_copies[design.heads])
        )

    def forward(self, images: Tensor, levels: Tensor) -> Tensor:
        """Return logits (N, 1, H / 16, W / 16) of images (N, 3, H, W) in [-1, 1] at levels (N,)."""
        # Levels on the CPU select the copies to run. If levels are on a GPU, every copy runs on all
        # images, so that the CPU reads nothing back and a CUDA graph can capture the step.
        if levels.device.type != "cpu":
            return self._score_with_all(images, levels)
        level_list: list[int] = levels.tolist()
        order = sorted(range(len(level_list)), key=level_list.__getitem__)
        if order == list(range(len(level_list))):
            return self._score_sorted(images, level_list)
        rows = torch.tensor(order).to(images.device, non_blocking=True)
        return self._score_sorted(images[rows], sorted(level_list))[rows.argsort()]

    def copies(self) -> list[tuple[int | None, nn.Module]]:
        """Return the modules with separate weights, with their level; None for all levels."""
        return [
            (level if len(copies) > 1 else None, copy)
            for copies in (self.backbones, self.heads)
            for level, copy in enumerate(copies)
        ]

    def _score_with_all(self, images: Tensor, levels: Tensor) -> Tensor:
        level_mask = levels[:, None] == torch.arange(self.levels, device=levels.device)

        def run_all(copies: nn.ModuleList, inputs: Tensor) -> Tensor:
            outputs: Tensor = copies[0](inputs)
            for level, copy in enumerate(list(copies)[1:], start=1):
                is_level = level_mask[:, level, None, None, None]
                outputs = torch.where(is_level, copy(inputs), outputs)
            return outputs

        features = run_all(self.backbones, self._append_level(images, level_mask, "image"))
        return run_all(self.heads, self._append_level(features, level_mask, "features"))

    def _score_sorted(self, images: Tensor, levels: list[int]) -> Tensor:
        level_mask = one_hot(torch.tensor(levels), self.levels)
        features = _route(self.backbones, self._append_level(images, level_mask, "image"), levels)
        return _route(self.heads, self._append_level(features, level_mask, "features"), levels)

    def _append_level(self, inputs: Tensor, level_mask: Tensor, position: str) -> Tensor:
        if self.condition != position:
            return inputs
        maps = level_mask.to(inputs, non_blocking=True)[:, :, None, None]
        return torch.cat([inputs, maps.expand(-1, -1, *inputs.shape[2:])], dim=1)


def _discriminator_stages(inputs: int, channels: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for width, next_width in pairwise((inputs, *channels)):
        layers += [convolution(width, next_width, 3), nn.LeakyReLU(SLOPE, inplace=True)]
        layers += [convolution(next_width, next_width, 3, stride=2)]
        layers += [nn.LeakyReLU(SLOPE, inplace=True)]
    return layers


def _route(copies: nn.ModuleList, inputs: Tensor, levels: list[int]) -> Tensor:
    if len(copies) == 1:
        return copies[0](inputs)
    counts = Counter(levels)
    groups = torch.split(inputs, list(counts.values()))
    return torch.cat([copies[level](group) for level, group in zip(counts, groups, strict=True)])


class Adversary:
    """A discriminator, conditioned on rate levels or latents, with its loss and optimisers.

    context: latents, or a rate per image (NumPy; in a CUDA graph, a GPU tensor), to be rounded.
    """

    def __init__(self, stage: Any, setup: Setup, *, by_level: bool) -> None:
        self.gan = GAN_LOSSES[stage.gan_loss if by_level else "sgan"]
        self._stage, self._optimisers, self._by_level = stage, setup.optimisers, by_level
        widths = stage.discriminator_channels
        network: Discriminator | PatchDiscriminator
        with torch.random.fork_rng():
            torch.manual_seed(setup.recipe.seed)
            if by_level:
                design, count = DISCRIMINATORS[stage.discriminator], len(stage.lambdas)
                network = Discriminator(design, count, widths)
                network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            else:
                latent = setup.recipe.network().latent
                network = PatchDiscriminator(latent, widths, stage.discriminator_latent_channels)
        self._network = network.to(setup.device, non_blocking=True)
        copies = network.copies() if isinstance(network, Discriminator) else [(None, network)]
        rate, adam = stage.discriminator_learning_rate, setup.optimisers.adam
        # One optimiser for each copy, since an unused copy must not change, but Adam moves weights
        # even if gradients are zero
        self._copies = [(level, copy, adam(copy.parameters(), rate)) for level, copy in copies]

    def penalty(
        self,
        images: Tensor,
        context: Any,
        references: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Return the generator's weighted loss of each image, (n,); images: (n, 3, h, w)."""
        condition = _round_to_levels(context) if self._by_level else context
        self._network.requires_grad_(False)
        reference_logits = None
        if self.gan.reference != "none":
            with torch.no_grad():
                reference_logits = self._network(references, condition)
        logits = self._network(images, condition)
        self._network.requires_grad_(True)
        return self.gan.generator_loss(reference_logits, logits, weights)

    def update(
        self,
        originals: Tensor,
        images: Tensor,
        context: Any,
        factor: float | Tensor,
    ) -> dict[str, Tensor]:
        """Do a training step and return the loss; unused copies do not change."""
        optimisers = self._optimisers
        condition = _round_to_levels(context) if self._by_level else context
        for _, _, optimiser in self._copies:
            optimiser.zero_grad()
            for group in optimiser.param_groups:
                optimisers.set_rate(group, self._stage.discriminator_learning_rate * factor)
        real_logits = self._network(originals, condition)
        fake_logits = self._network(images.detach().float(), condition)
        loss = self.gan.discriminator_loss(real_logits, fake_logits)
        loss.backward()  # type: ignore[no-untyped-call]
        for level, _, optimiser in self._copies:
            is_unused = False if level is None else (condition != level).all()
            if isinstance(is_unused, Tensor) and is_unused.device.type != "cpu":
                optimisers.step(optimiser, is_unused.float())
            elif not is_unused:
                optimisers.step(optimiser)
        return {"discriminator": loss.detach()}

    def state(self) -> dict[str, Any]:
        """Return the states of the discriminators and their optimisers."""
        optimisers = [optimiser.state_dict() for _, _, optimiser in self._copies]
        return {"network": self._network.state_dict(), "optimisers": optimisers}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self._network.load_state_dict(state["network"])
        optimisers = [optimiser for _, _, optimiser in self._copies]
        for optimiser, optimiser_state in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(optimiser_state)
            self._optimisers.prepare(optimiser)


def _round_to_levels(q: Any) -> Tensor:
    if isinstance(q, Tensor):
        return q.round().long()
    # levels stay on the CPU, since they select the copies to run
    return torch.from_numpy(np.rint(q).astype(np.int64))
