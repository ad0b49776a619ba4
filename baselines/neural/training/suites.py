"""Suites of networks with the crops of a recipe for `ours`: its phases, `suites.toml`, members."""

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
from baselines.neural.training.run import Run
from benchmark.errors import UnknownName, UsageError
from benchmark.registry import imported
from benchmark.system.text import read_toml

# Methods of the suite `generative`, in the order of training -> "module:function", as text, from
# (recipe for `ours`, name) to recipes by the names of members; the method's own name is for its
# usual ones. It raises `UsageError` for a name that no member can have.
GENERATIVE = {
    "dirac": "baselines.neural.diffusion.objective:members",
    "hfd": "baselines.neural.diffusion.objective:members",
    "pqmim": "baselines.neural.pqmim.objective:members",
}
SUITES = ("matched", "field", "generative")
PAPER = "paper"  # recipe in whose place those of the methods are taken
LEARNING_RATE = 1e-3  # of the suite `generative`


Phase = list[Stage]  # that train for the same, realism or not, in the same precision


def phases_of(recipe: Recipe, *, realism: bool = True) -> list[Phase]:
    """Return the phases of a recipe for `ours`, without realism a phase for each precision."""
    phases: dict[tuple[bool, bool], Phase] = {}
    for stage in recipe.stages:
        adversarial = realism and stage.objective == "realism"
        phases.setdefault((adversarial, stage.float32), []).append(stage)
    return list(phases.values())


def stage_of(
    phase: Phase, recipe: Recipe, objective: str, parts: int, rate: float, **own: Any
) -> Stage:
    """Return a stage with a share 1 / `parts` of a phase's crops, and the schedule of its first.

    rate: the learning rate of the recipe's first stage. own: further fields, or others.
    """
    like = phase[0]
    shared: dict[str, Any] = {field.name: getattr(like, field.name) for field in fields(Stage)}
    shared |= {
        "objective": objective,
        "steps": max(1, math.ceil(sum(of.crops for of in phase) / parts / like.batch)),
        "crop_px": max(stage.crop_px for stage in recipe.stages),
        "learning_rate": rate * (like.learning_rate / recipe.stages[0].learning_rate),
        "frozen": (),
    }
    return objective_class(objective).stage_type(**(shared | own))


class Method(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row of `suites.toml`, which says what its fields mean."""

    suite: str
    objective: str
    learning_rate: float
    networks: Sequence[Mapping[str, Any]]
    architecture: str = ""  # empty: the method's name
    network: str = ""  # "module:function", from sizes and a network's fields to dimensions, fields
    paper: Sequence[Mapping[str, Any]] = ()
    whole: bool = False
    realism: Mapping[str, float] = {}
    always: Collection[str] = ()

    def members(self, name: str, recipe: Recipe) -> dict[str, Recipe]:
        """Return the method's recipes by name, each with its share of the crops of a recipe."""
        own = self.paper if self.paper and recipe == load_recipe(PAPER) else self.networks
        levels = len(recipe.stages[-1].lambdas)
        made = [self._recipe(name, recipe, of) for of in own if of.get("level", 0) <= levels]
        if len(made) == 1:
            return {name: made[0]}
        return {f"{name}-{point}": of for point, of in enumerate(made, 1)}

    def _recipe(self, name: str, recipe: Recipe, network: Mapping[str, Any]) -> Recipe:
        own: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in network.items()
        }
        phases = phases_of(recipe, realism=bool(self.realism))
        changed = replace(recipe, architecture=self.architecture or name)
        if self.paper and recipe == load_recipe(PAPER):
            of_paper = load_recipe(f"{PAPER}-{name}").stages
            return replace(changed, stages=tuple(replace(stage, **own) for stage in of_paper))
        sizes = f"{recipe.sizes}{own.pop('sizes', '')}"
        if sizes in load_architecture(changed.architecture).sizes:
            changed = replace(changed, sizes=sizes)
        levels = recipe.stages[-1].lambdas
        if "level" in own:
            own["lambdas"] = (levels[own.pop("level") - 1],)
        if self.network:
            dimensions, own = imported(self.network)(recipe.sizes, **own)
            changed = replace(changed, dimensions=dimensions)
        all_rates = [stage for stage in recipe.stages if stage.objective == "multi_rate"]
        own.setdefault("lambdas", (all_rates or recipe.stages[-1:])[0].lambdas)
        if "balanced" in objective_class(self.objective).uses:
            own["balanced"] = any(getattr(phase[0], "balanced", False) for phase in phases)
        parts = 1 if self.whole else len(levels)
        stages = []
        for phase in phases:
            of_phase = own | adversarial_fields(phase, recipe, self.realism, self.always)
            rate = self.learning_rate
            stages.append(stage_of(phase, recipe, self.objective, parts, rate, **of_phase))
        return replace(changed, stages=tuple(stages))


