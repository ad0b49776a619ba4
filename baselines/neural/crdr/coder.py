"""The coder of CRDR: the hyperprior's, with analysis and synthesis around it."""

from collections.abc import Mapping
from copy import copy

import torch
from torch import Tensor

from baselines.neural.bitstream.windows import LARGE
from baselines.neural.crdr.exact import exact_synthesis
from baselines.neural.crdr.model import Controls, CRDRNetwork
from baselines.neural.crdr.transforms import Synthesis
from baselines.neural.entropy.fixed.selftest import Choice
from baselines.neural.entropy.hyperprior_coder import HyperpriorCoder


class CRDRCoder(HyperpriorCoder):
    """Images to latents to bytes, and back, with one checkpoint; see `HyperpriorCoder`."""

    margin = LARGE.margin

    def __init__(
        self,
        network: CRDRNetwork,
        tables: Mapping[str, Tensor],
        device: torch.device | str = "cpu",
        choice: Choice | None = None,
    ) -> None:
        self.network = network
        self._exact: Synthesis | None = None
        for transform in (network.analysis, network.synthesis):
            # A quarter of the time less.
            transform.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        super().__init__(network, tables, device, choice)

    def analyse(self, images: Tensor, controls: Controls) -> Tensor:
        """Return y (1, M, H / 16, W / 16) of images (1, 3, H, W) in [-1, 1]."""
        return self.network.analyse(_channels_last(images), controls.rate)

    def synthesise(self, latents: Tensor, controls: Controls) -> Tensor:
        """Return the images (1, 3, H, W), about [-1, 1], of y as decoded; float64 if exact."""
        if self._exact is not None:
            levels = self.network.synthesis_controls(latents, controls.rate, controls.realism)
            images: Tensor = self._exact(latents.double(), *levels)
            return images
        return self.network.synthesise(_channels_last(latents), controls.rate, controls.realism)

    def exactly(self) -> "CRDRCoder":
        """Return the same coder, whose images have the same bits on every machine."""
        other = copy(self)
        other._exact = exact_synthesis(self.network.synthesis)
        return other


def _channels_last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last)
