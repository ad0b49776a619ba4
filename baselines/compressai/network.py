"""CompressAI's networks with a hyperprior, as networks of the boundary.

The architectures are CompressAI's own, at any widths, and trained as CompressAI trains them: the
decoder sees the latent with the uniform noise that its bits are counted with. There is one network
for each rate, without controls. CompressAI is imported with the first network.

Their coder is CompressAI's own. It computes the entropy model's parameters in floating point: a
stream decodes on the kind of device, with the versions and number of threads that it was made with.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from baselines.compressai.config import MODELS, ZooConfig
from baselines.neural.bitstream.container import ByteReader, varint
from baselines.neural.blocks.start_values import add_transform, transforms_of
from baselines.neural.network import Estimate, Network
from benchmark.errors import CorruptStream

GAIN = 2.5  # levels of y per unit of an orthonormal transform of [0, 1], at the weight 1
GAMMA = 0.01  # of GDN at the start: the root of 1 + GAMMA x^2 is near 1
LEAST_SPREAD = 0.15  # least scale of a latent channel at the start
SPARE_BYTES = 1 << 16  # zeros behind a string, for where a damaged one leads CompressAI's decoder
NOISE = 0.001  # standard deviation of what is added to the kernels of a transform


class ZooNetwork(Network):
    """A CompressAI network, `codec`, that maps images in [-1, 1] to an `Estimate`.

    Raises `ValueError` for a model that is none of `MODELS`.
    """

    def __init__(self, config: ZooConfig) -> None:
        super().__init__()
        if config.model not in MODELS:
            raise ValueError(f"{config.model} is none of {', '.join(MODELS)}")
        self.config = config
        from baselines.compressai.weights import importable

        with importable():
            from compressai.registry import MODELS as ARCHITECTURES
        self.has_means = config.model == "mbt2018-mean"
        self.codec: Any = ARCHITECTURES[config.model](*config.widths)

    def forward(self, images: Tensor, controls: None = None, *, noisy: bool = True) -> Estimate:
        """Code and reconstruct images (N, 3, H, W) in [-1, 1], sides multiples of 64.

        Bits, in float32, and images are those of latents with uniform noise, or of rounded ones,
        which have no gradient.
        """
        net = self.codec
        latents = net.g_a((images + 1) / 2).float()
        hyper = net.h_a(latents if self.has_means else latents.abs()).float()
        with torch.autocast(images.device.type, enabled=False):
            hyper, z_likelihoods = net.entropy_bottleneck(hyper, training=noisy)
        predicted = net.h_s(hyper).float()
        scales, means = predicted.chunk(2, 1) if self.has_means else (predicted, None)
        with torch.autocast(images.device.type, enabled=False):
            latents, y_likelihoods = net.gaussian_conditional(
                latents, scales, means=means, training=noisy
            )
            y_bits, z_bits = (
                -likelihoods.log2().sum((1, 2, 3)) for likelihoods in (y_likelihoods, z_likelihoods)
            )
        return Estimate(net.g_s(latents) * 2 - 1, y_bits, z_bits, latents)

    def initialise(self, images: Tensor, weight: float) -> None:
        """Set start values: an orthogonal transform, stage by stage, fitted to `images`.

        `images` are (n, 3, h, w) in [-1, 1], sides multiples of 16, on the network's device.
        `weight`, of a bit per pixel beside 150 MSE (`rate_weight`), determines the latent's scale.
        """
        net = self.codec
        transforms = transforms_of((images + 1) / 2, (net.N, net.N, net.N, net.M))
        gain = GAIN / math.sqrt(weight)
        spread = images.new_full((net.M,), LEAST_SPREAD)
        spread[: len(transforms[-1].spread)] = transforms[-1].spread * gain
        spread.clamp_(min=LEAST_SPREAD)
        with torch.no_grad():
            for layer, transform in zip(net.g_a[::2], transforms, strict=True):
                nn.init.normal_(layer.weight[: len(transform.basis)], std=NOISE)
                add_transform(layer, transform)
            for layer, transform in zip(reversed(net.g_s[::2]), transforms, strict=True):
                nn.init.normal_(layer.weight[:, : len(transform.mean)], std=NOISE)
                add_transform(layer, transform)
            for layer in (*net.g_a[1::2], *net.g_s[1::2]):
                layer.beta.copy_(layer.beta_reparam.init(torch.ones_like(layer.beta)))
                layer.gamma.copy_(layer.gamma_reparam.init(GAMMA * torch.eye(net.N).to(images)))
            net.g_a[6].weight *= gain
            net.g_a[6].bias *= gain
            net.g_s[0].weight /= gain
            net.h_a[0].weight /= spread[:, None, None]
            net.h_s[4].bias[: net.M] = spread

    def plain(self) -> Any:
        """CompressAI's network alone; parameters are shared."""
        return self.codec

    def priors(self) -> tuple[nn.Module]:
        """Return CompressAI's entropy bottleneck."""
        return (self.codec.entropy_bottleneck,)

    def auxiliary_loss(self) -> Tensor:
        """Return CompressAI's auxiliary loss; its gradient reaches the quantiles only."""
        loss: Tensor = self.codec.aux_loss()
        return loss

    def settle(self) -> None:
        """Solve for the quantiles of the prior, instead of taking those of training."""
        self.codec.update(force=True, update_quantiles=True)

    def stored_state(self) -> dict[str, Tensor]:
        """Return CompressAI's own state dict: parameters, and the tables of its coder."""
        result: dict[str, Tensor] = self.codec.state_dict(keep_vars=True)
        return result

    def load_stored_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over a state dict of CompressAI's, tables of any size."""
        self.codec = type(self.codec).from_state_dict(dict(state))


