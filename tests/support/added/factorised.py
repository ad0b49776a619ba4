"""Factorised-prior autoencoder (Ballé, Laparra, Simoncelli, ICLR 2017) without normalisation.

It is an architecture written against the public boundary alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from baselines.neural.architecture import Dimensions, Width
from baselines.neural.blocks.layers import convolution, upsampling
from baselines.neural.entropy.coder import Distributions, SymbolDecoder, SymbolEncoder, channel_rows
from baselines.neural.entropy.factorised import FactorisedPrior, add_noise, factorised_tables
from baselines.neural.network import Estimate, Network
from benchmark.codec import Pixels


@dataclass(frozen=True)
class Widths(Dimensions):
    """Channels between the image and the latent, and of the latent."""

    hidden: Width
    latent: Width


class Autoencoder(Network):
    """Two convolutions of stride 2 each way, and a factorised prior."""

    stride = 4
    coder_type = f"{__name__}:FactorisedCoder"

    def __init__(self, sizes: Widths) -> None:
        super().__init__()
        self.sizes = sizes
        hidden, latent = sizes.hidden, sizes.latent
        down = convolution(3, hidden, 5, 2), nn.ReLU(), convolution(hidden, latent, 5, 2)
        up = upsampling(latent, hidden, 5), nn.ReLU(), upsampling(hidden, 3, 5)
        self.analysis, self.synthesis = nn.Sequential(*down), nn.Sequential(*up)
        self.prior = FactorisedPrior(latent)

    def tables(self, images: Sequence[Pixels] = ()) -> dict[str, Tensor]:
        """Return the integer tables of the prior."""
        return factorised_tables(self.prior)

    def priors(self) -> Sequence[nn.Module]:
        """Return what has quantiles to learn."""
        return (self.prior,)

    def initialise(self, crops: Tensor, lambdas: Sequence[float]) -> None:
        """Make latents about four steps wide, whatever the photographs are."""
        with torch.no_grad():
            self.analysis[-1].weight *= 4 / self.analysis(crops).std()

    def forward(self, images: Tensor, controls: Any, *, noisy: bool = True) -> Estimate:
        """Return the images and bits of a step of training."""
        latents = self.analysis(images)
        rounded = latents + (self.prior.rounded(latents) - latents).detach()
        bits = self.prior.bits(add_noise(latents) if noisy else rounded).sum((1, 2, 3))
        rounded_bits = None
        if self.counts_rounded:
            with torch.no_grad():
                rounded_bits = self.prior.bits(rounded).sum((1, 2, 3))
        images = self.synthesis(rounded)
        return Estimate(images, bits, torch.zeros_like(bits), rounded, rounded_bits)


class FactorisedCoder:
    """The latents as one piece of symbols, each with the distribution of its channel."""

    stride = latent_stride = 4
    margin = 16

    def __init__(
        self, network: Autoencoder, tables: Mapping[str, Tensor], device: torch.device
    ) -> None:
        self.network, self.latent_channels = network.to(device), network.sizes.latent
        self.rows = Distributions.read(tables, "z_cdf")
        self.medians = network.prior.medians().detach()[:, None, None]

    def analyse(self, images: Tensor, controls: Any) -> Tensor:
        """Return the latents of images."""
        latents: Tensor = self.network.analysis(images)
        return latents

    def synthesise(self, latents: Tensor, controls: Any) -> Tensor:
        """Return the images of latents."""
        images: Tensor = self.network.synthesis(latents)
        return images

    def encode(self, latents: Tensor) -> bytes:
        """Return the bytes of latents."""
        symbols = (latents - self.medians).round()[0].int().numpy()
        encoder = SymbolEncoder()
        encoder.add(symbols, self.rows, channel_rows(symbols.shape))
        return encoder.finish()

    def decode(self, data: bytes, rows: int, columns: int) -> Tensor:
        """Return the latents of bytes; raises `CorruptStream`."""
        decoder = SymbolDecoder(data)
        symbols = decoder.take(self.rows, channel_rows((self.latent_channels, rows, columns)))
        decoder.finish()
        return torch.from_numpy(symbols)[None] + self.medians
