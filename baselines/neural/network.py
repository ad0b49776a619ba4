"""The network of a learned codec, as the trainer and the checkpoint see it."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from baselines.neural.blocks.control import Control, Level


class Estimate(NamedTuple):
    """A batch of reconstructions, and the bits that an ideal coder would take for each."""

    images: Tensor  # (N, 3, H, W), about [-1, 1], not clamped
    y_bits: Tensor  # (N,)
    z_bits: Tensor  # (N,), of the hyper-latent; zeros for a codec without it
    latents: Tensor | None = None  # as decoded, for a loss or discriminator conditioned on them
    rounded_bits: Tensor | None = None  # (N,) of all latents as rounded, for a loss that wants them


class ParameterGroup(NamedTuple):
    """Parameters that are optimised alike, in the order of `Network.parameters()`."""

    name: str  # "rest", "prior" or "quantiles"; a stage of a recipe may scale its learning rate
    parameters: tuple[nn.Parameter, ...]
    auxiliary: bool = False  # trained by `Network.auxiliary_loss` alone, with an optimiser apart


class Network(nn.Module):
    """Base class of the networks of learned codecs; a method overrides what differs.

    `config` is what `Architecture.build` was called with. `stride`, in pixels, divides the sides of
    images. `quantised_bits` are the bits of weights for which few suffice, by the beginning of the
    parameters' names; of several, the last counts.
    """

    config: Any
    stride: int = 64
    counts_rounded: bool = False  # whether `forward` is to give `Estimate.rounded_bits`
    quantised_bits: Mapping[str, int] = {}

    def forward(self, images: Tensor, controls: Any, *, noisy: bool = True) -> Estimate:
        """Code and reconstruct `images`, float32 of shape (N, 3, H, W) in [-1, 1].

        `controls` come from `controls_at`. With `noisy`, bits are of latents with noise, else
        rounded.
        """
        raise NotImplementedError

    def controls_at(self, rate: Level | Control, realism: Level | Control) -> Any:
        """Return the controls for `forward` at a rate level and a realism weight; here, None."""
        return None

    def priors(self) -> Sequence[nn.Module]:
        """Return the factorised priors, modules with the parameter `quantiles` (channels, 3)."""
        return ()

    def auxiliary_loss(self) -> Tensor:
        """Return the loss that trains the auxiliary groups, a scalar with a gradient for them."""
        losses = [prior.quantile_loss() for prior in self.priors()]  # type: ignore[operator]
        return torch.stack(losses).sum()

    def parameter_groups(self) -> tuple[ParameterGroup, ...]:
        """Return all parameters in groups, empty ones left out; quantiles are auxiliary."""
        quantiles = {prior.quantiles for prior in self.priors()}
        prior = {weight for module in self.priors() for weight in module.parameters()}
        named: dict[str, list[nn.Parameter]] = {"prior": [], "rest": [], "quantiles": []}
        for weight in self.parameters():
            name = "quantiles" if weight in quantiles else "prior" if weight in prior else "rest"
            named[name].append(weight)
        return tuple(
            ParameterGroup(name, tuple(members), name == "quantiles")
            for name, members in named.items()
            if members
        )

    def freezable(self) -> Mapping[str, Sequence[nn.Parameter]]:
        """Return the parameters of each part that a stage can freeze, by the part's name.

        A part is every module or parameter list by its attribute name. A stage at a single rate, or
        without realism, does not train "rate_control" or "realism_control".
        """
        parts: dict[str, list[nn.Parameter]] = {}
        for path, parameter in self.named_parameters():
            for name in dict.fromkeys(path.split(".")):
                parts.setdefault(name, []).append(parameter)
        return {name: members for name, members in parts.items() if not name.isdigit()}

    def further_macs_per_pixel(self) -> Mapping[str, float]:
        """Return multiply-accumulates per pixel that are not convolutions', by part."""
        return {}

    def begin(self, parts: Collection[str]) -> None:
        """Set start values of parts before the first stage that trains them, in a random start."""

    def settle(self) -> None:
        """Solve for what training only approximates, once, on a copy of the network on the CPU."""

    def stored_state(self) -> dict[str, Tensor]:
        """Return the tensors of a checkpoint's file by name: parameters, and buffers if any."""
        return self.state_dict(keep_vars=True)

    def load_stored_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over the tensors of `stored_state`, on their device."""
        self.load_state_dict(dict(state), assign=True)
