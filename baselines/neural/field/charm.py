"""Charm's network: transforms with GDN, a hyperprior, and slices that inform later slices.

x ─ conv/2, GDN, conv/2, GDN, conv/2, GDN, conv/2 ─ y ─ hyperprior, slices ─ y_hat ─ mirror ─> x
Minnen, Singh, "Channel-wise autoregressive entropy models for learned image compression" (ICIP
2020). Our choices differ from the authors' code (TensorFlow Compression, models/ms2020.py): GDN
divides by the root of beta + sum gamma x^2, as in CompressAI, not by beta + sum gamma |x|; a scale
network outputs the scale (at least .11), not the index of one of 64 scales.
"""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from baselines.neural.architecture import CharmSizes
from baselines.neural.blocks.layers import IMAGE_CHANNELS, gdn_analysis, gdn_synthesis
from baselines.neural.blocks.start_values import start_as_transforms
from baselines.neural.entropy.hyperprior import HyperpriorNetwork, initialise_entropy_model

GAIN = 2.5  # levels of y per unit of an orthonormal transform of [0, 1], at lambda = 1


class CharmNetwork(HyperpriorNetwork):
    """Charm's network; its transforms take images in [0, 1]."""

    uses_unit_range = True

    def __init__(self, sizes: CharmSizes) -> None:
        super().__init__()
        self.sizes = sizes
        hidden_widths = (sizes.transform,) * 3
        kernels = ((sizes.kernel, sizes.kernel),) * 4
        self.analysis = gdn_analysis(IMAGE_CHANNELS, (*hidden_widths, sizes.latent), kernels)
        up_widths = (*hidden_widths, IMAGE_CHANNELS)
        self.synthesis = gdn_synthesis(sizes.latent, up_widths, sizes.kernel)
        self.add_entropy_model(sizes)
        self.hyper_analysis[-1].register_parameter("bias", None)
        for stack in (self.hyper_synthesis.mean, self.hyper_synthesis.scale):
            stack.append(nn.ReLU())

    def initialise(self, images: Tensor, lambdas: Sequence[float]) -> None:
        """Initialise as an orthogonal transform fitted to `images` (n, 3, h, w) in [-1, 1]."""
        widths = (*(self.sizes.transform,) * 3, self.sizes.latent)
        gain = GAIN / math.sqrt(lambdas[0])
        latent_std = start_as_transforms(self.analysis, self.synthesis, widths, images, gain)
        initialise_entropy_model(self, latent_std)
