"""The discriminator of images and latents: patches of an image, judged with the latent beside it.

::

    latent ─ conv3, lrelu ─ 16 x larger ─┐
    image ───────────────────────────────┴ 3 x (conv4/2, lrelu) ─ conv4, lrelu ─ conv4 ─> logits

Mentzer et al., "High-Fidelity Generative Image Compression" (NeurIPS 2020), as TensorFlow
Compression's models/hific has it: every convolution is divided by its largest singular value
(Miyato et al., "Spectral normalization for generative adversarial networks", ICLR 2018).
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad
from torch.nn.utils.parametrizations import spectral_norm

IMAGE_CHANNELS = 3
PUBLISHED_CHANNELS = (64, 128, 256, 512)
PUBLISHED_LATENT_CHANNELS = 12
LATENT_STRIDE = 16  # pixels along a position of the latent
SLOPE = 0.2
KERNEL = 4


class PatchDiscriminator(nn.Module):
    """Logits of patches, for a latent of `latent` channels.

    `channels` are the widths of the convolutions but the last; all of them but the last one halve
    the resolution. `latent_channels` is what the latent is reduced to.

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

        `latents` are (N, latent, H / 16, W / 16). With more or fewer than four `channels`, the
        resolution of the logits differs.
        """
        known = nn.functional.leaky_relu(self.reduce(latents), SLOPE)
        known = interpolate(known, scale_factor=LATENT_STRIDE, mode="nearest")
        signal = torch.cat([images, known.to(images.dtype)], dim=1)
        for layer, stride in zip(self.layers, self.strides, strict=True):
            sides = (1, 1 if stride == 2 else 2)  # before and behind, as TensorFlow's "same"
            signal = nn.functional.leaky_relu(layer(pad(signal, (*sides, *sides))), SLOPE)
        logits: Tensor = self.score(pad(signal, (1, 2, 1, 2)))
        return logits
