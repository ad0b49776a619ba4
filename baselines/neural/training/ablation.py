"""A recipe with a GAN -> the runs of the paper's two ablations: what is common, what differs. Pure.

Iwai et al., "Controlling Rate, Distortion, and Realism" (WACV 2024), compare objectives of the GAN
with independent discriminators, and discriminators with the objective HRRGAN. The stages before the
last one are trained once; the variants of the last one go on from the same network.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from baselines.neural.training.recipe import DiscriminatorDesign, GanObjective, Recipe
from benchmark.errors import UnknownName, UsageError

OBJECTIVE: GanObjective = "hrrgan"  # of the paper's method, as the next one
DISCRIMINATOR: DiscriminatorDesign = "independent"
OBJECTIVES: Mapping[GanObjective, str] = MappingProxyType(
    {"sgan": "SGAN", "rgan": "RGAN", "ragan": "RaGAN", "hrrgan": "HRRGAN"}
)
DISCRIMINATORS: Mapping[DiscriminatorDesign, str] = MappingProxyType(
    {
        "shared": "shared",
        "shared-conditioned": "shared, conditioned",
        "hybrid-head": "hybrid head",
        "hybrid-head-conditioned": "hybrid head, conditioned",
        "hybrid-backbone": "hybrid backbone",
        "hybrid-backbone-conditioned": "hybrid backbone, conditioned",
        "independent": "independent",
    }
)
KINDS = ("gan", "discriminator")


class Variant(NamedTuple):
    """One curve of an ablation."""

    name: str  # of its run: objective and discriminator, so that both ablations share one
    label: str  # in figures
    recipe: Recipe  # all stages


class Ablation(NamedTuple):
    """Runs that differ in one choice."""

    common: Recipe | None  # all stages but the last one; None where there is no other
    variants: tuple[Variant, ...]


def ablation(kind: str, recipe: Recipe, only: tuple[str, ...] = ()) -> Ablation:
    """Of one of `KINDS`; `only` restricts it to some variants by their short names.

    Raises `UnknownName` for other names, `UsageError` for a recipe whose last stage has no GAN.
    """
    if kind not in KINDS:
        raise UnknownName("ablation", kind, KINDS)
    *earlier, last = recipe.stages
    if not last.gan_per_beta:
        raise UsageError(f"the last stage of {recipe.name} has no GAN: its gan_per_beta is 0")
    known: dict[str, tuple[GanObjective, DiscriminatorDesign, str]]
    if kind == "gan":
        known = {one: (one, DISCRIMINATOR, label) for one, label in OBJECTIVES.items()}
    else:
        known = {one: (OBJECTIVE, one, label) for one, label in DISCRIMINATORS.items()}
    for name in only:
        if name not in known:
            raise UnknownName(f"variant of {kind}", name, known)
    variants = []
    for name, (objective, judge, label) in known.items():
        if not only or name in only:
            changed = replace(last, objective=objective, discriminator=judge)
            whole = replace(recipe, stages=(*earlier, changed))
            variants.append(Variant(f"{objective}-{judge}", label, whole))
    common = replace(recipe, stages=tuple(earlier)) if earlier else None
    return Ablation(common, tuple(variants))
