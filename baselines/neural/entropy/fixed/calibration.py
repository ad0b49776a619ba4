"""Choice of fractional bits with which the integer path follows the float model best."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from baselines.neural.entropy.fixed.fractional_bits import (
    LARGEST_FRACTION,
    activation_names,
    branches,
)
from baselines.neural.entropy.fixed.grid import ACTIVATION_LIMIT
from baselines.neural.entropy.fixed.network import convolutions
from baselines.neural.entropy.latent_network import LatentNetwork

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