METHODS = {
    name: msgspec.convert(row, Method)
    for name, row in read_toml(Path(__file__).with_suffix(".toml"), dict[str, Any]).items()
}


def suite(name: str, recipe: Recipe, folder: Path, asked: Sequence[str] = ()) -> list[Run]:
    """Return the runs of a suite, method by method, from the lowest rate to the highest.

    Each has a folder of its name in `folder`, and its checkpoint beside that. asked: names of
    members or methods, by default all. A network of all rates sees as many crops as `ours` does
    with the same recipe, a network of one rate as many as `ours` sees for each of its levels. With
    the recipe `paper`, those of `field` train as their papers do, by the recipes `paper-METHOD`.
    Raises `UsageError`, and `Unavailable` for a member whose base cannot run here.
    """
    if name not in SUITES:
        raise UnknownName("suite", name, SUITES)
    if recipe.architecture != DEFAULT_ARCHITECTURE:
        raise UsageError(
            f"the recipe {recipe.name} is for {recipe.architecture}: --suite {name} takes one for "
            "ours, and makes those of its members"
        )
    if name == "generative":
        kept = _generative(recipe, asked)
    else:
        rows = {method: row for method, row in METHODS.items() if row.suite == name}
        planned = {name: row.members(name, recipe) for name, row in rows.items()}
        if name == "matched":
            planned = {"ours": {"ours": recipe}, **planned}
        known = {*planned, *(member for members in planned.values() for member in members)}
        for word in asked:
            if word not in known:
                raise UsageError(f"the suite has no member {word}: {', '.join(sorted(known))}")
        kept = {
            member: of_member
            for method, members in planned.items()
            for member, of_member in members.items()
            if not asked or {method, member} & {*asked}
        }
    for of_member in kept.values():
        require_sizes(recipe, of_member)
    return [
        Run(folder / member, folder / f"{member}.safetensors", of_member)
        for member, of_member in kept.items()
    ]


def _generative(recipe: Recipe, asked: Sequence[str]) -> dict[str, Recipe]:
    """Return members of `generative`; names of methods begin them (`dirac-elic`)."""
    words = tuple(asked) or tuple(GENERATIVE)
    for word in words:
        if word.partition("-")[0] not in GENERATIVE:
            known = ", ".join(GENERATIVE)
            raise UsageError(f"the suite has no member {word}: its methods are {known}")
    members: dict[str, Recipe] = {}
    for method, target in GENERATIVE.items():
        like = replace(recipe, architecture=method, initialise="pca")
        for name in [word for word in words if word.partition("-")[0] == method]:
            require_sizes(recipe, like)
            members |= imported(target)(like, name)
    return members


def require_sizes(recipe: Recipe, made: Recipe) -> None:
    """Raise `UsageError` unless the architecture of a member has the recipe's sizes."""
    sizes = load_architecture(made.architecture).sizes
    if made.dimensions is None and made.sizes not in sizes:
        raise UsageError(
            f"the recipe {recipe.name} is for sizes {recipe.sizes!r}, of which "
            f"{made.architecture} has {', '.join(sizes)}"
        )


def adversarial_fields(
    phase: Phase, recipe: Recipe, weights: Mapping[str, float], always: Collection[str] = ()
) -> dict[str, Any]:
    """Return weights of LPIPS, if the recipe has it, and GAN in a phase, and the GAN's widths."""
    without = not any(stage.has_lpips for stage in recipe.stages)
    like, realism = phase[0], phase[0].objective == "realism"
    own: dict[str, Any] = {}
    for name, weight in weights.items():
        counts = realism or name in always
        own[name] = 0.0 if not counts or (without and name.startswith("lpips")) else weight
    if not (realism and weights):
        return own
    if channels := getattr(like, "discriminator_channels", None):
        own["discriminator_channels"] = channels
        own["discriminator_latent_channels"] = max(1, channels[0] // 4)
    if "lpips_per_beta" in weights:
        own["zero_beta_share"] = getattr(like, "zero_beta_share", 0.0)
    return own
