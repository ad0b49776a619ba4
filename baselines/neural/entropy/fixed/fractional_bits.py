"""A float model -> the names of its activations on the entropy path, and a fraction for each.

A fraction is the number of binary digits after the point of a tensor's integers (see `grid`): many
for values that stay small, few where they grow large. A checkpoint stores them as integers.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from baselines.neural.entropy.fixed.grid import OUTPUT_FRACTION
from baselines.neural.entropy.fixed.network import convolutions
from baselines.neural.entropy.hyperprior import HyperpriorNetwork

LARGEST_FRACTION = OUTPUT_FRACTION
PREFIX = "fraction."
DEFAULT_FRACTION = 7  # activations within +-63.5, for a model without calibration


def branches(model: HyperpriorNetwork) -> dict[str, nn.Module]:
    """Every sequence of convolutions on the entropy path, by name: hyper.mean, ..., residual.9."""
    named: dict[str, nn.Module] = {
        "hyper.mean": model.hyper_synthesis.mean,
        "hyper.scale": model.hyper_synthesis.scale,
    }
    for i in range(len(model.context.widths)):
        named[f"mean.{i}"] = model.context.mean[i]
        named[f"scale.{i}"] = model.context.scale[i]
        named[f"residual.{i}"] = model.context.residual[i]
    return named


def activation_names(model: HyperpriorNetwork) -> list[str]:
    """z, each hidden layer (hyper.mean.0, ...), and the supports, which the decoded slices join."""
    names = ["z"]
    for branch, modules in branches(model).items():
        hidden = len(list(convolutions(modules, branch))) - 1
        names += [f"{branch}.{i}" for i in range(hidden)]
    return [*names, "support.mean", "support.scale"] if model.context.widths else names


def default_fractions(model: HyperpriorNetwork) -> dict[str, int]:
    """DEFAULT_FRACTION everywhere."""
    return dict.fromkeys(activation_names(model), DEFAULT_FRACTION)


def fraction_tables(fractions: Mapping[str, int]) -> dict[str, Tensor]:
    """Fractions by activation -> int8 scalars for a checkpoint's tables: fraction.z, ..."""
    return {
        f"{PREFIX}{name}": torch.tensor(value, dtype=torch.int8)
        for name, value in fractions.items()
    }


def fractions_in(tables: Mapping[str, Tensor], model: HyperpriorNetwork) -> dict[str, int]:
    """The inverse of `fraction_tables`, out of a checkpoint's tables.

    Raises ValueError unless they are this model's, all of them, and within 0..LARGEST_FRACTION.
    """
    found = {
        name.removeprefix(PREFIX): int(table)
        for name, table in tables.items()
        if name.startswith(PREFIX)
    }
    wrong = sorted(set(found) ^ set(activation_names(model)))
    if wrong:
        raise ValueError(f"the fractions do not fit the model: {', '.join(wrong[:5])}")
    for name, fraction in found.items():
        if not 0 <= fraction <= LARGEST_FRACTION:
            raise ValueError(f"the fraction {name} is {fraction}, not 0..{LARGEST_FRACTION}")
    return found
