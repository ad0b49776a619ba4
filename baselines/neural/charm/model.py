"""The network of Charm: transforms with GDN, a hyperprior, and slices that inform later ones.

::

    x ─ conv/2, GDN, conv/2, GDN, conv/2, GDN, conv/2 ─ y ─ hyperprior, slices ─ y_hat ─ mirror ─> x

Minnen, Singh, "Channel-wise autoregressive entropy models for learned image compression" (ICIP
2020): one network for each rate. As published, the two stacks of the hyper-decoder end in a ReLU,
since they give features, not parameters, and the hyper-encoder's last convolution has no bias.

Our choice: GDN divides by the root of beta + sum gamma x^2, as in CompressAI. In the authors' code
(TensorFlow Compression, models/ms2020.py) it has its defaults alpha = epsilon = 1: it divides by
beta + sum gamma |x|.

The scale is the transform's output itself, at least .11, as in ports to torch; the authors' code
takes it as the logarithmic index of one of 64 scales from .11 to 256, which the integer tables here
have too.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from baselines.neural.blocks.gdn import gdn_analysis, gdn_synthesis, start_as_transforms
from baselines.neural.blocks.start_values import transforms_of
from baselines.neural.charm.architecture import CharmSizes
from baselines.neural.entropy.hyperprior import LEAST_SPREAD, HyperpriorNetwork, start_entropy_model

IMAGE_CHANNELS = 3
GAIN = 2.5  # levels of y per unit of an orthonormal transform of [0, 1], at the weight 1


class CharmNetwork(HyperpriorNetwork):
    """The network; images are in [-1, 1] outside, in [0, 1] for the transforms."""

    in_unit_range = True

    def __init__(self, sizes: CharmSizes) -> None:
        super().__init__()
        self.config = self.sizes = sizes
        inside = (sizes.transform,) * 3
        kernels = ((sizes.kernel, sizes.kernel),) * 4
        self.analysis = gdn_analysis(IMAGE_CHANNELS, (*inside, sizes.latent), kernels)
        self.synthesis = gdn_synthesis(sizes.latent, (*inside, IMAGE_CHANNELS), sizes.kernel)
        self.add_entropy_model(sizes)
        self.hyper_analysis[-1].register_parameter("bias", None)
        for stack in (self.hyper_synthesis.mean, self.hyper_synthesis.scale):
            stack.append(nn.ReLU())

    def initialise(self, images: Tensor, lambdas: Sequence[float]) -> None:
        """Start as an orthogonal transform fitted to `images` (n, 3, h, w) in [-1, 1].

        Sides are multiples of 16; `lambdas`, one for each rate level, determine how coarse y is.
        """
        widths = (*(self.sizes.transform,) * 3, self.sizes.latent)
        transforms = transforms_of((images + 1) / 2, widths)
        gain = GAIN / math.sqrt(lambdas[0])
        start_as_transforms(self.analysis, self.synthesis, transforms, gain)
        spread = torch.full((self.sizes.latent,), LEAST_SPREAD)
        spread[: len(transforms[-1].spread)] = transforms[-1].spread * gain
        start_entropy_model(self, spread)
