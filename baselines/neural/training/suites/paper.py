"""The suite `field` with each paper's own steps, batches, schedules and weights, not one budget.

The recipes `paper-charm`, `paper-elic`, `paper-ivr`, `paper-hific` and `paper-multirealism` have
the hyper-parameters of a method at one of its rates, and say what was not found and is our choice.
Here are the fields that differ between the rates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from baselines.neural.training.losses.rate_distortion import MSE_WEIGHT
from baselines.neural.training.recipe import Stage, load_recipe

RECIPE = "paper"  # in whose place the recipes of the methods are taken
LEVELS = 255.0**2  # MSE of values in 0..255, for one of values in [0, 1]
HIFIC = MSE_WEIGHT / (0.00234375 * LEVELS)  # published weights of HiFiC -> those of a recipe
MULTI_REALISM = MSE_WEIGHT / (0.01 * LEVELS)


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
        {"lambdas": (weight * HIFIC,), "target_bpp": target}
        for target, weight in ((0.14, 2.0), (0.30, 1.0), (0.45, 0.5))
    ],
    "multirealism": [
        {"lambdas": (100 * weight * MULTI_REALISM,)} for weight in (0.128, 0.064, 0.032, 0.016)
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
