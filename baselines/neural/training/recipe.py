"""A recipe's file -> the stages of a training run, checked. No torch."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from baselines.neural.crdr.sizes import NAMED
from benchmark.errors import UsageError

FOLDER = Path(__file__).parent / "recipes"

Kind = Literal["single_rate", "multi_rate", "realism"]
GanObjective = Literal["sgan", "rgan", "ragan", "hrrgan"]
DiscriminatorDesign = Literal[
    "independent",
    "shared",
    "shared-conditioned",
    "hybrid-head",
    "hybrid-head-conditioned",
    "hybrid-backbone",
    "hybrid-backbone-conditioned",
]

# What a number is at least, where that is not 0, and at most.
LEAST = {
    **dict.fromkeys(("steps", "batch", "crop_px", "discriminator_channels", "processes"), 1),
    **dict.fromkeys(("report_every_steps", "validate_every_steps"), 1),
}
MOST = dict.fromkeys(("decay_at", "final_share", "zero_beta_share", "map_share"), 1)


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of a run, with one loss and one schedule.

    The loss of a crop at the rate q and the realism weight beta is ::

        s (150 MSE + lambda bpp + (lpips + beta lpips_per_beta) LPIPS + beta gan_per_beta GAN)

    with MSE of values in [0, 1] and s = 1, or lambda^-.5 where `balanced`. Between whole q, lambda
    is interpolated geometrically. Where `targets_bpp` are given, lambda holds while the batch takes
    more bits than its target, and `lambda_below` otherwise.
    """

    kind: Kind
    steps: int
    batch: int
    crop_px: int
    learning_rate: float
    lambdas: tuple[float, ...]  # at q = 0, 1, ...; a single-rate stage has one
    decay_at: float  # share of the steps after which the learning rate falls
    decay: Literal["linear", "step"] = "step"
    final_share: float = 0.1  # of the learning rate, at the end or after the step
    warm_up_steps: int = 0
    prior_rate_factor: float = 1.0  # learning rate of z's prior, over that of the rest
    quantile_learning_rate: float = 1e-3
    clip_norm: float = 1.0
    lambda_below: float = 0.0
    targets_bpp: tuple[float, ...] = ()
    balanced: bool = False
    mixed_levels: bool = False  # every crop its own q, drawn between the levels too
    lpips: float = 0.0
    lpips_per_beta: float = 0.0
    gan_per_beta: float = 0.0
    objective: GanObjective = "hrrgan"
    discriminator: DiscriminatorDesign = "independent"
    discriminator_channels: tuple[int, ...] = (64, 128, 256, 512)
    discriminator_learning_rate: float = 1e-4
    zero_beta_share: float = 0.0  # of the crops, on top of what the uniform draw gives
    map_share: float = 0.0  # of the batches: q and beta by region
    frozen: tuple[str, ...] = ()  # parts of the network by name: analysis, context ...
    float32: bool = False  # whatever the recipe's `autocast` says

    @property
    def crops(self) -> int:
        """How many it sees."""
        return self.steps * self.batch


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is trained, on crops drawn from `seed`, stage after stage."""

    name: str
    sizes: str  # a named size of `ours`
    stages: tuple[Stage, ...]
    caveat: str = ""  # what tables and figures say beside the name of what comes out
    seed: int = 1
    autocast: bool = False  # bfloat16
    compiled: bool = False
    processes: int = 1  # on the CPU, of one thread each
    initialise: Literal["random", "pca"] = "random"
    report_every_steps: int = 100
    validate_every_steps: int = 1000

    def steps_before(self, index: int) -> int:
        """Of all stages before the one of that index; of the whole run for their number."""
        return sum(stage.steps for stage in self.stages[:index])

    def crops_before(self, index: int) -> int:
        """Seen in those stages."""
        return sum(stage.crops for stage in self.stages[:index])


def load_recipe(name: str) -> Recipe:
    """A recipe of this package, or a toml file; raises `UsageError`."""
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    try:
        record = tomllib.loads(path.read_text())
    except FileNotFoundError:
        known = ", ".join(sorted(one.stem for one in FOLDER.glob("*.toml")))
        raise UsageError(f"No recipe {name!r}: it is one of {known}, or a .toml file.") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as a recipe: {error}.") from error
    try:
        return recipe_from(path.stem, record)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{path} is no recipe: {error}.") from error


def recipe_from(name: str, record: Mapping[str, Any]) -> Recipe:
    """Checked; raises `ValueError` or `TypeError` that names the field."""
    record = dict(record)
    listed = record.pop("stage", [])
    if not isinstance(listed, list) or not all(isinstance(one, Mapping) for one in listed):
        raise TypeError("stage is not a list of tables: write [[stage]] above each")
    stages = tuple(_stage(number, one) for number, one in enumerate(listed, start=1))
    recipe = Recipe(**_typed(Recipe, record, {"name": name, "stages": stages}))
    if recipe.sizes not in NAMED:
        raise ValueError(f"sizes is {recipe.sizes!r}, not one of {', '.join(NAMED)}")
    if not stages:
        raise ValueError("it has no [[stage]]")
    levels = NAMED[recipe.sizes].rate_levels
    for stage in stages:
        expected = 1 if stage.kind == "single_rate" else levels
        if len(stage.lambdas) != expected:
            raise ValueError(f"a {stage.kind} stage has {expected} lambdas")
        if stage.batch % recipe.processes:
            raise ValueError(f"a batch of {stage.batch} for {recipe.processes} processes")
    return recipe


def _stage(number: int, record: Mapping[str, Any]) -> Stage:
    try:
        return _checked(Stage(**_typed(Stage, record, {})))
    except (TypeError, ValueError) as error:
        raise ValueError(f"in stage {number}, {error}") from error


def _checked(stage: Stage) -> Stage:
    if stage.crop_px % 64:
        raise ValueError(f"crop_px is {stage.crop_px}, not a multiple of 64")
    if len(stage.discriminator_channels) < 2:
        raise ValueError("discriminator_channels are fewer than two")
    if stage.targets_bpp and len(stage.targets_bpp) != len(stage.lambdas):
        raise ValueError("targets_bpp has not as many entries as lambdas")
    if stage.targets_bpp and (stage.mixed_levels or stage.map_share):
        raise ValueError("targets_bpp hold for a batch of one level: no mixed_levels, no map_share")
    if stage.targets_bpp and not stage.lambda_below:
        raise ValueError("targets_bpp need a lambda_below")
    if 0 in stage.lambdas or not stage.decay_at:
        raise ValueError("lambdas and decay_at are more than 0")
    return stage


def _typed(kind: type, record: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Lists as tuples, integers as floats where those are meant, nothing else converted."""
    expected = {field.name: field.type for field in fields(kind) if field.name not in given}
    needed = {field.name for field in fields(kind) if field.default is MISSING}
    lacking = needed - given.keys() - record.keys()
    if lacking:
        raise ValueError(f"it lacks {', '.join(sorted(lacking))}")
    values = dict(given)
    for name, value in record.items():
        if name not in expected:
            raise ValueError(f"it has no field {name!r}")
        values[name] = _converted(name, value, expected[name])
    return values


def _converted(name: str, value: Any, expected: Any) -> Any:
    if get_origin(expected) is tuple:
        if not isinstance(value, list | tuple):
            raise TypeError(f"{name} is {value!r}, not a list")
        return tuple(_converted(name, one, get_args(expected)[0]) for one in value)
    if get_origin(expected) is Literal:
        if value not in get_args(expected):
            raise ValueError(f"{name} is {value!r}, not one of {', '.join(get_args(expected))}")
        return value
    if expected is float and type(value) is int:
        value = float(value)
    if type(value) is not expected:
        raise TypeError(f"{name} is {value!r}, not of type {expected.__name__}")
    least, most = LEAST.get(name, 0), MOST.get(name, math.inf)
    if expected in (int, float) and not (least <= value <= most and math.isfinite(value)):
        raise ValueError(f"{name} is {value}, not within {least}..{most}")
    return value
