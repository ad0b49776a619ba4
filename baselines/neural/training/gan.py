"""GANs: four losses, discriminators conditioned on rate levels or latents, and their training.

C(x) are logits of real images, C(x_hat) of reconstructions, r is the generator's reference image,
sp = softplus, so that BCE(z, 1) = sp(-z) and BCE(z, 0) = sp(z).

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
HRRGAN, and the factors 1/2 and detached logits of all: Iwai et al., "Controlling Rate, Distortion,
and Realism" (WACV 2024). RaGAN's means are over batch and patches.
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


Losses = Callable[[Tensor, Tensor], Tensor]  # (logits of real or reference, of fake images) -> loss


class GanLoss(NamedTuple):
    """Losses of a GAN's discriminator and generator; logits are (N, 1, h, w)."""

    real_loss: Losses  # the discriminator's
    fake_loss: Losses  # the discriminator's
    patch_loss: Losses  # the generator's
    # Images with which the generator's are compared; "next_rate": the reconstruction, without
    # gradient, at the next rate level and the same beta; at the highest, the real image
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
        reference = fake_logits if reference_logits is None else reference_logits
        losses = self.patch_losses(reference, fake_logits)
        if weights is None:
            return losses.mean((1, 2, 3))
        pictures, _, height, width = losses.shape
        cells = weights[:, None, None] if weights.ndim == 1 else weights
        rows, columns = cells.shape[1:]
        cell_losses = losses.reshape(pictures, rows, height // rows, columns, width // columns)
        return (cell_losses.mean((2, 4)) * cells).mean((1, 2))


def _widen(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    # autocast may give logits of eight significant bits
    dtype = torch.promote_types(first.dtype, torch.float32)
    return first.to(dtype), second.to(dtype)


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
LATENT_STRIDE = 16  # pixels along a position of the latent
SLOPE = 0.2
KERNEL = 4


class PatchDiscriminator(nn.Module):
    """Patch discriminator that also sees the latent, reduced to `latent_channels`."""

    def __init__(
        self,
        latent: int,  # number of channels
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
        signal = torch.cat([images, condition.to(images.dtype)], dim=1)
        for layer, stride in zip(self.layers, self.strides, strict=True):
            padding = (1, 1 if stride == 2 else 2)  # before and after, like TensorFlow's "same"
            signal = leaky_relu(layer(pad(signal, (*padding, *padding))), SLOPE)
        return self.score(pad(signal, (1, 2, 1, 2)))


class DiscriminatorDesign(NamedTuple):
    """Layers that rate levels share, and where the level enters."""

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
    """Backbone and head, each shared or with a copy for each rate level."""

    # A copy without images in the batch is not run, and its parameters get no gradient.

    def __init__(self, design: DiscriminatorDesign, levels: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        half = len(channels) // 2
        self.levels, self.condition = levels, design.condition
        image = IMAGE_CHANNELS + levels * (design.condition == "image")
        features = channels[half - 1] + levels * (design.condition == "features")
        copies = {"shared": 1, "each": levels}
        self.backbones = nn.ModuleList(
            nn.Sequential(*_discriminator_stages(image, channels[:half]))
            for _ in range(copies[design.backbones])
        )
        self.heads = nn.ModuleList(
            nn.Sequential(
                *_discriminator_stages(features, channels[half:]), convolution(channels[-1], 1, 3)
            )
            for _ in range(copies[design.heads])
        )

    def forward(self, images: Tensor, levels: Tensor) -> Tensor:
        """Return logits (N, 1, H / 16, W / 16) of images (N, 3, H, W) in [-1, 1] at levels (N,)."""
        # Levels on the CPU select the copies to run; with levels on a GPU, every copy runs on all
        # images, so that nothing is read back and a step can be recorded.
        if levels.device.type != "cpu":
            return self._score_with_all(images, levels)
        numbers: list[int] = levels.tolist()
        order = sorted(range(len(numbers)), key=numbers.__getitem__)
        if order == list(range(len(numbers))):
            return self._score_sorted(images, numbers)
        rows = torch.tensor(order).to(images.device, non_blocking=True)
        return self._score_sorted(images[rows], sorted(numbers))[rows.argsort()]

    def copies(self) -> list[tuple[int | None, nn.Module]]:
        """Return the modules with separate weights, each with its level; None: all levels."""
        return [
            (level if len(copies) > 1 else None, copy)
            for copies in (self.backbones, self.heads)
            for level, copy in enumerate(copies)
        ]

    def _score_with_all(self, images: Tensor, levels: Tensor) -> Tensor:
        level_mask = levels[:, None] == torch.arange(self.levels, device=levels.device)

        def select(copies: nn.ModuleList, signal: Tensor) -> Tensor:
            result: Tensor = copies[0](signal)
            for level, copy in enumerate(list(copies)[1:], start=1):
                result = torch.where(level_mask[:, level, None, None, None], copy(signal), result)
            return result

        signal = select(self.backbones, self._append_level(images, level_mask, "image"))
        return select(self.heads, self._append_level(signal, level_mask, "features"))

    def _score_sorted(self, images: Tensor, levels: list[int]) -> Tensor:
        level_mask = one_hot(torch.tensor(levels), self.levels)
        signal = _route(self.backbones, self._append_level(images, level_mask, "image"), levels)
        return _route(self.heads, self._append_level(signal, level_mask, "features"), levels)

    def _append_level(self, signal: Tensor, level_mask: Tensor, position: str) -> Tensor:
        if self.condition != position:
            return signal
        maps = level_mask.to(signal, non_blocking=True)[:, :, None, None]
        return torch.cat([signal, maps.expand(-1, -1, *signal.shape[2:])], dim=1)


def _discriminator_stages(inputs: int, channels: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for width, next_width in pairwise((inputs, *channels)):
        layers += [convolution(width, next_width, 3), nn.LeakyReLU(SLOPE, inplace=True)]
        layers += [convolution(next_width, next_width, 3, stride=2)]
        layers += [nn.LeakyReLU(SLOPE, inplace=True)]
    return layers


def _route(copies: nn.ModuleList, signal: Tensor, levels: list[int]) -> Tensor:
    if len(copies) == 1:
        return copies[0](signal)
    pictures = Counter(levels)
    parts = torch.split(signal, list(pictures.values()))
    return torch.cat([copies[level](part) for level, part in zip(pictures, parts, strict=True)])


class Adversary:
    """A discriminator with its loss and optimisers, conditioned on rate levels or on latents.

    context: a rate per image (NumPy; in a CUDA graph, a GPU tensor), rounded to levels, or latents.
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
        # Adam also moves weights with zero gradients, but an unused copy must stay as it is: each
        # copy has its optimiser
        self._copies = [(level, copy, adam(copy.parameters(), rate)) for level, copy in copies]

    def penalty(
        self,
        images: Tensor,
        context: Any,
        references: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Return the generator's weighted loss of each image, (n,); images: (n, 3, h, w)."""
        condition = _levels(context) if self._by_level else context
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
        """Do a step and return the loss; copies without an image stay as they are."""
        optimisers = self._optimisers
        condition = _levels(context) if self._by_level else context
        for _, _, optimiser in self._copies:
            optimiser.zero_grad()
            for group in optimiser.param_groups:
                optimisers.set_rate(group, self._stage.discriminator_learning_rate * factor)
        real = self._network(originals, condition)
        fake = self._network(images.detach().float(), condition)
        loss = self.gan.discriminator_loss(real, fake)
        loss.backward()  # type: ignore[no-untyped-call]
        for level, _, optimiser in self._copies:
            is_unused = False if level is None else (condition != level).all()
            if isinstance(is_unused, Tensor) and is_unused.device.type != "cpu":
                optimisers.step(optimiser, is_unused.float())
            elif not is_unused:
                optimisers.step(optimiser)
        return {"discriminator": loss.detach()}

    def state(self) -> dict[str, Any]:
        """Return weights and optimisers."""
        optimisers = [optimiser.state_dict() for _, _, optimiser in self._copies]
        return {"network": self._network.state_dict(), "optimisers": optimisers}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self._network.load_state_dict(state["network"])
        for (_, _, optimiser), saved in zip(self._copies, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
            self._optimisers.prepare(optimiser)


def _levels(q: Any) -> Tensor:
    if isinstance(q, Tensor):
        return q.round().long()
    # on the CPU, since they select the copies to run
    return torch.from_numpy(np.rint(q).astype(np.int64))
