"""Dimensions of networks, told from the names and shapes of their tensors. No torch."""

import re
from collections.abc import Sequence
from typing import Any

from baselines.neural.architecture import Shapes

STAGES = 4


def stages(prefix: str, shapes: Shapes) -> list[tuple[int, ...]]:
    """Return the shapes of the convolutions that change the resolution, in order.

    They are the tensors named `prefix`, a number and "weight", of four dimensions.
    """
    pattern = re.escape(prefix) + r"\.(\d+)\.weight"
    numbers = (re.fullmatch(pattern, name) for name, shape in shapes.items() if len(shape) == 4)
    found = sorted(int(number[1]) for number in numbers if number)
    if len(found) != STAGES:
        raise ValueError(f"its {prefix.partition('.')[0]} has {len(found)} stages, not {STAGES}")
    return [shapes[f"{prefix}.{number}.weight"] for number in found]


def count(pattern: str, shapes: Shapes) -> int:
    """Return how many numbers from 0 on make a name of a tensor in `pattern`."""
    number = 0
    while pattern.format(number) in shapes:
        number += 1
    return number


def residual_transforms(analysis: str, synthesis: str, shapes: Shapes) -> dict[str, Any]:
    """Return the dimensions of residual transforms by name, and of the latent between them.

    `analysis` and `synthesis` are what the names of their layers begin with.
    """
    down, up = stages(analysis, shapes), stages(synthesis, shapes)
    gates = re.compile(re.escape(analysis) + r"\.\d+\.gate\.")
    return {
        "encoder": (down[0][0], down[1][0], down[2][0]),
        "decoder": (up[0][1], up[1][1], up[2][1]),
        "latent": down[3][0],
        "blocks": count(f"{analysis}.1.{{}}.reduce.weight", shapes),
        "attention": any(gates.match(name) for name in shapes),
        "outer_kernel": down[0][2],
        "inner_kernel": down[1][2],
    }


def hyper_latent(decoder: str, shapes: Shapes) -> dict[str, Any]:
    """Return the dimensions of the hyper-transforms by name.

    `decoder` is what the names of a hyper-decoder's layers begin with.
    """
    to_z = [shapes[f"hyper_analysis.{layer}.weight"] for layer in (0, 2, 4)]
    from_z = [shapes[f"{decoder}.{layer}.weight"] for layer in (0, 2, 4)]
    return {
        "hyper_latent": to_z[2][0],
        "hyper_encoder": (to_z[0][0], to_z[1][0]),
        "hyper_decoder": (from_z[0][1], from_z[1][1]),
        "hyper_kernel": to_z[1][2],
        "support": from_z[2][0],
    }


def channel_context(
    support: int, shapes: Shapes, known: Any, *, own_support: bool = False
) -> dict[str, Any]:
    """Return the dimensions of a context over channel slices by name.

    `support` is the width of the hyper-decoder's outputs, of which a slice sees an equal part with
    `own_support`. Where several dimensions give the same tensors, those of the configuration
    `known`, unless it is None, are taken if they are among them.
    """
    slices = count("context.mean.{}.0.weight", shapes)
    transforms = [
        [shapes[f"context.mean.{place}.{layer}.weight"] for layer in (0, 2, 4)]
        for place in range(slices)
    ]
    widths = tuple(last[0] for *_, last in transforms)
    seen = support // slices if own_support and slices else support
    informed = [first[1] - seen for first, *_ in transforms]
    context, kernels = (1, 1), (1, 1, 1)
    if transforms:
        first, second, third = transforms[0]
        context, kernels = (first[0], second[0]), (first[2], second[2], third[2])
    elif known:
        context, kernels = known.context, known.context_kernels
    return {
        "slices": widths,
        "support_slices": _support_slices(widths, informed, known),
        "context": context,
        "context_kernels": kernels,
    }


def _support_slices(widths: Sequence[int], informed: Sequence[int], known: Any) -> int:
    """Return how many slices inform later ones, from the channels that inform each of them."""
    first = [known.support_slices] if known else []
    counts: list[int] = [*first, *range(len(widths) + 1)]
    for number in counts:
        if informed == [sum(widths[: min(place, number)]) for place in range(len(widths))]:
            return number
    raise ValueError(f"slices of {tuple(widths)} channels are informed by {tuple(informed)}")
