"""Suites: networks of other methods, trained on as many crops as a recipe for `ours`."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import msgspec

from baselines.neural.architecture import load_architecture
from baselines.neural.training.recipe import (
    DEFAULT_ARCHITECTURE,
    Recipe,
    Stage,
    load_recipe,
    objective_class,
)
from baselines.neural.training.run import TrainingRun
from benchmark.errors import UnknownName, UsageError
from benchmark.registry import import_target
from benchmark.system.text import read_toml

# Methods of the suite `generative`, in training order -> "module:function". The function takes a
# recipe for `ours`, and the name of a member (or of the method, for its usual members). It returns
# recipes by member, and raises `UsageError` for an impossible name.
GENERATIVE = {
    "dirac": "baselines.neural.diffusion.objective:members",
    "hfd": "baselines.neural.diffusion.objective:members",
    "pqmim": "baselines.neural.pqmim.objective:members",
}
SUITES = ("matched", "field", "generative")
PAPER = "paper"  # name of a recipe that has variants for the methods
LEARNING_RATE = 1e-3  # for the suite `generative`


Phase = list[Stage]  # stages of one precision, all with or all without realism


def phases_of(recipe: Recipe, *, realism: bool = True) -> list[Phase]:
    """Group stages into phases; `realism=False` joins stages with and without realism."""
    phases: dict[tuple[bool, bool], Phase] = {}
    for stage in recipe.stages:
        is_adversarial = realism and stage.objective == "realism"
        phases.setdefault((is_adversarial, stage.float32), []).append(stage)
    return list(phases.values())


def stage_of(
    phase: Phase, recipe: Recipe, objective: str, parts: int, rate: float, **changes: Any
) -> Stage:
    """Return a stage with 1 / `parts` of a phase's crops; rate: the first stage's learning rate."""
    first_stage = phase[0]
    common_fields: dict[str, Any] = {
        field.name: getattr(first_stage, field.name) for field in fields(Stage)
    }
    common_fields |= {
        "objective": objective,
        "steps": max(1, math.ceil(sum(stage.crops for stage in phase) / parts / first_stage.batch)),
        "crop_px": max(stage.crop_px for stage in recipe.stages),
        "learning_rate": rate * (first_stage.learning_rate / recipe.stages[0].learning_rate),
        "frozen": (),
    }
    return objective_class(objective).stage_type(**(common_fields | changes))


class Method(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row of `suites.toml`, which explains the fields."""

    suite: str
    objective: str
    learning_rate: float
    networks: Sequence[Mapping[str, Any]]
    architecture: str = ""  # empty: same as the method's name
    network: str = ""  # "module:function": (sizes, fields of a network) -> (dimensions, fields)
    paper: Sequence[Mapping[str, Any]] = ()
    multi_rate: bool = False
    realism: Mapping[str, float] = {}
    always_weighed: Collection[str] = ()

    def members(self, name: str, recipe: Recipe) -> dict[str, Recipe]:
        """Return the recipes of the method's networks by name, for the crops of `recipe`."""
        networks = self.paper if self.paper and recipe == load_recipe(PAPER) else self.networks
        levels = len(recipe.stages[-1].lambdas)
        recipes = [
            self._recipe(name, recipe, network)
            for network in networks
            if network.get("level", 0) <= levels
        ]
        if len(recipes) == 1:
            return {name: recipes[0]}
        return {f"{name}-{number}": member for number, member in enumerate(recipes, 1)}

    def _recipe(self, name: str, recipe: Recipe, network: Mapping[str, Any]) -> Recipe:
        changes: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in network.items()
        }
        phases = phases_of(recipe, realism=bool(self.realism))
        member = replace(recipe, architecture=self.architecture or name)
        if self.paper and recipe == load_recipe(PAPER):
            paper_stages = load_recipe(f"{PAPER}-{name}").stages
            return replace(
                member, stages=tuple(replace(stage, **changes) for stage in paper_stages)
            )
        sizes = f"{recipe.sizes}{changes.pop('sizes', '')}"
        if sizes in load_architecture(member.architecture).sizes:
            member = replace(member, sizes=sizes)
        lambdas = recipe.stages[-1].lambdas
        if "level" in changes:
            changes["lambdas"] = (lambdas[changes.pop("level") - 1],)
        if self.network:
            dimensions, changes = import_target(self.network)(recipe.sizes, **changes)
            member = replace(member, dimensions=dimensions)
        multi_rate = [stage for stage in recipe.stages if stage.objective == "multi_rate"]
        changes.setdefault("lambdas", (multi_rate or recipe.stages[-1:])[0].lambdas)
        if "balanced" in objective_class(self.objective).uses:
            changes["balanced"] = any(getattr(phase[0], "balanced", False) for phase in phases)
        parts = 1 if self.multi_rate else len(lambdas)
        stages = []
        for phase in phases:
            phase_fields = changes | adversarial_fields(
                phase, recipe, self.realism, self.always_weighed
            )
            rate = self.learning_rate
            stages.append(stage_of(phase, recipe, self.objective, parts, rate, **phase_fields))
        return replace(member, stages=tuple(stages))


