"""Phases of a recipe: its stages by what they train for, so that another method can have the same.

A recipe for `ours` has stages of rate and distortion and stages of realism, some of them in
float32. The same crops, in the same order and with the same shapes of schedules, are a fair budget
for another method, whose stages are of other kinds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from baselines.neural.architecture import load_architecture
from baselines.neural.training.objective import objective_class
from baselines.neural.training.recipe import Recipe, Stage
from baselines.neural.training.run import Subject
from baselines.neural.training.session import TrainingRun
from benchmark.errors import UsageError


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
    found: dict[tuple[bool, bool], list[Stage]] = {}
    for stage in recipe.stages:
        found.setdefault((stage.kind == "realism", stage.float32), []).append(stage)
    return tuple(Phase(realism, tuple(stages)) for (realism, _), stages in found.items())


def without_realism(phases: Sequence[Phase]) -> tuple[Phase, ...]:
    """Return phases in which realism is trained for nowhere: one for each precision."""
    found: dict[bool, list[Stage]] = {}
    for phase in phases:
        found.setdefault(phase.like.float32, []).extend(phase.stages)
    return tuple(Phase(False, tuple(stages)) for stages in found.values())


def stage_of(phase: Phase, recipe: Recipe, kind: str, parts: int, rate: float, **own: Any) -> Stage:
    """Return a stage with at least one of `parts` parts of a phase's crops, and its schedule.

    kind: of the objective. rate: the learning rate of the recipe's first stage; the phase's is to
    it as in the recipe. own: further fields of the objective's stages, or others than the
    schedule's. Crops are as large as the largest of the recipe.
    """
    like, made = phase.like, objective_class(kind).stage_type
    shared: dict[str, Any] = {one.name: getattr(like, one.name) for one in fields(Stage)}
    shared |= {
        "kind": kind,
        "steps": max(1, math.ceil(phase.crops / parts / like.batch)),
        "crop_px": max(stage.crop_px for stage in recipe.stages),
        "learning_rate": rate * (like.learning_rate / recipe.stages[0].learning_rate),
        "frozen": (),
    }
    stage: Stage = made(**(shared | own))
    return stage


# Methods, in the order of training -> "module:function", as text.
GENERATIVE = {
    "dirac": "baselines.neural.diffusion.members:dirac",
    "hfd": "baselines.neural.diffusion.members:hfd",
    "pqmim": "baselines.neural.pqmim.members:pqmim",
}
LEARNING_RATE = 1e-3


class GenerativeMember(NamedTuple):
    """One network of the suite."""

    name: str  # of its folder and of its checkpoint
    architecture: str
    stages: tuple[Stage, ...]
    config: Mapping[str, Any] | None = None  # as json; None: the preset of the recipe's sizes
    initialise: Literal["random", "pca"] = "pca"


class Members(Protocol):
    """Signature of the functions that `GENERATIVE` names."""

    def __call__(
        self, recipe: Recipe, learning_rate: float, names: Sequence[str]
    ) -> Sequence[GenerativeMember]:
        """Return the members of these names, each the method's or with the method before a "-".

        The method's own name stands for its usual members. recipe: for `ours`, whose preset the
        architecture has. Raises `UsageError` for a name that no member can have.
        """
        ...


def generative_suite(
    recipe: Recipe,
    folder: Path,
    learning_rate: float | None = None,
    members: Sequence[str] = (),
) -> tuple[TrainingRun, ...]:
    """Return the runs of the suite, method by method.

    Each has a folder of its name in `folder`, and its checkpoint beside that. learning_rate:
    instead of `LEARNING_RATE`. members: names of members or methods; all methods unless given.
    Raises `UsageError` for others and for a recipe whose sizes a method lacks, `Unavailable` for
    a member whose base cannot run here.
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
            _require_sizes(recipe, method)
            module, _, attribute = target.partition(":")
            found: Members = getattr(import_module(module), attribute)
            runs += [_run(one, recipe, folder) for one in found(recipe, rate, names)]
    return tuple(runs)


def _require_sizes(recipe: Recipe, architecture: str) -> None:
    presets = load_architecture(architecture).presets
    if recipe.sizes not in presets:
        raise UsageError(
            f"the recipe {recipe.name} is for sizes {recipe.sizes!r}, of which {architecture} has "
            f"{', '.join(presets)}"
        )


def _run(member: GenerativeMember, recipe: Recipe, folder: Path) -> TrainingRun:
    changed = replace(
        recipe,
        architecture=member.architecture,
        stages=member.stages,
        initialise=member.initialise,
    )
    target = folder / f"{member.name}.safetensors"
    subject = Subject(member.architecture, member.config)
    return TrainingRun(member.name, folder / member.name, target, subject, changed)
