"""Fractional bits of each activation on the entropy path, by name.

They are the number of binary digits after the point of a tensor's integers (see `grid`): many for
values that stay small, few for large ones. A checkpoint stores them as integers.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from baselines.neural.entropy.fixed.grid import OUTPUT_FRACTION
from baselines.neural.entropy.fixed.network import convolutions
from baselines.neural.entropy.latent_network import LatentNetwork

LARGEST_FRACTION = OUTPUT_FRACTION
PREFIX = "fraction."
DEFAULT_FRACTION = 7  # activations within +-63.5, for a model without calibration


def branches(model: LatentNetwork) -> dict[str, nn.Module]:
    """Return the convolution sequences of the entropy path by name: hyper.mean, ..., residual.9."""
    return model.entropy_branches()


def activation_names(model: LatentNetwork) -> list[str]:
    """Return the names of all activations: z, hidden layers (hyper.mean.0, ...), supports."""
    names = ["z"]
    for branch, modules in branches(model).items():
        hidden = len(list(convolutions(modules, branch))) - 1
        names += [f"{branch}.{i}" for i in range(hidden)]
    return [*names, *model.entropy_supports()]


def default_fractional_bits(model: LatentNetwork) -> dict[str, int]:
    """Return DEFAULT_FRACTION for every activation."""
    return dict.fromkeys(activation_names(model), DEFAULT_FRACTION)


def fractional_bit_tables(fractional_bits: Mapping[str, int]) -> dict[str, Tensor]:
    """Return fractional bits as int8 scalars for a checkpoint's tables: fraction.z, ..."""
    return {
        f"{PREFIX}{name}": torch.tensor(value, dtype=torch.int8)
        for name, value in fractional_bits.items()
    }


def fractional_bits_in(tables: Mapping[str, Tensor], model: LatentNetwork) -> dict[str, int]:
    """Return the fractional bits in a checkpoint's tables by activation.

    Raises `ValueError` unless they are exactly this model's, and within 0..LARGEST_FRACTION.
    """
    found = {
        name.removeprefix(PREFIX): int(table)
        for name, table in tables.items()
        if name.startswith(PREFIX)
    }
    wrong = sorted(set(found) ^ set(activation_names(model)))
    if wrong:
        raise ValueError(f"the fractional bits do not fit the model: {', '.join(wrong[:5])}")
    for name, fraction in found.items():
        if not 0 <= fraction <= LARGEST_FRACTION:
            raise ValueError(f"the fraction {name} is {fraction}, not 0..{LARGEST_FRACTION}")
    return found
