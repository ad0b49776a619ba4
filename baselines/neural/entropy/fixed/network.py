"""Execution of a sequence of convolutions and ReLUs on integers."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from baselines.neural.entropy.fixed.convolution import IntegerConvolution, Kernel, LayerGrid
from baselines.neural.entropy.fixed.geometry import Layer
from baselines.neural.entropy.fixed.grid import ACTIVATION_LIMIT, Precision


class FixedSequence:
    """Exact integer execution of `nn.Sequential(convolution, ReLU, convolution, ...)`.

    `fractional_bits` are those of the input, then of each convolution's output. Activations are
    int16, clipped to ACTIVATION_LIMIT; the output is `output_dtype`, clipped to `output_limit`.
    Raises `ValueError` for any other module, and `BoundExceeded` (see `bounds`).
    """

    def __init__(
        self,
        modules: nn.Module,
        fractional_bits: Sequence[int],
        *,
        precision: Precision,
        kernel: Kernel,
        device: torch.device,
        name: str,
        output_limit: int = ACTIVATION_LIMIT,
        output_dtype: torch.dtype = torch.int16,
    ) -> None:
        layers = list(convolutions(modules, name))
        if len(fractional_bits) != len(layers) + 1:
            raise ValueError(
                f"{name}: {len(fractional_bits)} fractional bits for {len(layers)} convolutions"
            )
        self.layers = []
        for i, (layer, relu) in enumerate(layers):
            last = i == len(layers) - 1
            grid = LayerGrid(
                fractional_bits[i],
                fractional_bits[i + 1],
                output_limit if last else ACTIVATION_LIMIT,
                output_dtype if last else torch.int16,
            )
            self.layers.append(
                IntegerConvolution(
                    layer,
                    grid,
                    relu=relu,
                    precision=precision,
                    kernel=kernel,
                    device=device,
                    name=f"{name}.{i}",
                )
            )

    def __call__(self, activations: Tensor) -> Tensor:
        """Map int16 (N, H, W, in), within ACTIVATION_LIMIT, to (N, H', W', out)."""
        for layer in self.layers:
            activations = layer(activations)
        return activations


def convolutions(modules: nn.Module, name: str) -> Iterator[tuple[Layer, bool]]:
    """Yield each convolution and whether a ReLU follows it; raises `ValueError` for the rest."""
    found: Layer | None = None
    for module in modules.children():
        if isinstance(module, nn.ReLU) and found is not None:
            yield found, True
            found = None
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            if found is not None:
                yield found, False
            found = module
        else:
            raise ValueError(f"{name}: {module} cannot be executed in integers")
    if found is not None:
        yield found, False
