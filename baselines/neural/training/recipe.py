"""Recipes of training runs: stages read from a toml file and checked, their objectives by name."""

import sys
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

import msgspec

from baselines.neural.architecture import imported, load_architecture
from benchmark.errors import UnknownName, UsageError

# Kind of a stage -> "module:class" of its objective, as text: looking one up imports it.
OBJECTIVES = {
    "single_rate": "baselines.neural.crdr.objective:SingleRate",
    "multi_rate": "baselines.neural.crdr.objective:MultiRate",
    "realism": "baselines.neural.crdr.objective:Realism",
    "elic": "baselines.neural.elic.objective:Elic",
    "ivr": "baselines.neural.ivr.objective:Ivr",
    "hific": "baselines.neural.hific.objective:Hific",
    "multirealism": "baselines.neural.multirealism.objective:MultiRealism",
    "pqmim_autoencoder": "baselines.neural.pqmim.objective:Autoencoder",
    "pqmim_transformer": "baselines.neural.pqmim.objective:Transformer",
    "dirac": "baselines.neural.diffusion.objective:Drawing",
    "hfd": "baselines.neural.diffusion.objective:Drawing",
}
FOLDER = Path(__file__).parent / "recipes"
DEFAULT_ARCHITECTURE = "crdr"  # whose checkpoints are called `ours`

FINITE = sys.float_info.max
Count = Annotated[int, msgspec.Meta(ge=0)]
AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]
Weight = Annotated[float, msgspec.Meta(ge=0, le=FINITE)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=FINITE)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]

Checked = TypeVar("Checked")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Part of a run with one objective and one schedule: the fields that every objective has.

    An objective names the subclass with its own fields (`StageObjective.stage_type`).
    """

    kind: str  # of `OBJECTIVES`
    steps: AtLeastOne
    batch: AtLeastOne
    crop_px: AtLeastOne
    learning_rate: Weight
    decay_at: Annotated[float, msgspec.Meta(gt=0, le=1)]  # share of the steps before it falls
    lambdas: tuple[Positive, ...] = ()  # weight of a bit per pixel at the rate levels 0, 1, ...
    decay: Literal["linear", "step"] = "step"
    final_share: Share = 0.1  # of the learning rate, at the end or after the step
    # With "step", more steps after that one: the share of the stage's steps, of the learning rate.
    further_falls: tuple[tuple[Share, Share], ...] = ()
    warm_up_steps: Count = 0
    prior_rate_factor: Weight = 1.0  # learning rate of z's prior, over that of the rest
    optimiser: Literal["adam", "soap"] = "adam"  # of the network; Adam for anything else
    quantile_learning_rate: Weight = 1e-3
    clip_norm: Weight = 1.0  # largest norm of the gradient of all parameters; 0: any
    frozen: tuple[str, ...] = ()  # parts of the network by name: analysis, context ...
    float32: bool = False  # whatever the recipe's `autocast` says
    reduced_share: Share = 0.0  # of the crops, made from larger squares: see `draw_crops`

    def __post_init__(self) -> None:
        if self.crop_px % 64:
            raise ValueError(f"crop_px is {self.crop_px}, not a multiple of 64")
        falls = [self.decay_at, *(share for share, _ in self.further_falls)]
        if self.further_falls and (self.decay != "step" or falls != sorted(falls)):
            raise ValueError('further_falls come with decay = "step", each behind the one before')

    @property
    def crops(self) -> int:
        """Number of crops that the stage sees."""
        return self.steps * self.batch

    def rate_factor(self, step: int) -> float:
        """Return the factor of the learning rate in a step, counted from 0.

        It rises linearly over the warm-up and stays at 1 until `decay_at`. Then it drops to
        `final_share`, and further by `further_falls`, or falls to it linearly.
        """
        if step < self.warm_up_steps:
            return (step + 1) / self.warm_up_steps
        start = self.decay_at * self.steps
        if step < start:
            return 1.0
        if self.decay == "step":
            reached = [share for at, share in self.further_falls if step >= at * self.steps]
            return [self.final_share, *reached][-1]
        gone = (step - start) / max(1.0, self.steps - start)
        return 1.0 - (1.0 - self.final_share) * min(1.0, gone)

    def check_network(self, rate_levels: int) -> None:
        """Raise `ValueError` where the stage cannot train a network of `rate_levels` levels."""

    @property
    def has_lpips(self) -> bool:
        """True if LPIPS is part of the loss."""
        return False

    def find_resources(self) -> None:
        """Raise `Unavailable` where LPIPS is part of the loss and its weights are missing."""
        if self.has_lpips:
            from baselines.neural.perceptual import Perceptual

            Perceptual()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Stages that train one network one after the other, on crops drawn from `seed`."""

    name: str
    sizes: str  # a preset of the architecture
    stages: tuple[Stage, ...]
    architecture: str = DEFAULT_ARCHITECTURE  # of `baselines.neural.architecture.ARCHITECTURES`
    caveat: str = ""  # shown beside the name of the result in tables and figures
    seed: Count = 1
    autocast: bool = False  # bfloat16 where the processor has instructions for it
    compiled: bool = False
    processes: AtLeastOne = 1  # on the CPU, of one thread each
    initialise: Literal["random", "pca"] = "random"
    report_every_steps: AtLeastOne = 100
    validate_every_steps: AtLeastOne = 1000

    def __post_init__(self) -> None:
        if not self.stages:
            raise ValueError("it has no [[stage]]")
        for stage in self.stages:
            if stage.batch % self.processes:
                raise ValueError(f"a batch of {stage.batch} for {self.processes} processes")

    def check_network(self) -> None:
        """Raise `ValueError` where the architecture has no such sizes or cannot have a stage."""
        architecture = load_architecture(self.architecture)
        presets = architecture.presets
        if self.sizes not in presets:
            raise ValueError(f"sizes is {self.sizes!r}, not one of {', '.join(presets)}")
        for stage in self.stages:
            stage.check_network(architecture.rate_levels(presets[self.sizes]))

    def steps_before(self, index: int) -> int:
        """Return the steps of all stages before the one of that index."""
        return sum(stage.steps for stage in self.stages[:index])

    def crops_by_side(self, index: int, step: int) -> Counter[int]:
        """Return how many crops are seen up to a step of a stage, by their side in pixels."""
        seen: Counter[int] = Counter()
        for stage in self.stages[:index]:
            seen[stage.crop_px] += stage.crops
        last = self.stages[index]
        seen[last.crop_px] += step * last.batch
        return seen

    def crops_before(self, index: int) -> int:
        """Return the crops seen in all stages before the one of that index."""
        return sum(stage.crops for stage in self.stages[:index])


