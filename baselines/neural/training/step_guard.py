"""Leave out steps whose loss or gradient went wrong, on a GPU without waiting for it.

On a GPU, Adam's fused kernel is given the answer as a tensor, as in torch's GradScaler, and changes
nothing where it is 1. On the CPU the answer is a truth value, and no optimiser is called.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

SOAP_BETAS = (0.95, 0.99)  # the latter of the preconditioners too
STEPS_PER_BASIS = 10
LARGEST_BASIS = 256


class StepGuard:
    """Decision about one step after another, shared by all optimisers of a stage.

    An objective's own optimisers are made by `adam` and stepped by `step`.
    """

    def __init__(self) -> None:
        # On a GPU: float32 scalar, 1 where the present step is left out; None on the CPU.
        self.left_out: Tensor | None = None

    def counts(self, norm: Tensor, loss: Tensor, largest: float) -> bool:
        """Decide about a step by the norm of its gradients and its loss, scalars.

        Returns whether to call the optimisers: on a GPU always, since kernels heed `left_out`.
        """
        good = torch.isfinite(norm) & (loss <= largest)
        if good.device.type == "cpu":
            self.left_out = None
            return bool(good)
        self.left_out = (~good).float()
        return True

    def adam(self, groups: Iterable[Any], learning_rate: float) -> torch.optim.Adam:
        """Return a fused Adam; on the CPU it takes a third of the unfused one's time."""
        return torch.optim.Adam(groups, learning_rate, fused=True)

    def soap(self, groups: Iterable[Any], learning_rate: float) -> torch.optim.Optimizer:
        """Return Adam in the eigenbases of Shampoo's preconditioners (Vyas et al., 2024).

        Dimensions of more than `LARGEST_BASIS`, and vectors, keep their own basis.
        """
        from pytorch_optimizer import SOAP

        return SOAP(
            groups,
            learning_rate,
            betas=SOAP_BETAS,
            weight_decay=0.0,
            precondition_frequency=STEPS_PER_BASIS,
            max_precondition_dim=LARGEST_BASIS,
        )

    def step(self, optimiser: torch.optim.Optimizer) -> None:
        """Update the optimiser's parameters, unless the step is left out."""
        if self.left_out is not None:
            if isinstance(optimiser, torch.optim.Adam):
                optimiser.found_inf = self.left_out  # type: ignore[attr-defined]
                optimiser.grad_scale = None  # type: ignore[attr-defined]
            elif bool(self.left_out):
                return
        optimiser.step()


def load_optimiser(optimiser: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Restore an optimiser's state; Adam's may be of another kind of kernel."""
    if isinstance(optimiser, torch.optim.Adam):
        fused = optimiser.param_groups[0].get("fused")
        groups = [{**group, "fused": fused} for group in state["param_groups"]]
        state = {**state, "param_groups": groups}
    optimiser.load_state_dict(dict(state))
