"""A lower bound whose gradient still leads values below it back up."""

import torch
from torch import Tensor


class _AtLeast(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: Tensor, bound: float) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(values)
        ctx.bound = bound
        return values.clamp(min=bound)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def]
        (values,) = ctx.saved_tensors
        return gradient * ((values >= ctx.bound) | (gradient < 0)), None


def at_least(values: Tensor, bound: float) -> Tensor:
    """Return max(values, bound), whose gradient still leads values below the bound back up."""
    bounded: Tensor = _AtLeast.apply(values, bound)  # type: ignore[no-untyped-call]
    return bounded
