"""Networks that consist of two transforms and a hyperprior, and the coder of their latents."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from baselines.neural.bitstream.windows import LARGE
from baselines.neural.entropy.fixed.selftest import Choice
from baselines.neural.entropy.hyperprior_coder import HyperpriorCoder
from baselines.neural.entropy.latent_network import LatentNetwork
from baselines.neural.network import Estimate


class TransformNetwork(LatentNetwork):
    """Base class of networks whose two transforms take the same controls."""

    def analyse(self, images: Tensor, controls: Any) -> Tensor:
        """Return y (N, M, H / 16, W / 16) of images (N, 3, H, W) in [-1, 1], multiples of 64."""
        raise NotImplementedError

    def synthesise(self, latents: Tensor, controls: Any) -> Tensor:
        """Return images (N, 3, H, W), about [-1, 1] and not clamped, of y as decoded."""
        raise NotImplementedError

    def forward(self, images: Tensor, controls: Any, *, noisy: bool = True) -> Estimate:
        """Code and reconstruct images (N, 3, H, W) in [-1, 1]; see `LatentNetwork.code`."""
        decoded, y_bits, z_bits = self.code(self.analyse(images, controls).float(), noisy=noisy)
        return Estimate(self.synthesise(decoded, controls), y_bits, z_bits, decoded)


class TransformCoder(HyperpriorCoder):
    """Images to latents to bytes, and back, with one checkpoint; see `HyperpriorCoder`.

    `margin` is what the transforms see around a tile, in pixels: at least their reach.
    """

    def __init__(
        self,
        network: TransformNetwork,
        tables: Mapping[str, Tensor],
        device: torch.device | str = "cpu",
        choice: Choice | None = None,
        margin: int = LARGE.margin,
    ) -> None:
        self.margin = margin
        self._network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        super().__init__(network, tables, device, choice)

    def analyse(self, images: Tensor, controls: Any) -> Tensor:
        """Return y (1, M, H / 16, W / 16) of images (1, 3, H, W) in [-1, 1]."""
        seen = images.contiguous(memory_format=torch.channels_last)
        latents: Tensor = self._network.analyse(seen, controls)
        return latents

    def synthesise(self, latents: Tensor, controls: Any) -> Tensor:
        """Return the images (1, 3, H, W), about [-1, 1], of y as decoded."""
        seen = latents.contiguous(memory_format=torch.channels_last)
        images: Tensor = self._network.synthesise(seen, controls)
        return images
