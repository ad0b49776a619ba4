"""Sizes of a CRDR network, told from the names and shapes of its tensors. No torch."""

import re
from collections.abc import Sequence

from baselines.neural.architecture import Shapes
from baselines.neural.crdr.sizes import Sizes

# Tensors that every network of CRDR has, whatever its sizes.
LANDMARKS = (
    "analysis.layers.0.weight",
    "analysis.attentions.0.gain",
    "synthesis.attentions.0.gain",
    "synthesis.embedding.layers.0.weight",
    "hyper_analysis.0.weight",
    "hyper_synthesis.mean.0.weight",
    "prior.quantiles",
)
STAGES = 4


def sizes_from_shapes(shapes: Shapes, known: Sizes | None = None) -> Sizes:
    """Return the sizes of the network whose tensors have these names and shapes.

    Where several sizes give the same tensors, those of `known` are taken if they are among them.
    Raises `KeyError` for a tensor that is missing, `ValueError` for shapes that no sizes give.
    """
    down, up = _stages("analysis", shapes), _stages("synthesis", shapes)
    to_z = [shapes[f"hyper_analysis.{layer}.weight"] for layer in (0, 2, 4)]
    from_z = [shapes[f"hyper_synthesis.mean.{layer}.weight"] for layer in (0, 2, 4)]
    support = from_z[2][0]
    slices = _count("context.mean.{}.0.weight", shapes)
    transforms = [
        [shapes[f"context.mean.{place}.{layer}.weight"] for layer in (0, 2, 4)]
        for place in range(slices)
    ]
    widths = tuple(last[0] for *_, last in transforms)
    informed = [first[1] - support for first, *_ in transforms]
    context, kernels = (1, 1), (1, 1, 1)
    if transforms:
        first, second, third = transforms[0]
        context, kernels = (first[0], second[0]), (first[2], second[2], third[2])
    elif known:
        context, kernels = known.context, known.context_kernels
    return Sizes(
        encoder=(down[0][0], down[1][0], down[2][0]),
        decoder=(up[0][1], up[1][1], up[2][1]),
        latent=down[3][0],
        hyper_latent=to_z[2][0],
        blocks=_count("analysis.layers.1.{}.reduce.weight", shapes),
        attention=any(re.match(r"analysis\.layers\.\d+\.gate\.", name) for name in shapes),
        outer_kernel=down[0][2],
        inner_kernel=down[1][2],
        hyper_encoder=(to_z[0][0], to_z[1][0]),
        hyper_decoder=(from_z[0][1], from_z[1][1]),
        hyper_kernel=to_z[1][2],
        support=support,
        slices=widths,
        support_slices=_support_slices(widths, informed, known),
        context=context,
        context_kernels=kernels,
        condition=shapes["synthesis.embedding.layers.0.weight"][0],
        rate_levels=shapes["analysis.attentions.0.gain"][0],
    )


def _stages(transform: str, shapes: Shapes) -> list[tuple[int, ...]]:
    """Return the shapes of the convolutions that change the resolution, in order."""
    numbers = (re.fullmatch(rf"{transform}\.layers\.(\d+)\.weight", name) for name in shapes)
    found = sorted(int(number[1]) for number in numbers if number)
    if len(found) != STAGES:
        raise ValueError(f"its {transform} has {len(found)} stages, not {STAGES}")
    return [shapes[f"{transform}.layers.{number}.weight"] for number in found]


def _count(pattern: str, shapes: Shapes) -> int:
    """Return how many numbers from 0 on make a name of a tensor in `pattern`."""
    number = 0
    while pattern.format(number) in shapes:
        number += 1
    return number


def _support_slices(widths: Sequence[int], informed: Sequence[int], known: Sizes | None) -> int:
    """Return how many slices inform later ones, from the channels that inform each of them."""
    first = [known.support_slices] if known else []
    counts: list[int] = [*first, *range(len(widths) + 1)]
    for count in counts:
        if informed == [sum(widths[: min(place, count)]) for place in range(len(widths))]:
            return count
    raise ValueError(f"slices of {tuple(widths)} channels are informed by {tuple(informed)}")
