"""The suite `field`: the methods of the paper's comparison, trained with the budget of `ours`.

A network of all rates sees as many crops as `ours` does with the same recipe, a network of one rate
as many as `ours` sees for each of its levels. Crops, batches and schedules are alike, and
adversarial stages have the share of the crops that they have in the recipe. Rate and distortion
are weighted as at the first levels of `ours`; HiFiC has its rate targets.

With the recipe `paper`, members train as their papers do. The recipes `paper-charm`, `paper-elic`,
`paper-ivr`, `paper-hific` and `paper-multirealism` have a method's own steps, batches, schedules
and weights at one of its rates, and say which were not published; `RATES` has the fields that
differ between the rates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from baselines.neural.architecture import load_architecture
from baselines.neural.training.losses.rate_distortion import MSE_WEIGHT
from baselines.neural.training.recipe import DEFAULT_ARCHITECTURE, Recipe, load_recipe
from baselines.neural.training.session import TrainingRun
from baselines.neural.training.suites import (
    Member,
    Phase,
    phases_of,
    require_sizes,
    stage_of,
    without_realism,
)
from benchmark.errors import UsageError

RECIPE = "paper"  # in whose place the recipes of the methods are taken
LEVELS = 255.0**2  # MSE of values in 0..255, for one of values in [0, 1]
HIFIC_SCALE = MSE_WEIGHT / (0.00234375 * LEVELS)  # published weights of HiFiC -> those of a recipe
MULTI_REALISM_SCALE = MSE_WEIGHT / (0.01 * LEVELS)

POINTS = 4  # rates of a method with a network for each, at the first lambdas of the recipe
# Best of three for each method by 1,000 steps at one rate on held-out photographs, and not above
# what stays stable over a whole run (docs/experiments).
LEARNING_RATES = MappingProxyType(
    {"charm": 1e-3, "elic": 2e-3, "ivr": 7.5e-4, "hific": 1e-3, "multirealism": 2e-3}
)
# Rate targets of HiFiC in bpp and the weights of a bit above them: "lo", "mi", "hi".
TARGETS = ((0.14, 2.0), (0.30, 1.0), (0.45, 0.5))
# Member -> end of the name of its preset, for sizes that have one of that name.
OTHER_PRESETS = MappingProxyType({"elic-4": "-wide"})
# The published weights of LPIPS and GAN, 150 MSE of values in [0, 1] beside them.
HIFIC = MappingProxyType({"lpips": 1.0, "gan": 0.15})
MULTI_REALISM = MappingProxyType({"lpips_per_beta": 0.983, "gan_per_beta": 0.231})


def _of_mse(weight: float, *, clipped: bool = False) -> dict[str, Any]:
    """Return fields for the loss bpp + weight MSE of values in 0..255, `clipped` at norm 1."""
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


def field_suite(
    recipe: Recipe, folder: Path, learning_rate: float | None = None, members: Sequence[str] = ()
) -> tuple[TrainingRun, ...]:
    """Return the runs of the suite, method by method, from the lowest rate to the highest.

    learning_rate: of all, instead of each method's of `LEARNING_RATES`. members: names of networks
    or methods to keep; all unless given. Raises `UsageError` for others and for a recipe that has
    no such sizes.
    """
    if recipe.architecture != DEFAULT_ARCHITECTURE:
        raise UsageError(
            f"the recipe {recipe.name} is for {recipe.architecture}: --suite field takes one for "
            "ours, and makes those of its members"
        )
    if recipe == load_recipe(RECIPE):
        if learning_rate is not None:
            raise UsageError("--learning-rate: the recipe paper has each method's: leave it out")
        planned = paper_members()
    else:
        given = {} if learning_rate is None else dict.fromkeys(LEARNING_RATES, learning_rate)
        planned = _budgeted(recipe, {**LEARNING_RATES, **given})
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


def _budgeted(recipe: Recipe, rates: Mapping[str, float]) -> list[Member]:
    """Return the members with the crops of `recipe`, at a learning rate for each method.

    Charm, ELIC and IVR train for rate and distortion alone, HiFiC and Multi-Realism without a GAN
    first, then with one.
    """
    phases, levels = phases_of(recipe), recipe.stages[-1].lambdas
    plain, parts = without_realism(phases), len(levels)
    like = next((stage for stage in recipe.stages if stage.kind == "multi_rate"), recipe.stages[-1])
    ivr = {name: getattr(like, name) for name in ("lambdas", "balanced", "mixed_levels")}

    def member(
        name: str, kind: str, phases: Sequence[Phase], parts: int, own: Mapping[str, Any],
        weights: Mapping[str, float] | None = None, always: Sequence[str] = (),
    ) -> Member:  # fmt: skip
        architecture = name.partition("-")[0]
        stages = []
        for phase in phases:
            gan = (
                adversarial_fields(phase, trained_weights(weights, recipe), always)
                if weights
                else {}
            )
            rate = rates[architecture]
            stages.append(stage_of(phase, recipe, kind, parts, rate, **own, **gan))
        return Member(name, architecture, tuple(stages), _other_preset(name, recipe.sizes))

    single = list(enumerate(levels[:POINTS], start=1))
    members = [
        member(f"{name}-{point}", "single_rate", plain, parts, _at(weight, plain))
        for name in ("charm", "elic")
        for point, weight in single
    ]
    members.append(member("ivr", "multi_rate", plain, 1, ivr))
    for point, (target, weight) in enumerate(TARGETS, start=1):
        own = {"lambdas": (weight,), "target_bpp": target}
        members.append(member(f"hific-{point}", "hific", phases, parts, own, HIFIC, ("lpips",)))
    for point, weight in single:
        own, name = _at(weight, phases), f"multirealism-{point}"
        members.append(member(name, "multirealism", phases, parts, own, MULTI_REALISM))
    return members


def _other_preset(name: str, sizes: str) -> Mapping[str, Any] | None:
    """Return the configuration of a member with a preset of its own, None for others."""
    architecture = load_architecture(name.partition("-")[0])
    preset = architecture.presets.get(f"{sizes}{OTHER_PRESETS.get(name, '')}")
    return architecture.config_to_json(preset) if name in OTHER_PRESETS and preset else None


def _at(weight: float, phases: Sequence[Phase]) -> dict[str, Any]:
    """Return the fields of a network of one rate."""
    balanced = any(getattr(phase.like, "balanced", False) for phase in phases)
    return {"lambdas": (weight,), "balanced": balanced}


def adversarial_fields(
    phase: Phase, weights: Mapping[str, float], always: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the weights of LPIPS and GAN in a phase, and the discriminator's widths."""
    if not phase.realism:
        return {name: weights[name] if name in always else 0.0 for name in weights}
    channels = getattr(phase.like, "discriminator_channels", None)
    own: dict[str, Any] = dict(weights)
    if channels is not None:
        own["discriminator_channels"] = channels
        own["discriminator_latent_channels"] = max(1, channels[0] // 4)
    if "lpips_per_beta" in weights:
        own["zero_beta_share"] = getattr(phase.like, "zero_beta_share", 0.0)
    return own


def trained_weights(weights: Mapping[str, float], recipe: Recipe) -> Mapping[str, float]:
    """Return the weights, without LPIPS where the recipe trains `ours` without."""
    if any(getattr(stage, "has_lpips", False) for stage in recipe.stages):
        return weights
    return {name: 0.0 if name.startswith("lpips") else one for name, one in weights.items()}
