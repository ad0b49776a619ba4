"""CompressAI's network with a scale hyperprior, adapted to `Network`.

Architecture (with any widths) and training are CompressAI's: the decoder sees the latent with the
same uniform noise with which bits are counted. One network per rate. Needs CompressAI.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from baselines.neural.architecture import ZooSizes
from baselines.neural.blocks.start_values import add_transform, fit_transforms
from baselines.neural.entropy.hyperprior import CodedLatents, LatentNetwork
from benchmark.errors import UnknownName

MODEL = "bmshj2018-hyperprior"
GAIN = 2.5  # levels of y per unit of an orthonormal transform of [0, 1], at lambda = 1
INITIAL_GAMMA = 0.01  # for GDN, so small that the root of 1 + gamma x^2 is near 1
MIN_INITIAL_STD = 0.15  # minimum for a latent channel
NOISE_STD = 0.001  # standard deviation of the noise added to a transform's kernels
# CompressAI's N and M with the same work per pixel as each size of `ours` (14.6 k
# multiply-accumulates for `micro`). Neither exceeds the published 320, so `full` has no match. With
# CompressAI's M / N, 1.5 to 1.7, principal components reach only 30.9 dB on Kodak at any rate; with
# 48 and 172 they reach 35.4 dB, and those of `micro` 34.2 dB.
WIDTHS = {
    "full": (320, 320), "small": (167, 229), "mini": (84, 229), "micro": (48, 172), "tiny": (9, 14),
}  # fmt: skip


class ZooNetwork(LatentNetwork):
    """CompressAI network, `codec`, that maps images in [-1, 1] to an `Estimate`."""

    recordable = False  # since CompressAI's entropy bottleneck makes and reads a tensor each step

    def __init__(self, sizes: ZooSizes) -> None:
        super().__init__()
        if sizes.model != MODEL:
            raise ValueError(f"{sizes.model} is not {MODEL}")
        self.sizes = sizes
        from baselines.compressai.codec import prepare_import

        with prepare_import():
            from compressai.registry import MODELS
        # CompressAI's constructors mix devices on "meta"; fake tensors need no memory either.
        with ExitStack() as stack:
            if torch.get_default_device().type == "meta":
                stack.enter_context(FakeTensorMode())
                stack.enter_context(torch.device("cpu"))
            self.codec: Any = MODELS[MODEL](*sizes.widths)

    def analyse(self, images: Tensor, controls: None = None) -> Tensor:
        """Map images (N, 3, H, W) in [-1, 1], H and W multiples of 64, to y (N, M, H/16, W/16)."""
        y: Tensor = self.codec.g_a((images + 1) / 2)
        return y

    def synthesise(self, latents: Tensor, controls: None = None) -> Tensor:
        """Map decoded y to images (N, 3, H, W), about [-1, 1] and not clamped."""
        images: Tensor = self.codec.g_s(latents)
        return images * 2 - 1

    def code(self, latents: Tensor, *, noisy: bool) -> CodedLatents:
        """Return y (N, M, h, w), noisy or rounded, and the bits of y and z; see `forward`."""
        # rounded latents have no gradient
        net = self.codec
        z = net.h_a(latents.abs()).float()
        with torch.autocast(latents.device.type, enabled=False):
            z, z_likelihoods = net.entropy_bottleneck(z, training=noisy)
        scales = net.h_s(z).float()
        with torch.autocast(latents.device.type, enabled=False):
            latents, y_likelihoods = net.gaussian_conditional(latents, scales, training=noisy)
            y_bits, z_bits = (
                -likelihoods.log2().sum((1, 2, 3)) for likelihoods in (y_likelihoods, z_likelihoods)
            )
        return CodedLatents(latents, y_bits, z_bits)

    def initialise(self, images: Tensor, lambdas: Sequence[float]) -> None:
        """Initialise as an orthogonal transform that is fitted to `images`, stage by stage.

        images: (n, 3, h, w) in [-1, 1], sides multiples of 16, on the network's device.
        `lambdas[0]`, the weight of a bit per pixel against 150 MSE, sets the latent's scale.
        """
        net = self.codec
        transforms = fit_transforms((images + 1) / 2, (net.N, net.N, net.N, net.M))
        gain = GAIN / math.sqrt(lambdas[0])
        latent_std = images.new_full((net.M,), MIN_INITIAL_STD)
        latent_std[: len(transforms[-1].spread)] = transforms[-1].spread * gain
        latent_std.clamp_(min=MIN_INITIAL_STD)
        with torch.no_grad():
            for layer, transform in zip(net.g_a[::2], transforms, strict=True):
                nn.init.normal_(layer.weight[: len(transform.basis)], std=NOISE_STD)
                add_transform(layer, transform)
            for layer, transform in zip(reversed(net.g_s[::2]), transforms, strict=True):
                nn.init.normal_(layer.weight[:, : len(transform.mean)], std=NOISE_STD)
                add_transform(layer, transform)
            for layer in (*net.g_a[1::2], *net.g_s[1::2]):
                layer.beta.copy_(layer.beta_reparam.init(torch.ones_like(layer.beta)))
                gamma = INITIAL_GAMMA * torch.eye(net.N).to(images)
                layer.gamma.copy_(layer.gamma_reparam.init(gamma))
            net.g_a[6].weight *= gain
            net.g_a[6].bias *= gain
            net.g_s[0].weight /= gain
            net.h_a[0].weight /= latent_std[:, None, None]
            net.h_s[4].bias.copy_(latent_std)

    def priors(self) -> tuple[nn.Module]:  # type: ignore[override]
        """Return CompressAI's entropy bottleneck."""
        return (self.codec.entropy_bottleneck,)

    def auxiliary_loss(self) -> Tensor:
        """Return CompressAI's auxiliary loss, which trains only the quantiles."""
        loss: Tensor = self.codec.aux_loss()
        return loss

    def tables(self, images: Any = ()) -> dict[str, Tensor]:
        """Update CompressAI's tables, which are buffers of the network; return nothing else."""
        self.codec.update(force=True)
        return {}

    def coder(self, tables: Mapping[str, Tensor], device: Any = "cpu") -> Any:
        """Return CompressAI's network; the codec `compressai` calls its methods."""
        return self.codec

    def settle(self) -> None:
        """Compute the prior's quantiles, instead of using those from training."""
        self.codec.update(force=True, update_quantiles=True)

    def stored_state(self) -> dict[str, Tensor]:
        """Return CompressAI's state dict: parameters, and the tables of its coder."""
        state: dict[str, Tensor] = self.codec.state_dict(keep_vars=True)
        return state

    def load_stored_state(self, state: Mapping[str, Tensor]) -> None:
        """Load CompressAI's state dict, with tables of any size."""
        self.codec = type(self.codec).from_state_dict(dict(state))


def rate_weight(lmbda: float) -> float:
    """Convert CompressAI's lambda to the weight of a bit per pixel against 150 MSE in [0, 1].

    CompressAI minimises lambda 255^2 MSE + bpp. The function is its own inverse.
    >>> round(rate_weight(0.0067), 4)
    0.3443
    """
    return 150 / (lmbda * 255**2)


def hyperprior(sizes: str, lmbda: float) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Return dimensions with as much work as a size of `ours`, and fields of stages."""
    if sizes not in WIDTHS:
        raise UnknownName("size of ours that a hyperprior matches", sizes, WIDTHS)
    dimensions = {"model": MODEL, "lmbda": lmbda, "widths": list(WIDTHS[sizes])}
    return dimensions, {"lambdas": (rate_weight(lmbda),)}
