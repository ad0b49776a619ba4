"""The runs of the paper's two ablations: of losses of the GAN, and of designs of discriminators."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from baselines.neural.crdr.discriminators import DISCRIMINATORS as DESIGNS
from baselines.neural.crdr.objective import ConditionedStage
from baselines.neural.training.gan import GAN_LOSSES
from baselines.neural.training.recipe import Recipe
from benchmark.errors import UnknownName, UsageError

OBJECTIVE, DISCRIMINATOR = "hrrgan", "independent"  # of the paper's method
OWN = f"{OBJECTIVE}-{DISCRIMINATOR}"
# Names to labels in figures, the method's own last
OBJECTIVES: Mapping[str, str] = {name: loss.label for name, loss in GAN_LOSSES.items()}
DISCRIMINATORS: Mapping[str, str] = {
    **{name: design.label for name, design in DESIGNS.items() if name != DISCRIMINATOR},
    DISCRIMINATOR: DESIGNS[DISCRIMINATOR].label,
}
KINDS = ("gan", "discriminator")


class Variant(NamedTuple):
    """A variant that an ablation trains, measures and draws as a curve."""

    name: str  # of its run: loss and design, so that both ablations share it
    label: str  # in figures
    recipe: Recipe  # all stages


class Ablation(NamedTuple):
    """Runs that differ in a choice."""

    common: Recipe | None  # all stages but the last; None without others
    variants: tuple[Variant, ...]


def ablation(kind: str, recipe: Recipe, only: tuple[str, ...] = ()) -> Ablation:
    """Return the runs of one of `KINDS`; `only` restricts it to variants by their short names.

    Raises `UnknownName`, and `UsageError` for a recipe whose last stage has no GAN.
    """
    if kind not in KINDS:
        raise UnknownName("ablation", kind, KINDS)
    *earlier, last = recipe.stages
    if not isinstance(last, ConditionedStage) or not last.has_gan:
        raise UsageError(f"the last stage of {recipe.name} has no GAN: its gan_per_beta is 0")
    known = OBJECTIVES if kind == "gan" else DISCRIMINATORS
    for name in only:
        if name not in known:
            raise UnknownName(f"variant of {kind}", name, known)
    variants = []
    for name, label in known.items():
        if not only or name in only:
            gan, design = (name, DISCRIMINATOR) if kind == "gan" else (OBJECTIVE, name)
            changed = replace(last, objective=gan, discriminator=design)
            whole = replace(recipe, stages=(*earlier, changed))
            variants.append(Variant(f"{gan}-{design}", label, whole))
    common = replace(recipe, stages=tuple(earlier)) if earlier else None
    return Ablation(common, tuple(variants))
