"""Fractional bits of each activation on the entropy path, by name.

They are the number of binary digits after the point of a tensor's integers (see `grid`): many for
values that stay small, few for large ones. A checkpoint stores them as integers.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from baselines.neural.entropy.fixed.convolution import convolutions
from baselines.neural.entropy.fixed.grid import ACTIVATION_LIMIT, OUTPUT_FRACTION
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


HEADROOM = 2.0  # other images' activations may be larger


class _Errors:
    """Sums of squared errors of rounding and clipping, by activation and fractional bits."""

    def __init__(self, names: Iterable[str]) -> None:
        self.sums = {name: torch.zeros(LARGEST_FRACTION + 1).double() for name in names}

    def add(self, name: str, values: Tensor) -> None:
        wide = values.detach().double()
        for fraction in range(LARGEST_FRACTION + 1):
            step = 2.0**-fraction
            cut = (wide.abs() * HEADROOM - ACTIVATION_LIMIT * step).clamp(min=0).square().sum()
            self.sums[name][fraction] += float(cut) + wide.numel() * step**2 / 12

    def best(self) -> dict[str, int]:
        return {name: int(sums.argmin()) for name, sums in self.sums.items()}


@torch.no_grad()
def calibrate(model: LatentNetwork, latents: Iterable[Tensor]) -> dict[str, int]:
    """Return the fractional bits of least squared error for each of `activation_names`.

    `latents` are y as the encoder gives it, (N, M, h, w) each, of images and rates like those that
    will be coded. An error is that of rounding, and of clipping as if values were HEADROOM times as
    large.
    """
    errors = _Errors(activation_names(model))
    hooks = _listen(model, errors)
    try:
        for latent in latents:
            model.follow(latent, errors.add)
    finally:
        for hook in hooks:
            hook.remove()
    return errors.best()


def _listen(model: LatentNetwork, errors: _Errors) -> list[torch.utils.hooks.RemovableHandle]:
    hooks = []
    for branch, modules in branches(model).items():
        for i, (layer, relu) in enumerate(convolutions(modules, branch)):
            name = f"{branch}.{i}"
            if name in errors.sums:
                hooks.append(layer.register_forward_hook(_recorder(name, errors, relu=relu)))
    return hooks


def _recorder(name: str, errors: _Errors, *, relu: bool):  # type: ignore[no-untyped-def]
    def record(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        errors.add(name, output.relu() if relu else output)

    return record
