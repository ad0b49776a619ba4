"""The latent y -> z; z as decoded -> what y's mean and scale are predicted from; z's own prior.

::

    y ─ conv, relu, conv/2, relu, conv/2 ─> z ─ round ─ z_hat ─┬─ mean stack ──> mean support
       H/16        H/32          H/64                          └─ scale stack ─> scale support

Minnen, Singh, "Channel-wise autoregressive entropy models for learned image compression" (ICIP
2020). The two stacks consist of transposed convolutions, ReLUs and a last convolution.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.neural.blocks.layers import convolution, upsampling
from baselines.neural.crdr.sizes import PRIOR_FILTERS, Sizes

LEAST_LIKELIHOOD = 1e-9
TAIL_MASS = 1e-9  # outside the quantiles
INITIAL_SPREAD = 10.0  # of a channel of z: the quantiles start at -10, 0, 10


def hyper_analysis(sizes: Sizes) -> nn.Sequential:
    """y (N, M, h, w) to z (N, Z, h / 4, w / 4)."""
    first, second = sizes.hyper_encoder
    return nn.Sequential(
        convolution(sizes.latent, first, 3),
        nn.ReLU(),
        convolution(first, second, sizes.hyper_kernel, stride=2),
        nn.ReLU(),
        convolution(second, sizes.hyper_latent, sizes.hyper_kernel, stride=2),
    )


class HyperSynthesis(nn.Module):
    """z as decoded to mean and scale support."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.mean = _hyper_stack(sizes)
        self.scale = _hyper_stack(sizes)

    def forward(self, decoded: Tensor) -> tuple[Tensor, Tensor]:
        """(N, Z, h / 4, w / 4) to two (N, support, h, w)."""
        return self.mean(decoded), self.scale(decoded)


def _hyper_stack(sizes: Sizes) -> nn.Sequential:
    first, second = sizes.hyper_decoder
    return nn.Sequential(
        upsampling(sizes.hyper_latent, first, sizes.hyper_kernel),
        nn.ReLU(),
        upsampling(first, second, sizes.hyper_kernel),
        nn.ReLU(),
        convolution(second, sizes.support, 3),
    )


class FactorisedPrior(nn.Module):
    """A learned distribution for each channel: sigmoid(cumulative(x)) is its distribution function.

    Ballé et al., "Variational image compression with a scale hyperprior" (ICLR 2018), 6.1: five
    monotonic layers of widths 3, 3, 3, 3, 1. `quantiles` (Z, 3) are learned apart, through
    `quantile_loss`: below the first and above the last lies half of `TAIL_MASS` each, and the
    middle one, the median, is the value that symbol zero stands for.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = (1, *PRIOR_FILTERS, 1)
        pairs = list(pairwise(widths))
        scale = INITIAL_SPREAD ** (1 / len(pairs))
        self.matrices = nn.ParameterList(
            torch.full((channels, after, before), math.log(math.expm1(1 / scale / after)))
            for before, after in pairs
        )
        self.biases = nn.ParameterList(
            torch.empty(channels, after, 1).uniform_(-0.5, 0.5) for _, after in pairs
        )
        self.factors = nn.ParameterList(torch.zeros(channels, after, 1) for after in PRIOR_FILTERS)
        start = torch.tensor([-INITIAL_SPREAD, 0.0, INITIAL_SPREAD])
        self.quantiles = nn.Parameter(start.repeat(channels, 1))

    def medians(self) -> Tensor:
        """(Z,)."""
        return self.quantiles[:, 1]

    def cumulative(self, values: Tensor) -> Tensor:
        """Logits of the distribution function at values (Z, n): (Z, n), rising in each row."""
        return self._cumulative(values, constant=False)

    def _cumulative(self, values: Tensor, *, constant: bool) -> Tensor:
        """Without a gradient for the distribution itself where it is to be taken as constant."""
        matrices, biases, factors = (
            [one.detach() if constant else one for one in group]
            for group in (self.matrices, self.biases, self.factors)
        )
        logits = values[:, None, :]
        for i, (matrix, bias) in enumerate(zip(matrices, biases, strict=True)):
            logits = functional.softplus(matrix) @ logits + bias
            if i < len(factors):
                logits = logits + factors[i].tanh() * logits.tanh()
        return logits[:, 0, :]

    def bits(self, values: Tensor) -> Tensor:
        """Of the unit intervals around values (N, Z, h, w): (N, Z, h, w)."""
        pictures, channels, height, width = values.shape
        rows = values.transpose(0, 1).reshape(channels, -1)
        below, above = self.cumulative(rows - 0.5), self.cumulative(rows + 0.5)
        # Both ends on the side of the distribution where their difference does not cancel.
        side = -(below + above).sign().detach()
        likelihood = ((side * above).sigmoid() - (side * below).sigmoid()).abs()
        bits = -at_least(likelihood, LEAST_LIKELIHOOD).log2()
        return bits.reshape(channels, pictures, height, width).transpose(0, 1)

    def quantile_loss(self) -> Tensor:
        """How far the quantiles are off, in logits; its gradient reaches only them."""
        tail = math.log(2 / TAIL_MASS - 1)
        targets = self.quantiles.new_tensor([-tail, 0.0, tail])
        return (self._cumulative(self.quantiles, constant=True) - targets).abs().sum()


class _AtLeast(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: Tensor, bound: float) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(values)
        ctx.bound = bound
        return values.clamp(min=bound)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def]
        (values,) = ctx.saved_tensors
        return gradient * ((values >= ctx.bound) | (gradient < 0)), None


def at_least(values: Tensor, bound: float) -> Tensor:
    """max(values, bound), whose gradient still leads values below the bound back up."""
    bounded: Tensor = _AtLeast.apply(values, bound)  # type: ignore[no-untyped-call]
    return bounded
