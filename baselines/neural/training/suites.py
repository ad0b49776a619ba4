"""Suites of networks with the crops of a recipe for `ours`: its phases, `field`, `generative`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from baselines.neural.architecture import imported, load_architecture
from baselines.neural.training.objective import MSE_WEIGHT
from baselines.neural.training.recipe import (
    DEFAULT_ARCHITECTURE,
    Recipe,
    Stage,
    load_recipe,
    objective_class,
)
from baselines.neural.training.run import Subject
from baselines.neural.training.session import TrainingRun
from benchmark.errors import UsageError

# Methods of the suite `generative`, in the order of training -> "module:function", as text, from
# (recipe for `ours`, learning rate, names) to the members of these names; the method's own name is
# for its usual ones. It raises `UsageError` for names that no member can have.
GENERATIVE = {
    "dirac": "baselines.neural.diffusion.objective:members",
    "hfd": "baselines.neural.diffusion.objective:members",
    "pqmim": "baselines.neural.pqmim.objective:pqmim",
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


def phases_of(recipe: Recipe, *, realism: bool = True) -> tuple[Phase, ...]:
    """Return the phases of a recipe for `ours`, without realism a phase for each precision."""
    phases: dict[tuple[bool, bool], list[Stage]] = {}
    for stage in recipe.stages:
        adversarial = realism and stage.kind == "realism"
        phases.setdefault((adversarial, stage.float32), []).append(stage)
    return tuple(Phase(kind, tuple(stages)) for (kind, _), stages in phases.items())


def stage_of(phase: Phase, recipe: Recipe, kind: str, parts: int, rate: float, **own: Any) -> Stage:
    """Return a stage with a share 1 / `parts` of a phase's crops, and its schedule.

    rate: the learning rate of the recipe's first stage. own: further fields, or others.
    """
    like = phase.like
    shared: dict[str, Any] = {field.name: getattr(like, field.name) for field in fields(Stage)}
    shared |= {
        "kind": kind,
        "steps": max(1, math.ceil(sum(of.crops for of in phase.stages) / parts / like.batch)),
        "crop_px": max(stage.crop_px for stage in recipe.stages),
        "learning_rate": rate * (like.learning_rate / recipe.stages[0].learning_rate),
        "frozen": (),
    }
    return objective_class(kind).stage_type(**(shared | own))


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
    presets = load_architecture(architecture).sizes
    if recipe.sizes not in presets:
        raise UsageError(
            f"the recipe {recipe.name} is for sizes {recipe.sizes!r}, of which {architecture} has "
            f"{', '.join(presets)}"
        )


def generative_suite(
    recipe: Recipe, folder: Path, learning_rate: float | None = None, members: Sequence[str] = ()
) -> tuple[TrainingRun, ...]:
    """Return the runs of the suite of generative decoders, method by method.

    members: names of members or methods, which begin them (`dirac-elic`). Raises `UsageError`, and
    `Unavailable` for a member whose base cannot run here.
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
            like = replace(recipe, initialise="pca")
            chosen = imported(target)(recipe, rate, names)
            runs += [member.run(like, folder) for member in chosen]
    return tuple(runs)


RECIPE = "paper"  # in whose place the recipes of the methods are taken
LEVELS = 255.0**2  # MSE of values in 0..255, for one of values in [0, 1]
HIFIC_SCALE = MSE_WEIGHT / (0.00234375 * LEVELS)  # published weights of HiFiC -> those of a recipe
MULTI_REALISM_SCALE = MSE_WEIGHT / (0.01 * LEVELS)

POINTS = 4  # rates of a method with a network for each, at the first lambdas of the recipe
# The best of three for each method by 1,000 steps at a rate on held-out photographs, and not above
# what stays stable over a whole run (docs/experiments).
LEARNING_RATES = {
    "charm": 1e-3, "elic": 2e-3, "ivr": 7.5e-4, "hific": 1e-3, "multirealism": 2e-3,
}  # fmt: skip
IVR_CLIP_NORM = 5.0  # the authors'
# Rate targets of HiFiC in bpp and the weights of a bit above them: "lo", "mi", "hi".
TARGETS = ((0.14, 2.0), (0.30, 1.0), (0.45, 0.5))
# Member -> end of the name of its preset, for sizes that have a preset of that name.
OTHER_PRESETS = {"elic-4": "-wide"}
# The published weights of LPIPS and GAN, 150 MSE of values in [0, 1] beside them.
HIFIC = {"lpips": 1.0, "gan": 0.15}
MULTI_REALISM = {"lpips_per_beta": 0.983, "gan_per_beta": 0.231}


def _of_mse(weight: float, *, clipped: bool = False) -> dict[str, Any]:
    """Return fields for the loss bpp + weight MSE of values in 0..255, `clipped` at norm 1."""
    lambda_ = MSE_WEIGHT / (weight * LEVELS)
    return {"lambdas": (lambda_,), **({"clip_norm": lambda_} if clipped else {})}


# Method -> fields of its stages at each rate, the lowest first; none: as in the recipe.
RATES: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "charm": [_of_mse(weight) for weight in (0.0025, 0.005, 0.01, 0.02)],
    "elic": [_of_mse(weight, clipped=True) for weight in (0.004, 0.008, 0.016, 0.032)],
    "ivr": [{}],
    "hific": [
        {"lambdas": (weight * HIFIC_SCALE,), "target_bpp": target} for target, weight in TARGETS
    ],
    "multirealism": [
        {"lambdas": (100 * weight * MULTI_REALISM_SCALE,)}
        for weight in (0.128, 0.064, 0.032, 0.016)
    ],
}


