"""The suite `generative`: decoders that draw, trained with the crops of `ours`.

A method is a line in `GENERATIVE`: a function in the method's own folder, which knows its stages
and configurations. A member's name begins with its method's: `dirac-elic`, `hfd-elic`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from baselines.neural.architecture import load_architecture
from baselines.neural.training.recipe import Recipe, Stage
from baselines.neural.training.run import Subject
from baselines.neural.training.session import TrainingRun
from benchmark.errors import UsageError

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
