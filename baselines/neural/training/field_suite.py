"""The suite `field` with each paper's own steps, batches, schedules and weights, not one budget.

The recipes `paper-charm`, `paper-elic`, `paper-ivr`, `paper-hific` and `paper-multirealism` have
the hyper-parameters of a method at one of its rates, and say what was not found and is our choice.
Here are the fields that differ between the rates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from baselines.neural.architecture import load_architecture
from baselines.neural.training.generative_suite import Phase, phases_of, stage_of, without_realism
from baselines.neural.training.losses.rate_distortion import MSE_WEIGHT
from baselines.neural.training.recipe import DEFAULT_ARCHITECTURE, Recipe, Stage, load_recipe
from baselines.neural.training.run import Subject
from baselines.neural.training.session import TrainingRun
from benchmark.errors import UsageError

RECIPE = "paper"  # in whose place the recipes of the methods are taken
LEVELS = 255.0**2  # MSE of values in 0..255, for one of values in [0, 1]
HIFIC_SCALE = MSE_WEIGHT / (0.00234375 * LEVELS)  # published weights of HiFiC -> those of a recipe
MULTI_REALISM_SCALE = MSE_WEIGHT / (0.01 * LEVELS)


class Member(NamedTuple):
    """One network of the suite."""

    name: str  # of its folder and of its checkpoint
    architecture: str
    stages: tuple[Stage, ...]


def _of_mse(weight: float, *, clipped: bool = False) -> dict[str, Any]:
    """Fields for the loss bpp + weight MSE of values in 0..255, its gradient clipped at 1 if so."""
    lambda_ = MSE_WEIGHT / (weight * LEVELS)
    return {"lambdas": (lambda_,), **({"clip_norm": lambda_} if clipped else {})}


# Method -> fields of its stages at each rate, the lowest first; none: as in the recipe.
RATES: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "charm": [_of_mse(one) for one in (0.0025, 0.005, 0.01, 0.02)],
    "elic": [_of_mse(one, clipped=True) for one in (0.004, 0.008, 0.016, 0.032)],
    "ivr": [{}],
    "hific": [
        {"lambdas": (weight * HIFIC_SCALE,), "target_bpp": target}
        for target, weight in ((0.14, 2.0), (0.30, 1.0), (0.45, 0.5))
    ],
    "multirealism": [
        {"lambdas": (100 * weight * MULTI_REALISM_SCALE,)}
        for weight in (0.128, 0.064, 0.032, 0.016)
    ],
}


def paper_members() -> list[Member]:
    """Return the members of the suite, method by method, from the lowest rate to the highest."""
    return [
        Member(
            method if len(rates) == 1 else f"{method}-{point}",
            method,
            tuple(replace(stage, **fields) for stage in load_recipe(f"{RECIPE}-{method}").stages),
        )
        for method, rates in RATES.items()
        for point, fields in enumerate(rates, start=1)
    ]


POINTS = 4  # rates of a method with a network for each, at the first lambdas of the recipe
# Best of three for each method by 1,000 steps at one rate on held-out photographs, and not above
# what stays stable over a whole run (docs/log.md).
LEARNING_RATES = MappingProxyType(
    {"charm": 1e-3, "elic": 2e-3, "ivr": 7.5e-4, "hific": 1e-3, "multirealism": 2e-3}
)
# Rate targets of HiFiC in bpp and the weights of a bit above them: "lo", "mi", "hi".
TARGETS = ((0.14, 2.0), (0.30, 1.0), (0.45, 0.5))
# The published weights of LPIPS and GAN, 150 MSE of values in [0, 1] beside them.
HIFIC = MappingProxyType({"lpips": 1.0, "gan": 0.15})
MULTI_REALISM = MappingProxyType({"lpips_per_beta": 0.983, "gan_per_beta": 0.231})


def field_suite(
    recipe: Recipe,
    folder: Path,
    learning_rate: float | None = None,
    members: Sequence[str] = (),
) -> tuple[TrainingRun, ...]:
    """Return the runs of the suite, method by method, from the lowest rate to the highest.

    Each has a folder of its name in `folder`, and its checkpoint beside that. learning_rate: of
    all, instead of each method's of `LEARNING_RATES`. members: names of networks or methods to
    keep; all unless given. Raises `UsageError` for others and for a recipe that has no such sizes.
    """
    if recipe.architecture != DEFAULT_ARCHITECTURE:
        raise UsageError(
            f"the recipe {recipe.name} is for {recipe.architecture}: --suite field takes one for "
            "ours, and makes those of its members"
        )
    if recipe == load_recipe(RECIPE):
        if learning_rate is not None:
            raise UsageError("--learning-rate: the recipe paper has each method's: leave it out")
        found = paper_members()
    else:
        given = {} if learning_rate is None else dict.fromkeys(LEARNING_RATES, learning_rate)
        rates = {**LEARNING_RATES, **given}
        found = [*_single_rates(recipe, rates), *_all_rates(recipe, rates)]
        found += _perceptual(recipe, rates)
    known = {one.name for one in found} | {one.architecture for one in found}
    for name in members:
        if name not in known:
            raise UsageError(f"the suite has no member {name}: {', '.join(sorted(known))}")
    return tuple(
        _run(one, recipe, folder)
        for one in found
        if not members or one.name in members or one.architecture in members
    )


def _run(member: Member, recipe: Recipe, folder: Path) -> TrainingRun:
    architecture = load_architecture(member.architecture)
    if recipe.sizes not in architecture.presets:
        sizes = ", ".join(architecture.presets)
        raise UsageError(
            f"the recipe {recipe.name} is for sizes {recipe.sizes!r}, of which "
            f"{member.architecture} has {sizes}"
        )
    changed = replace(recipe, architecture=member.architecture, stages=member.stages)
    target = folder / f"{member.name}.safetensors"
    return TrainingRun(
        member.name, folder / member.name, target, Subject(member.architecture), changed
    )


def _single_rates(recipe: Recipe, rates: Mapping[str, float]) -> list[Member]:
    """Charm and ELIC: rate and distortion alone, a network for each rate."""
    phases, levels = without_realism(phases_of(recipe)), len(recipe.stages[-1].lambdas)
    balanced = _balanced(phases)
    return [
        Member(
            f"{name}-{point}",
            name,
            tuple(
                stage_of(
                    phase, recipe, "single_rate", levels, rates[name], lambdas=(weight,), **balanced
                )
                for phase in phases
            ),
        )
        for name in ("charm", "elic")
        for point, weight in enumerate(_weights(recipe), start=1)
    ]


def _all_rates(recipe: Recipe, rates: Mapping[str, float]) -> list[Member]:
    """IVR: rate and distortion alone, all rates at once."""
    like = next((one for one in recipe.stages if one.kind == "multi_rate"), recipe.stages[-1])
    own: dict[str, Any] = {"lambdas": like.lambdas}
    own |= {name: getattr(like, name) for name in ("balanced", "mixed_levels")}
    stages = [
        stage_of(phase, recipe, "multi_rate", 1, rates["ivr"], **own)
        for phase in without_realism(phases_of(recipe))
    ]
    return [Member("ivr", "ivr", tuple(stages))]


def _perceptual(recipe: Recipe, rates: Mapping[str, float]) -> list[Member]:
    """HiFiC and Multi-Realism: without a GAN first, then with one."""
    phases, levels = phases_of(recipe), len(recipe.stages[-1].lambdas)
    members = []
    for point, (target, weight) in enumerate(TARGETS, start=1):
        stages = [
            stage_of(
                phase,
                recipe,
                "hific",
                levels,
                rates["hific"],
                lambdas=(weight,),
                target_bpp=target,
                **_adversarial(phase, _trained(HIFIC, recipe), always=("lpips",)),
            )
            for phase in phases
        ]
        members.append(Member(f"hific-{point}", "hific", tuple(stages)))
    for point, weight in enumerate(_weights(recipe), start=1):
        stages = [
            stage_of(
                phase,
                recipe,
                "multirealism",
                levels,
                rates["multirealism"],
                lambdas=(weight,),
                **_adversarial(phase, _trained(MULTI_REALISM, recipe)),
                **_balanced(phases),
            )
            for phase in phases
        ]
        members.append(Member(f"multirealism-{point}", "multirealism", tuple(stages)))
    return members


def _adversarial(
    phase: Phase, weights: Mapping[str, float], always: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the weights of LPIPS and GAN in a phase, and the discriminator's widths."""
    if not phase.realism:
        return {name: weights[name] if name in always else 0.0 for name in weights}
    channels = getattr(phase.like, "discriminator_channels", None)
    own: dict[str, Any] = dict(weights)
    if channels is not None:
        own |= {
            "discriminator_channels": channels,
            "discriminator_latent_channels": max(1, channels[0] // 4),
        }
    if "lpips_per_beta" in weights:
        own["zero_beta_share"] = getattr(phase.like, "zero_beta_share", 0.0)
    return own


def _trained(weights: Mapping[str, float], recipe: Recipe) -> Mapping[str, float]:
    """Return the weights, without LPIPS where the recipe trains `ours` without."""
    if any(getattr(stage, "has_lpips", False) for stage in recipe.stages):
        return weights
    return {name: 0.0 if name.startswith("lpips") else one for name, one in weights.items()}


def _weights(recipe: Recipe) -> tuple[float, ...]:
    """Return the lambdas of the networks of one rate: those of the recipe's first levels."""
    return recipe.stages[-1].lambdas[:POINTS]


def _balanced(phases: Sequence[Phase]) -> dict[str, bool]:
    return {"balanced": any(getattr(one.like, "balanced", False) for one in phases)}