def field_suite(
    recipe: Recipe, folder: Path, learning_rate: float | None = None, members: Sequence[str] = ()
) -> tuple[TrainingRun, ...]:
    """Return the runs of the suite, method by method, from the lowest rate to the highest.

    A network of all rates sees as many crops as `ours` does with the same recipe, a network of one
    rate as many as `ours` sees for each of its levels. With the recipe `paper`, members train as
    their papers do: by the recipes `paper-METHOD`, and at each rate with the fields of `RATES`.
    Raises `UsageError` for unknown `members` and a recipe that has no such sizes.
    """
    if recipe.architecture != DEFAULT_ARCHITECTURE:
        raise UsageError(
            f"the recipe {recipe.name} is for {recipe.architecture}: --suite field takes one for "
            "ours, and makes those of its members"
        )
    if recipe == load_recipe(RECIPE):
        if learning_rate is not None:
            raise UsageError("--learning-rate: the recipe paper has each method's: leave it out")
        planned = [
            Member(
                method if len(rates) == 1 else f"{method}-{point}",
                method,
                tuple(replace(stage, **own) for stage in load_recipe(f"{RECIPE}-{method}").stages),
            )
            for method, rates in RATES.items()
            for point, own in enumerate(rates, start=1)
        ]
    else:
        one_rate = dict.fromkeys(LEARNING_RATES, learning_rate)
        planned = _budgeted(recipe, LEARNING_RATES if learning_rate is None else one_rate)
    known = {name for member in planned for name in (member.name, member.architecture)}
    for name in members:
        if name not in known:
            raise UsageError(f"the suite has no member {name}: {', '.join(sorted(known))}")
    kept = [
        member
        for member in planned
        if not members or member.name in members or member.architecture in members
    ]
    for member in kept:
        require_sizes(recipe, member.architecture)
    return tuple(member.run(recipe, folder) for member in kept)


def _budgeted(recipe: Recipe, rates: Mapping[str, Any]) -> list[Member]:
    """Return the members with the crops of `recipe`, at a learning rate for each method."""
    phases, levels = phases_of(recipe), recipe.stages[-1].lambdas
    plain, parts = phases_of(recipe, realism=False), len(levels)
    like = next((stage for stage in recipe.stages if stage.kind == "multi_rate"), recipe.stages[-1])
    ivr = {"lambdas": like.lambdas, "clip_norm": IVR_CLIP_NORM}

    def member(
        name: str, kind: str, phases: Sequence[Phase], parts: int, own: Mapping[str, Any],
        weights: Mapping[str, float] | None = None, always: Sequence[str] = (),
    ) -> Member:  # fmt: skip
        architecture = name.partition("-")[0]
        stages = []
        for phase in phases:
            gan = adversarial_fields(phase, recipe, weights or {}, always)
            stages.append(stage_of(phase, recipe, kind, parts, rates[architecture], **own, **gan))
        method, config = load_architecture(architecture), None
        if preset := method.sizes.get(f"{recipe.sizes}{OTHER_PRESETS.get(name, '')}"):
            config = asdict(preset) if name in OTHER_PRESETS else None
        return Member(name, architecture, tuple(stages), config)

    def at(weight: float, phases: Sequence[Phase]) -> dict[str, Any]:
        balanced = any(getattr(phase.like, "balanced", False) for phase in phases)
        return {"lambdas": (weight,), "balanced": balanced}

    single = list(enumerate(levels[:POINTS], start=1))
    members = [
        member(f"{name}-{point}", "single_rate", plain, parts, at(weight, plain))
        for name in ("charm", "elic")
        for point, weight in single
    ]
    members.append(member("ivr", "ivr", plain, 1, ivr))
    for point, (target, weight) in enumerate(TARGETS, start=1):
        own = {"lambdas": (weight,), "target_bpp": target}
        members.append(member(f"hific-{point}", "hific", phases, parts, own, HIFIC, ("lpips",)))
    for point, weight in single:
        own, name = at(weight, phases), f"multirealism-{point}"
        members.append(member(name, "multirealism", phases, parts, own, MULTI_REALISM))
    return members


def adversarial_fields(
    phase: Phase, recipe: Recipe, weights: Mapping[str, float], always: Sequence[str] = ()
) -> dict[str, Any]:
    """Return weights of LPIPS, if the recipe has it, and GAN in a phase, and the GAN's widths."""
    without = not any(stage.has_lpips for stage in recipe.stages)
    own: dict[str, Any] = {}
    for name, weight in weights.items():
        counts = phase.realism or name in always
        own[name] = 0.0 if not counts or (without and name.startswith("lpips")) else weight
    if not (phase.realism and weights):
        return own
    if channels := getattr(phase.like, "discriminator_channels", None):
        own["discriminator_channels"] = channels
        own["discriminator_latent_channels"] = max(1, channels[0] // 4)
    if "lpips_per_beta" in weights:
        own["zero_beta_share"] = getattr(phase.like, "zero_beta_share", 0.0)
    return own
