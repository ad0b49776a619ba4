"""Channel-wise autoregressive context: mean and scale of each slice of the latent.

::

    mean support ──┬───────────────┬─ mean_i ── mu_i ───────┐
    slices decoded ┤               │                        ├─ code ─ y_i ─┬─ + ─> decoded slice i
    scale support ─┴─ scale_i ─ sigma_i ────────────────────┘              │  │
                                   └───────────────────────── residual_i ──┘  │
                                                                  └ .5 tanh ──┘

`code` stands for the function that turns (index, mu, sigma) into the slice's values: it quantises
and counts bits in training, and reads symbols in a decoder. Minnen, Singh, "Channel-wise
autoregressive entropy models for learned image compression" (ICIP 2020). Everything else here is
convolution, ReLU, concatenation, and .5 tanh of the residual, which is added: a decoder can do it
in integers.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from baselines.neural.blocks.layers import convolution

# (index of the slice, mean, scale), both (N, c, h, w) -> values (N, c, h, w)
CodeSlice = Callable[[int, Tensor, Tensor], Tensor]


class ContextSizes(Protocol):
    """Widths, in channels, and kernels that the context takes of a configuration."""

    @property
    def latent(self) -> int:
        """Width of y."""

    @property
    def support(self) -> int:
        """Width of each output of the hyper-decoder."""

    @property
    def slices(self) -> tuple[int, ...]:
        """Widths of the slices of y, summing to `latent`; none: no autoregressive part."""

    @property
    def support_slices(self) -> int:
        """Number of slices, the first ones, that inform later ones."""

    @property
    def context(self) -> tuple[int, int]:
        """Hidden widths of a slice's transforms."""

    @property
    def context_kernels(self) -> tuple[int, int, int]:
        """Kernels of a slice's transforms."""


def slice_transform(inputs: int, outputs: int, sizes: ContextSizes) -> nn.Sequential:
    """Return three convolutions with ReLUs between them, from `inputs` to `outputs` channels."""
    widths = (inputs, *sizes.context, outputs)
    first, second, third = (
        convolution(widths[i], widths[i + 1], kernel)
        for i, kernel in enumerate(sizes.context_kernels)
    )
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third)


class ChannelContext(nn.Module):
    """Channel-wise autoregressive means and scales, with latent residual prediction.

    The first `support_slices` decoded slices, not the latest ones, inform every later slice. With
    no slices at all, the hyper-decoder's outputs are the latent's mean and scale, coded at once.
    With `own_support`, a slice sees only its own part of the hyper-decoder's outputs, all of equal
    width, instead of the whole.
    """

    def __init__(self, sizes: ContextSizes, *, own_support: bool = False) -> None:
        super().__init__()
        self.widths = sizes.slices
        self.support_slices = sizes.support_slices
        self.part = sizes.support // len(sizes.slices) if own_support else None
        hyper = self.part or sizes.support
        known = [
            hyper + sum(sizes.slices[: min(i, sizes.support_slices)])
            for i in range(len(sizes.slices))
        ]
        pairs = list(zip(known, sizes.slices, strict=True))
        self.mean = nn.ModuleList(slice_transform(k, width, sizes) for k, width in pairs)
        self.scale = nn.ModuleList(slice_transform(k, width, sizes) for k, width in pairs)
        self.residual = nn.ModuleList(
            slice_transform(k + width, width, sizes) for k, width in pairs
        )

    def seen(self, index: int) -> slice:
        """Return the channels of the hyper-decoder's outputs that a slice sees."""
        if self.part is None:
            return slice(None)
        return slice(self.part * index, self.part * (index + 1))

    def support(self, hyper: Tensor, decoded: Sequence[Tensor]) -> Tensor:
        """Concatenate the hyper-decoder's output and the slices that inform the next one."""
        own = hyper[:, self.seen(len(decoded))]
        return torch.cat([own, *decoded[: self.support_slices]], dim=1)

    def forward(self, mean_support: Tensor, scale_support: Tensor, code: CodeSlice) -> Tensor:
        """Return the decoded latent (N, M, h, w) from two supports (N, support, h, w)."""
        if not self.widths:
            return code(0, mean_support, scale_support)
        decoded: list[Tensor] = []
        for i in range(len(self.widths)):
            for_mean = self.support(mean_support, decoded)
            for_scale = self.support(scale_support, decoded)
            values = code(i, self.mean[i](for_mean), self.scale[i](for_scale))
            correction: Tensor = self.residual[i](torch.cat([for_mean, values], dim=1))
            decoded.append(values + 0.5 * correction.tanh())
        return torch.cat(decoded, dim=1)
