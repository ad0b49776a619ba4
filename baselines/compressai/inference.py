"""Faster layers for CompressAI's networks, equal up to float rounding: `accelerated=1`.

- GDN works in place, on pieces that stay in the cache, with beta and gamma computed once.
- Convolutions run in channels-last order inside the transforms, not in the entropy model.
- The last transposed convolution, to three channels, is a convolution to twelve at half the size,
  whose pixels are then interleaved.
- Tables of the entropy model become Python lists once; scales find theirs by bisection.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

PIECE_PIXELS = 1024  # x 192 channels x 4 bytes: input, square and norm fit a core's 2 MB together


def accelerate(network: nn.Module) -> nn.Module:
    """Replace the slow parts of a network of CompressAI's zoo in place; return it."""
    _replace(network, "GDN", InPlaceGDN)
    _replace(network, "ConvTranspose2d", _narrow_deconvolution)
    _replace(network, "GaussianConditional", ListedGaussian)
    for name in ("g_a", "g_s"):
        setattr(network, name, ChannelsLast(getattr(network, name)))
    return network


def _replace(network: nn.Module, kind: str, make: Callable[[Any], nn.Module]) -> None:
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if type(child).__name__ == kind:
                setattr(parent, name, make(child))


class ChannelsLast(nn.Module):
    """Transform run in channels-last order, with an output in the usual order."""

    def __init__(self, transform: nn.Module) -> None:
        super().__init__()
        self.transform = transform.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, inputs: Tensor) -> Tensor:
        """Apply the transform to `inputs` (N, C, H, W)."""
        outputs: Tensor = self.transform(inputs.contiguous(memory_format=torch.channels_last))
        return outputs.contiguous()


class InPlaceGDN(nn.Module):
    """Generalised divisive normalisation, y_i = x_i / sqrt(beta_i + sum_j gamma_ij x_j^2).

    Ballé, Laparra, Simoncelli (2016); the inverse multiplies by the root. Overwrites its input,
    which in every network of the zoo is the fresh output of a convolution.
    """

    beta: Tensor  # (C,)
    gamma: Tensor  # (C, C), [j, i]

    def __init__(self, stock: Any) -> None:
        super().__init__()
        self.inverse = bool(stock.inverse)
        with torch.no_grad():
            self.register_buffer("beta", stock.beta_reparam(stock.beta).clone())
            self.register_buffer("gamma", stock.gamma_reparam(stock.gamma).t().contiguous())

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise `inputs` (N, C, H, W); channels-last ones are overwritten."""
        outputs = inputs.contiguous(memory_format=torch.channels_last)
        vectors = outputs.permute(0, 2, 3, 1).view(-1, outputs.shape[1])
        step = len(vectors) if vectors.is_cuda else PIECE_PIXELS
        scratch = torch.empty((2, min(step, len(vectors)), vectors.shape[1]), device=vectors.device)
        for piece in torch.split(vectors, step):
            squares, norms = scratch[:, : len(piece)]
            torch.mul(piece, piece, out=squares)
            torch.addmm(self.beta, squares, self.gamma, out=norms)
            piece.mul_(norms.sqrt_() if self.inverse else norms.rsqrt_())
        return outputs


class SubPixelDeconvolution(nn.Module):
    """Transposed convolution, 5 x 5 of stride 2, as a 3 x 3 convolution and interleaving.

    Output row 2m + a takes input row m + u through kernel row a + 2 - 2u, u = -1, 0, 1, where there
    is such a row; columns likewise.
    """

    def __init__(self, stock: nn.ConvTranspose2d) -> None:
        super().__init__()
        channels_in, channels_out = stock.weight.shape[:2]
        kernel = torch.zeros(channels_out, 2, 2, channels_in, 3, 3)
        taps = [(a, u, a + 2 - 2 * u) for a in (0, 1) for u in (-1, 0, 1) if a + 2 - 2 * u < 5]
        for a, u, row in taps:
            for b, v, column in taps:
                kernel[:, a, b, :, 1 + u, 1 + v] = stock.weight.detach()[:, :, row, column].t()
        bias = torch.zeros(channels_out) if stock.bias is None else stock.bias.detach()
        self.register_buffer("kernel", kernel.reshape(4 * channels_out, channels_in, 3, 3))
        self.register_buffer("bias", bias.repeat_interleave(4))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map `inputs` (N, C, H, W) to (N, C', 2H, 2W)."""
        outputs = functional.conv2d(inputs, self.kernel, self.bias, padding=1)  # type: ignore[arg-type]
        return functional.pixel_shuffle(outputs, 2)


def _narrow_deconvolution(stock: nn.ConvTranspose2d) -> nn.Module:
    shape = (stock.kernel_size, stock.stride, stock.padding, stock.output_padding, stock.groups)
    fits = shape == ((5, 5), (2, 2), (2, 2), (1, 1), 1)
    return SubPixelDeconvolution(stock) if fits and stock.out_channels <= 4 else stock


class ListTable(list[list[int]]):
    """Table of lists, with the `tolist()` that CompressAI's loops call on a tensor."""

    def tolist(self) -> list[list[int]]:
        """Return the table itself."""
        return self


class ListedGaussian(nn.Module):
    """CompressAI's Gaussian conditional with its tables as unpadded lists, made once."""

    def __init__(self, stock: Any) -> None:
        super().__init__()
        self.stock = stock
        self.quantize, self.dequantize = stock.quantize, stock.dequantize
        self._coder = stock.entropy_coder
        self.cdf_length, self.offset = stock.cdf_length, stock.offset
        self._lengths, self._offsets = self.cdf_length.tolist(), self.offset.tolist()
        rows = stock.quantized_cdf.tolist()
        self.quantized_cdf = ListTable(
            row[:length] for row, length in zip(rows, self._lengths, strict=True)
        )

    def build_indexes(self, scales: Tensor) -> Tensor:
        """Return the index of each scale: the number of table scales below it, without the last."""
        bounded = self.stock.lower_bound_scale(scales)
        return torch.bucketize(bounded, self.stock.scale_table[:-1], out_int32=True)

    def compress(self, inputs: Tensor, indexes: Tensor, means: Tensor | None = None) -> list[bytes]:
        """Return a string for each of the N latents (N, C, H, W)."""
        symbols = self.quantize(inputs, "symbols", means)
        tables = self.quantized_cdf, self._lengths, self._offsets
        return [
            self._coder.encode_with_indexes(
                symbol.flatten().tolist(), index.flatten().tolist(), *tables
            )
            for symbol, index in zip(symbols, indexes, strict=True)
        ]

    def decompress(
        self,
        strings: list[bytes],
        indexes: Tensor,
        dtype: torch.dtype = torch.float,
        means: Tensor | None = None,
    ) -> Tensor:
        """Return the latents (N, C, H, W) that `compress` rounded."""
        tables = self.quantized_cdf, self._lengths, self._offsets
        symbols = [
            self._coder.decode_with_indexes(string, index.flatten().tolist(), *tables)
            for string, index in zip(strings, indexes, strict=True)
        ]
        whole = torch.from_numpy(np.array(symbols, np.int32)).to(indexes.device)
        latents: Tensor = self.stock.dequantize(whole.reshape(indexes.shape), means, dtype)
        return latents
