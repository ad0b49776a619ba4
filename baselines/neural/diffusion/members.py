"""Members of the suite `generative`: diffusion decoders, each for one base codec."""

from collections.abc import Sequence
from typing import Any

from baselines.neural.architecture import load_architecture
from baselines.neural.diffusion.base_codec import BaseCodec
from baselines.neural.training.recipe import Recipe
from baselines.neural.training.suites import (
    Member,
    phases_of,
    stage_of,
    without_realism,
)
from benchmark.errors import UnknownName, UsageError
from benchmark.registry import ALIASES, CODECS

USUAL_BASE = "elic"


def dirac(recipe: Recipe, learning_rate: float, names: Sequence[str]) -> list[Member]:
    """Return the members `dirac-BASE`; see `generative_suite.Members`."""
    return [_member("dirac", name, recipe, learning_rate) for name in names]


def hfd(recipe: Recipe, learning_rate: float, names: Sequence[str]) -> list[Member]:
    """Return the members `hfd-BASE`; see `generative_suite.Members`."""
    return [_member("hfd", name, recipe, learning_rate) for name in names]


def _member(method: str, name: str, recipe: Recipe, rate: float) -> Member:
    """Return a member with the crops of `ours`, since one network serves all rates of its base."""
    text = name.partition("-")[2] or USUAL_BASE
    if text not in CODECS and text not in ALIASES and ":" not in text:
        raise UnknownName(f"base codec of {method}", text, [*CODECS, *ALIASES])
    base = BaseCodec(text)
    sweep = base.codec.sweep
    if len({setting.name for setting in sweep}) != 1:
        raise UsageError(f"{text} is no base of {method}: its settings have several names")
    architecture = load_architecture(method)
    config = architecture.presets[recipe.sizes].for_base(
        base.spec.text, base.fingerprint, sweep[0].name, tuple(float(one.value) for one in sweep)
    )
    own: dict[str, Any] = {"lambdas": (), "prior_rate_factor": 1.0, "reduced_share": 0.0}
    stages = tuple(
        stage_of(phase, recipe, method, 1, rate, **own)
        for phase in without_realism(phases_of(recipe))
    )
    file = f"{method}-{base.spec.name.rpartition(':')[2]}"
    return Member(file, method, stages, architecture.config_to_json(config))
