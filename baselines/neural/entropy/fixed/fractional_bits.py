"""Fractional bits of each activation on the entropy path (see `grid`), and their calibration."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from baselines.neural.entropy.fixed.convolution import convolutions
from baselines.neural.entropy.fixed.grid import ACTIVATION_LIMIT, OUTPUT_FRACTION
from baselines.neural.entropy.latent_network import LatentNetwork

LARGEST_FRACTION = OUTPUT_FRACTION
PREFIX = "fraction."
HEADROOM = 2.0  # other images' activations may be larger


def activation_names(model: LatentNetwork) -> list[str]:
    """Return the names of all activations: z, hidden layers (hyper.mean.0, ...), supports."""
    names = ["z"]
    for branch, modules in model.entropy_branches().items():
        hidden = len(list(convolutions(modules, branch))) - 1
        names += [f"{branch}.{i}" for i in range(hidden)]
    return [*names, *model.entropy_supports()]


def fractional_bit_tables(fractional_bits: Mapping[str, int]) -> dict[str, Tensor]:
    """Return fractional bits as int8 scalars for a checkpoint's tables: fraction.z, ..."""
    return {
        f"{PREFIX}{name}": torch.tensor(value, dtype=torch.int8)
        for name, value in fractional_bits.items()
    }


def fractional_bits_in(tables: Mapping[str, Tensor], model: LatentNetwork) -> dict[str, int]:
    """Return the fractional bits in a checkpoint's tables by activation; raises `ValueError`."""
    fractions = {
        name.removeprefix(PREFIX): int(table)
        for name, table in tables.items()
        if name.startswith(PREFIX)
    }
    wrong = sorted(set(fractions) ^ set(activation_names(model)))
    if wrong:
        raise ValueError(f"the fractional bits do not fit the model: {', '.join(wrong[:5])}")
    for name, fraction in fractions.items():
        if not 0 <= fraction <= LARGEST_FRACTION:
            raise ValueError(f"the fraction {name} is {fraction}, not 0..{LARGEST_FRACTION}")
    return fractions


@torch.no_grad()
def calibrate(model: LatentNetwork, latents: Iterable[Tensor]) -> dict[str, int]:
    """Return the fractional bits of least squared error for each of `activation_names`.

    `latents` are y, (N, M, h, w) each, of images and rates like those that will be coded. Errors
    are of rounding, and of clipping as if values were HEADROOM times as large.
    """
    sums = {name: torch.zeros(LARGEST_FRACTION + 1).double() for name in activation_names(model)}

    def add(name: str, values: Tensor) -> None:
        wide = values.detach().double()
        for fraction in range(LARGEST_FRACTION + 1):
            step = 2.0**-fraction
            cut = (wide.abs() * HEADROOM - ACTIVATION_LIMIT * step).clamp(min=0).square().sum()
            sums[name][fraction] += float(cut) + wide.numel() * step**2 / 12

    def listen(name: str, layer: nn.Module, relu: bool) -> torch.utils.hooks.RemovableHandle:
        def record(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            add(name, output.relu() if relu else output)

        return layer.register_forward_hook(record)

    hooks = [
        listen(f"{branch}.{i}", layer, relu)
        for branch, modules in model.entropy_branches().items()
        for i, (layer, relu) in enumerate(convolutions(modules, branch))
        if f"{branch}.{i}" in sums
    ]
    try:
        for latent in latents:
            model.follow(latent, add)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: int(errors.argmin()) for name, errors in sums.items()}
