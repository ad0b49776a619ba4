"""Conversion of a transform to layers and functions with the same bits on every machine."""

from copy import deepcopy
from typing import TypeVar

from torch import nn

from baselines.neural.blocks.channel_attention import InterpolationChannelAttention
from baselines.neural.blocks.layers import ResidualAttention
from baselines.neural.exact.functions import sigmoid, softplus
from baselines.neural.exact.sums import ExactConvolution, ExactLinear

Transform = TypeVar("Transform", bound=nn.Module)
AS_THEY_ARE = (nn.ReLU, InterpolationChannelAttention)  # single operations, and what is set below


def exact_transform(transform: Transform) -> Transform:
    """Return a copy in float64 that computes the same bits on every machine.

    It takes float64 features. Forward passes stay those of the transform's own classes, so that
    whatever they do between the layers has to be single operations. Raises `ValueError` for a layer
    that has no exact form.
    """
    holder = nn.Sequential(deepcopy(transform).requires_grad_(False).double().eval())
    _convert(holder)
    found: Transform = holder[0]  # type: ignore[assignment]
    return found


def _convert(parent: nn.Module) -> None:
    for name, child in list(parent.named_children()):
        if isinstance(child, nn.Conv2d | nn.ConvTranspose2d):
            setattr(parent, name, ExactConvolution(child))
        elif isinstance(child, nn.Linear):
            setattr(parent, name, ExactLinear(child))
        elif not (list(child.children()) or isinstance(child, AS_THEY_ARE)):
            raise ValueError(f"{child} has no exact form")
        _convert(child)
    if isinstance(parent, ResidualAttention):
        parent.squash = sigmoid
    if isinstance(parent, InterpolationChannelAttention):
        parent.positive = softplus
