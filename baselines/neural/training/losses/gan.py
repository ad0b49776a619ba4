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

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

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
