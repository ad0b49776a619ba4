"""Phases of a recipe: its stages by what they train for, so that another method can have the same.

A recipe for `ours` has stages of rate and distortion and stages of realism, some of them in
float32. The same crops, in the same order and with the same shapes of schedules, are a fair budget
for another method, whose stages are of other kinds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from baselines.neural.training.objective import objective_class
from baselines.neural.training.recipe import Recipe, Stage


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
