"""CompressAI's network with a scale hyperprior, as a network of the boundary.

The architecture is CompressAI's own, at any widths, and trained as CompressAI trains it: the
decoder sees the latent with the uniform noise that its bits are counted with. There is a network
for each rate, without controls. CompressAI is imported with the first network.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from baselines.neural.architecture import ZooSizes
from baselines.neural.blocks.start_values import add_transform, transforms_of
from baselines.neural.entropy.hyperprior import CodedLatents, LatentNetwork
from benchmark.errors import UnknownName

MODEL = "bmshj2018-hyperprior"
GAIN = 2.5  # levels of y per unit of an orthonormal transform of [0, 1], at the weight 1
GAMMA = 0.01  # of GDN at the start: the root of 1 + GAMMA x^2 is near 1
LEAST_SPREAD = 0.15  # least scale of a latent channel at the start
NOISE = 0.001  # standard deviation of what is added to the kernels of a transform
# CompressAI's N and M for the work per pixel of each size of `ours`, 14.6 k multiply-accumulates of
# `micro`; neither is above the published 320, so that `full` has no match. With the zoo's own
# M / N, 1.5 to 1.7, principal components would end at 30.9 dB on Kodak, whatever the rate; those of
# 48 and 172 reach 35.4 dB, those of `micro` 34.2 dB.
WIDTHS = {
    "full": (320, 320), "small": (167, 229), "mini": (84, 229), "micro": (48, 172), "tiny": (9, 14),
}  # fmt: skip


class ZooNetwork(LatentNetwork):
    """A CompressAI network, `codec`, that maps images in [-1, 1] to an `Estimate`.

    Raises `ValueError` for another model than `MODEL`.
    """

    recordable = False  # CompressAI's entropy bottleneck makes and reads a tensor in each step

    def __init__(self, sizes: ZooSizes) -> None:
        super().__init__()
        if sizes.model != MODEL:
            raise ValueError(f"{sizes.model} is not {MODEL}")
        self.sizes = sizes
        from baselines.compressai.codec import importable

        with importable():
            from compressai.registry import MODELS
        # CompressAI's constructors mix devices on "meta": shapes without memory, in another way.
        with ExitStack() as stack:
            if torch.get_default_device().type == "meta":
                stack.enter_context(FakeTensorMode())
                stack.enter_context(torch.device("cpu"))
            self.codec: Any = MODELS[MODEL](*sizes.widths)

    def analyse(self, images: Tensor, controls: None = None) -> Tensor:
        """Return y (N, M, H / 16, W / 16) of images (N, 3, H, W) in [-1, 1], multiples of 64."""
        y: Tensor = self.codec.g_a((images + 1) / 2)
        return y

    def synthesise(self, latents: Tensor, controls: None = None) -> Tensor:
        """Return images (N, 3, H, W), about [-1, 1] and not clamped, of y as decoded."""
        images: Tensor = self.codec.g_s(latents)
        return images * 2 - 1

    def code(self, latents: Tensor, *, noisy: bool) -> CodedLatents:
        """Return y (N, M, h, w) with noise or rounded, its bits and those of z; see `forward`.

        Rounded latents have no gradient.
        """
        net = self.codec
        hyper = net.h_a(latents.abs()).float()
        with torch.autocast(latents.device.type, enabled=False):
            hyper, z_likelihoods = net.entropy_bottleneck(hyper, training=noisy)
        scales = net.h_s(hyper).float()
        with torch.autocast(latents.device.type, enabled=False):
            latents, y_likelihoods = net.gaussian_conditional(latents, scales, training=noisy)
            y_bits, z_bits = (
                -likelihoods.log2().sum((1, 2, 3)) for likelihoods in (y_likelihoods, z_likelihoods)
            )
        return CodedLatents(latents, y_bits, z_bits)

    def initialise(self, images: Tensor, lambdas: Sequence[float]) -> None:
        """Set start values: an orthogonal transform, stage by stage, fitted to `images`.

        `images` are (n, 3, h, w) in [-1, 1], sides multiples of 16, on the network's device.
        `lambdas[0]`, of a bit per pixel beside 150 MSE, determines the latent's scale.
        """
        net = self.codec
        transforms = transforms_of((images + 1) / 2, (net.N, net.N, net.N, net.M))
        gain = GAIN / math.sqrt(lambdas[0])
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
            net.h_s[4].bias.copy_(spread)

    def priors(self) -> tuple[nn.Module]:  # type: ignore[override]
        """Return CompressAI's entropy bottleneck."""
        return (self.codec.entropy_bottleneck,)

    def auxiliary_loss(self) -> Tensor:
        """Return CompressAI's auxiliary loss; its gradient reaches the quantiles only."""
        loss: Tensor = self.codec.aux_loss()
        return loss

    def tables(self, images: Any = ()) -> dict[str, Tensor]:
        """Update CompressAI's own tables, buffers of the network; returns no others."""
        self.codec.update(force=True)
        return {}

    def coder(self, tables: Mapping[str, Tensor], device: Any = "cpu") -> Any:
        """Return CompressAI's own network: the codec `compressai` codes with its methods."""
        return self.codec

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


def rate_weight(lmbda: float) -> float:
    """Return the weight of a bit per pixel beside 150 MSE in [0, 1], from CompressAI's lambda.

    CompressAI minimises lambda 255^2 MSE + bpp. The function is its own inverse.

    >>> round(rate_weight(0.0067), 4)
    0.3443
    """
    return 150 / (lmbda * 255**2)


def hyperprior(sizes: str, lmbda: float) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Return the dimensions for the work of `sizes` of `ours`, and fields of the stages."""
    if sizes not in WIDTHS:
        raise UnknownName("size of ours with a hyperprior of its work", sizes, WIDTHS)
    dimensions = {"model": MODEL, "lmbda": lmbda, "widths": list(WIDTHS[sizes])}
    return dimensions, {"lambdas": (rate_weight(lmbda),)}
