"""The network of HiFiC: residual generator with channel normalisation, mean-scale hyperprior.

::

    x ─ conv7, norm, relu ─ 4 x (conv3/2, norm, relu) ─ conv3 ─ y ─ hyperprior ─ y_hat
    y_hat ─ norm, conv3, norm ─┬─ residual blocks ─ + ─ 4 x (up, norm, relu) ─ conv7 ─> x
                               └────────────────────┘

Mentzer, Toderici, Tschannen, Agustsson, "High-Fidelity Generative Image Compression" (NeurIPS
2020): one network for each rate. Our choice: generator and hyper-decoder see rounded latents in
training, with the identity as gradient of rounding; the authors' hyper-decoder sees noisy ones.
"""

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from baselines.neural.blocks.layers import ChannelNorm, convolution, upsampling
from baselines.neural.entropy.hyperprior import HyperpriorNetwork
from baselines.neural.hific.architecture import HificSizes
from baselines.neural.network import Estimate

IMAGE_CHANNELS = 3


class HificNetwork(HyperpriorNetwork):
    """The network; images are in [-1, 1] outside, in [0, 1] for the transforms."""

    in_unit_range = True
    quantised_bits: Mapping[str, int] = {"synthesis.blocks.": 7, "hyper_synthesis.": 7}

    def __init__(self, sizes: HificSizes) -> None:
        super().__init__()
        self.config = self.sizes = sizes
        self.analysis = encoder(sizes)
        self.synthesis = Generator(sizes)
        self.add_entropy_model(sizes)

    def forward(self, images: Tensor, controls: None = None, *, noisy: bool = True) -> Estimate:
        """Code and reconstruct images (N, 3, H, W) in [-1, 1]; also count rounded latents' bits."""
        y = self.analyse(images).float()
        decoded, y_bits, z_bits = rounded = self.code(y, noisy=noisy)
        if noisy:
            with torch.no_grad():
                rounded = self.code(y, noisy=False)
        bits = rounded.y_bits + rounded.z_bits
        return Estimate(self.synthesise(decoded), y_bits, z_bits, decoded, bits)


def encoder(sizes: HificSizes) -> nn.Sequential:
    """Return the layers from images (N, 3, H, W) in [0, 1] to y (N, M, H / 16, W / 16)."""
    first, last = sizes.widths[0], sizes.widths[-1]
    layers: list[nn.Module] = [convolution(IMAGE_CHANNELS, first, 7), ChannelNorm(first), nn.ReLU()]
    for inputs, outputs in pairwise(sizes.widths):
        layers += [convolution(inputs, outputs, 3, stride=2), ChannelNorm(outputs), nn.ReLU()]
    return nn.Sequential(*layers, convolution(last, sizes.latent, 3))


class ResidualBlock(nn.Module):
    """x + norm(conv3(relu(norm(conv3(x)))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            convolution(channels, channels, 3),
            ChannelNorm(channels),
            nn.ReLU(),
            convolution(channels, channels, 3),
            ChannelNorm(channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Apply the block to `features` (N, C, H, W); the shape stays the same."""
        changed: Tensor = self.layers(features)
        return features + changed


class Generator(nn.Module):
    """The decoder, from y (N, M, H / 16, W / 16) to images (N, 3, H, W), about [0, 1]."""

    def __init__(self, sizes: HificSizes) -> None:
        super().__init__()
        widths = sizes.widths[::-1]
        self.head = nn.Sequential(
            ChannelNorm(sizes.latent),
            convolution(sizes.latent, widths[0], 3),
            ChannelNorm(widths[0]),
        )
        self.blocks = nn.Sequential(
            *(ResidualBlock(widths[0]) for _ in range(sizes.residual_blocks))
        )
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [upsampling(inputs, outputs, 3), ChannelNorm(outputs), nn.ReLU()]
        self.tail = nn.Sequential(*layers, convolution(widths[-1], IMAGE_CHANNELS, 7))

    def forward(self, latents: Tensor) -> Tensor:
        """Return the images of y as decoded."""
        head = self.head(latents)
        images: Tensor = self.tail(head + self.blocks(head))
        return images
