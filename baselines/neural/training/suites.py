"""Suites of networks with the crops of one recipe: phases of it, members, the suite `generative`.

The crops of a recipe for `ours`, in the same order and with schedules of the same shape, are a fair
budget for another method, whose stages are of other kinds.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from baselines.neural.architecture import imported, load_architecture
from baselines.neural.training.recipe import Recipe, Stage, objective_class
from baselines.neural.training.run import Subject
from baselines.neural.training.session import TrainingRun
from benchmark.errors import UsageError

# Methods of the suite `generative`, in the order of training -> "module:function", as text.
GENERATIVE = {
    "dirac": "baselines.neural.diffusion.objective:members",
    "hfd": "baselines.neural.diffusion.objective:members",
    "pqmim": "baselines.neural.pqmim.members:pqmim",
}
LEARNING_RATE = 1e-3


@dataclass(frozen=True, slots=True)
class Phase:
    """Consecutive stages that train for the same, in the same precision."""

    realism: bool  # with LPIPS or a GAN
    stages: tuple[Stage, ...]

    @property
    def like(self) -> Stage:
        """The first stage, whose schedule the phase has."""
        return self.stages[0]

    @property
    def crops(self) -> int:
        """Number of crops that all of the stages see."""
        return sum(stage.crops for stage in self.stages)


def phases_of(recipe: Recipe) -> tuple[Phase, ...]:
    """Return the phases of a recipe for `ours`, in the order of their first stages."""
    phases: dict[tuple[bool, bool], list[Stage]] = {}
    for stage in recipe.stages:
        phases.setdefault((stage.kind == "realism", stage.float32), []).append(stage)
    return tuple(Phase(realism, tuple(stages)) for (realism, _), stages in phases.items())


def without_realism(phases: Sequence[Phase]) -> tuple[Phase, ...]:
    """Return phases of rate and distortion alone: one for each precision."""
    merged: dict[bool, list[Stage]] = {}
    for phase in phases:
        merged.setdefault(phase.like.float32, []).extend(phase.stages)
    return tuple(Phase(False, tuple(stages)) for stages in merged.values())


def stage_of(phase: Phase, recipe: Recipe, kind: str, parts: int, rate: float, **own: Any) -> Stage:
    """Return a stage with at least one of `parts` parts of a phase's crops, and its schedule.

    kind: of the objective. rate: the learning rate of the recipe's first stage, to which the
    phase's has the recipe's ratio. own: further fields, or others than the schedule's.
    """
    like = phase.like
    shared: dict[str, Any] = {field.name: getattr(like, field.name) for field in fields(Stage)}
    shared |= {
        "kind": kind,
        "steps": max(1, math.ceil(phase.crops / parts / like.batch)),
        "crop_px": max(stage.crop_px for stage in recipe.stages),
        "learning_rate": rate * (like.learning_rate / recipe.stages[0].learning_rate),
        "frozen": (),
    }
    stage: Stage = objective_class(kind).stage_type(**(shared | own))
    return stage


class Member(NamedTuple):
    """A network of a suite."""

    name: str  # of its folder and of its checkpoint
    architecture: str
    stages: tuple[Stage, ...]
    config: Mapping[str, Any] | None = None  # as json; None: the preset of the recipe's sizes

    def run(self, recipe: Recipe, folder: Path) -> TrainingRun:
        """Return the run in a folder of the member's name, its checkpoint beside that."""
        changed = replace(recipe, architecture=self.architecture, stages=self.stages)
        target = folder / f"{self.name}.safetensors"
        subject = Subject(self.architecture, self.config)
        return TrainingRun(self.name, folder / self.name, target, subject, changed)


def require_sizes(recipe: Recipe, architecture: str) -> None:
    """Raise `UsageError` unless the architecture has a preset for the recipe's sizes."""
    presets = load_architecture(architecture).presets
    if recipe.sizes not in presets:
        raise UsageError(
            f"the recipe {recipe.name} is for sizes {recipe.sizes!r}, of which {architecture} has "
            f"{', '.join(presets)}"
        )


# (recipe for `ours`, learning rate, names) -> the members of these names; the method's own name is
# for its usual ones. Raises `UsageError` for names that no member can have.
Members = Callable[[Recipe, float, Sequence[str]], Sequence[Member]]


def generative_suite(
    recipe: Recipe, folder: Path, learning_rate: float | None = None, members: Sequence[str] = ()
) -> tuple[TrainingRun, ...]:
    """Return the runs of the suite of generative decoders, method by method.

    learning_rate: instead of `LEARNING_RATE`. members: names of members or methods, which begin
    them (`dirac-elic`); all methods unless given. Raises `UsageError` for others and for a recipe
    whose sizes a method lacks, `Unavailable` for a member whose base cannot run here.
    """
    rate = LEARNING_RATE if learning_rate is None else learning_rate
    asked = tuple(members) or tuple(GENERATIVE)
    for name in asked:
        if name.partition("-")[0] not in GENERATIVE:
            known = ", ".join(GENERATIVE)
            raise UsageError(f"the suite has no member {name}: its methods are {known}")
    runs: list[TrainingRun] = []
    for method, target in GENERATIVE.items():
        names = [name for name in asked if name.partition("-")[0] == method]
        if names:
            require_sizes(recipe, method)
            members_of: Members = imported(target)
            like = replace(recipe, initialise="pca")
            runs += [member.run(like, folder) for member in members_of(recipe, rate, names)]
    return tuple(runs)