METHODS = {
    name: msgspec.convert(row, Method)
    for name, row in read_toml(Path(__file__).with_suffix(".toml"), dict[str, Any]).items()
}


def suite(name: str, recipe: Recipe, folder: Path, names: Sequence[str] = ()) -> list[TrainingRun]:
    """Return the runs of a suite in `folder`, by method and rising rate.

    names: members or methods; empty: all. A network for all rates sees as many crops as `ours` with
    this recipe; a network for one rate, as many as `ours` per rate level. For the recipe `paper`,
    `field` uses `paper-METHOD`. Raises `UsageError`, or `Unavailable` if a base codec cannot run.
    """
    if name not in SUITES:
        raise UnknownName("suite", name, SUITES)
    if recipe.architecture != DEFAULT_ARCHITECTURE:
        raise UsageError(
            f"the recipe {recipe.name} is for {recipe.architecture}, but --suite {name} needs a "
            "recipe for ours"
        )
    if name == "generative":
        recipes = _generative_members(recipe, names)
    else:
        rows = {method: row for method, row in METHODS.items() if row.suite == name}
        members_by_method = {name: row.members(name, recipe) for name, row in rows.items()}
        if name == "matched":
            members_by_method = {"ours": {"ours": recipe}, **members_by_method}
        all_members = (member for members in members_by_method.values() for member in members)
        choices = {*members_by_method, *all_members}
        for word in names:
            if word not in choices:
                listed = ", ".join(sorted(choices))
                raise UsageError(f"the suite {name} has no member {word}: choose from {listed}")
        recipes = {
            member: member_recipe
            for method, members in members_by_method.items()
            for member, member_recipe in members.items()
            if not names or {method, member} & {*names}
        }
    for member_recipe in recipes.values():
        _require_sizes(recipe, member_recipe)
    return [
        TrainingRun(folder / member, folder / f"{member}.safetensors", member_recipe)
        for member, member_recipe in recipes.items()
    ]


def _generative_members(recipe: Recipe, names: Sequence[str]) -> dict[str, Recipe]:
    words = tuple(names) or tuple(GENERATIVE)
    for word in words:
        if word.partition("-")[0] not in GENERATIVE:
            methods = ", ".join(GENERATIVE)
            raise UsageError(f"--suite generative has no member {word}: choose from {methods}")
    members: dict[str, Recipe] = {}
    for method, target in GENERATIVE.items():
        method_recipe = replace(recipe, architecture=method, initialise="pca")
        for name in [word for word in words if word.partition("-")[0] == method]:
            _require_sizes(recipe, method_recipe)
            members |= import_target(target)(method_recipe, name)
    return members


def _require_sizes(recipe: Recipe, member: Recipe) -> None:
    sizes = load_architecture(member.architecture).sizes
    if member.dimensions is None and member.sizes not in sizes:
        raise UsageError(
            f"the recipe {recipe.name} has sizes {recipe.sizes!r}, but {member.architecture} has "
            f"only {', '.join(sizes)}"
        )


def adversarial_fields(
    phase: Phase, recipe: Recipe, weights: Mapping[str, float], always_weighed: Collection[str] = ()
) -> dict[str, Any]:
    """Return a phase's weights of GAN and LPIPS (0 if the recipe has none), and GAN widths."""
    without_lpips = not any(stage.has_lpips for stage in recipe.stages)
    first_stage, is_realism = phase[0], phase[0].objective == "realism"
    changes: dict[str, Any] = {}
    for name, weight in weights.items():
        is_weighed = is_realism or name in always_weighed
        changes[name] = (
            0.0 if not is_weighed or (without_lpips and name.startswith("lpips")) else weight
        )
    if not (is_realism and weights):
        return changes
    if channels := getattr(first_stage, "discriminator_channels", None):
        changes["discriminator_channels"] = channels
        changes["discriminator_latent_channels"] = max(1, channels[0] // 4)
    if "lpips_per_beta" in weights:
        changes["zero_beta_share"] = getattr(first_stage, "zero_beta_share", 0.0)
    return changes