def objective_class(kind: str) -> Any:
    """Return the class of the objective of that name; raises `UnknownName`."""
    if kind not in OBJECTIVES:
        raise UnknownName("objective", kind, OBJECTIVES)
    return imported(OBJECTIVES[kind])


def load_recipe(name: str) -> Recipe:
    """Return a recipe of this package, or that of a toml file; raises `UsageError`."""
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
    except ValueError as error:
        raise UsageError(f"{path} is no recipe: {error}.") from error


def recipe_from(name: str, record: Mapping[str, Any]) -> Recipe:
    """Return the recipe of a toml table; raises `ValueError` that names the wrong field."""
    record = dict(record)
    listed = record.pop("stage", [])
    if not isinstance(listed, list) or not all(isinstance(one, Mapping) for one in listed):
        raise ValueError("stage is not a list of tables: write [[stage]] above each")
    stages = tuple(_stage(number, table) for number, table in enumerate(listed, start=1))
    recipe = _checked(Recipe, record, name=name, stages=stages)
    recipe.check_network()
    return recipe


def _stage(number: int, record: Mapping[str, Any]) -> Stage:
    try:
        kind = record.get("kind")
        if kind not in OBJECTIVES:
            raise ValueError(f"kind is {kind!r}, not one of {', '.join(OBJECTIVES)}")
        stage: Stage = _checked(objective_class(kind).stage_type, record)
        return stage
    except ValueError as error:
        raise ValueError(f"in stage {number}, {error}") from error


def _checked(kind: type[Checked], record: Mapping[str, Any], **given: Any) -> Checked:
    """Lists become tuples, integers floats where those are meant; nothing else is converted."""
    hints = get_type_hints(kind, include_extras=True)
    expected = {field.name: (hints[field.name], field.default is MISSING) for field in fields(kind)}  # type: ignore[arg-type]
    lacking = [name for name, (_, needed) in expected.items() if needed]
    lacking = sorted(set(lacking) - given.keys() - record.keys())
    if lacking:
        raise ValueError(f"it lacks {', '.join(lacking)}")
    values = {}
    for name, value in record.items():
        if name not in expected or name in given:
            raise ValueError(f"it has no field {name!r}")
        try:
            values[name] = msgspec.convert(value, expected[name][0])
        except msgspec.ValidationError as error:
            raise ValueError(f"{name} is {value!r}: {error}") from error
    return kind(**values, **given)