class ZooCoder:
    """Entropy coder and transforms of one CompressAI network, whose tables are up to date."""

    stride, latent_stride, margin = 64, 16, 0

    def __init__(self, network: ZooNetwork, device: torch.device | str = "cpu") -> None:
        self._net = network.codec.to(device)
        self._has_means = network.has_means
        self.latent_channels = int(self._net.M)

    def analyse(self, images: Tensor, controls: None) -> Tensor:
        """Return y (1, M, H / 16, W / 16) of images (1, 3, H, W) in [-1, 1]."""
        latents: Tensor = self._net.g_a((images + 1) / 2)
        return latents

    def synthesise(self, latents: Tensor, controls: None) -> Tensor:
        """Return the images (1, 3, H, W), about [-1, 1], of y as decoded."""
        images: Tensor = self._net.g_s(latents) * 2 - 1
        return images

    def encode(self, latents: Tensor) -> bytes:
        """Return the bytes of y: the length of z's string as a varint, z's string, y's string."""
        bottleneck, gaussian = self._net.entropy_bottleneck, self._net.gaussian_conditional
        hyper = self._net.h_a(latents if self._has_means else latents.abs())
        (z_string,) = bottleneck.compress(hyper)
        means, indexes = self._parameters(bottleneck.decompress([z_string], hyper.shape[2:]))
        (y_string,) = gaussian.compress(latents, indexes, means=means)
        return b"".join([varint(len(z_string)), z_string, y_string])

    def decode(self, data: bytes, rows: int, columns: int) -> Tensor:
        """Return y (1, M, rows, columns) as decoded; damaged bytes may give wrong latents.

        Raises `CorruptStream` for lengths that do not add up.
        """
        reader = ByteReader(data)
        z_string = reader.take(reader.varint())
        spare = bytes(SPARE_BYTES + 15 * len(data) + 4 * rows * columns * self.latent_channels)
        try:
            hyper = self._net.entropy_bottleneck.decompress(
                [z_string + spare], (rows // 4, columns // 4)
            )
            means, indexes = self._parameters(hyper)
            latents: Tensor = self._net.gaussian_conditional.decompress(
                [reader.rest() + spare], indexes, means=means
            )
        except (RuntimeError, ValueError) as error:
            raise CorruptStream(f"CompressAI cannot decode the string: {error}") from error
        return latents

    def _parameters(self, hyper: Tensor) -> tuple[Tensor | None, Tensor]:
        predicted = self._net.h_s(hyper)
        scales, means = predicted.chunk(2, 1) if self._has_means else (predicted, None)
        return means, self._net.gaussian_conditional.build_indexes(scales)
