"""Recipes of training runs: read their stages from toml files, and check them."""

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from baselines.neural.architecture import load_architecture, parse_dimensions, rate_levels
from benchmark.errors import UsageError
from benchmark.plugins import load, place_of, require_methods
from benchmark.registry import import_target, is_python_file
from benchmark.system.text import read_toml

# Objective of a stage -> "module:class", which is imported when it is needed.
OBJECTIVES = {
    "single_rate": "baselines.neural.objectives:SingleRate",
    "multi_rate": "baselines.neural.objectives:MultiRate",
    "realism": "baselines.neural.objectives:Realism",
    "elic": "baselines.neural.objectives:ElicObjective",
    "ivr": "baselines.neural.objectives:IvrObjective",
    "hific": "baselines.neural.objectives:HificObjective",
    "multirealism": "baselines.neural.objectives:MultiRealismObjective",
    "pqmim_autoencoder": "baselines.neural.pqmim.objective:Autoencoder",
    "pqmim_transformer": "baselines.neural.pqmim.objective:Transformer",
    "dirac": "baselines.neural.diffusion.objective:DiffusionObjective",
    "hfd": "baselines.neural.diffusion.objective:DiffusionObjective",
}
BASE = "baselines.neural.training.objective:Objective"
FOLDER = Path(__file__).parent / "recipes"
DEFAULT_ARCHITECTURE = "crdr"  # its checkpoints are called `ours`

SINGLE_RATE = "single_rate"  # objective of stages at one of a network's rates
ANY_RATES, ONE_RATE = range(1, 65), range(1, 2)
FINITE = sys.float_info.max
Count = Annotated[int, msgspec.Meta(ge=0)]
AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]
Weight = Annotated[float, msgspec.Meta(ge=0, le=FINITE)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=FINITE)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stage of a run: objective and schedule; subclasses add fields of their objectives."""

    objective: str  # key of `OBJECTIVES`, or FILE.py:CLASS
    steps: AtLeastOne
    batch: AtLeastOne
    crop_px: AtLeastOne
    learning_rate: Weight
    # Share of the steps after which the learning rate falls
    decay_at: Annotated[float, msgspec.Meta(gt=0, le=1)]
    lambdas: tuple[Positive, ...] = ()  # weight of a bit per pixel at the rate levels 0, 1, ...
    decay: Literal["linear", "step"] = "step"
    final_share: Share = 0.1  # remaining share of the learning rate: at the end, or after a step
    # Later falls if decay = "step", as (share of the steps, remaining share of the learning rate)
    further_falls: tuple[tuple[Share, Share], ...] = ()
    warm_up_steps: Count = 0
    prior_rate_factor: Weight = 1.0  # learning rate of z's prior relative to other parameters
    optimiser: Literal["adam", "soap"] = "adam"  # of the network; quantiles and GANs use Adam
    quantile_learning_rate: Weight = 1e-3
    clip_norm: Weight = 1.0  # maximum norm of the gradient of all parameters; 0: no clipping
    frozen: tuple[str, ...] = ()  # untrained parts of the network: analysis, context ...
    float32: bool = False  # overrides the recipe's `autocast`
    reduced_share: Share = 0.0  # share of crops that are downsampled, by a factor of up to 2

    def __post_init__(self) -> None:
        if self.crop_px % 64:
            raise ValueError(f"crop_px is {self.crop_px}, not a multiple of 64")
        falls = [self.decay_at, *(share for share, _ in self.further_falls)]
        if self.further_falls and (self.decay != "step" or falls != sorted(falls)):
            raise ValueError('further_falls need decay = "step" and ascending shares of the steps')

    @property
    def crops(self) -> int:
        """Number of crops that the stage sees."""
        return self.steps * self.batch

    def rate_factor(self, step: int) -> float:
        """Return the learning rate's factor at a step, counted from 0."""
        if step < self.warm_up_steps:
            return (step + 1) / self.warm_up_steps
        start = self.decay_at * self.steps
        if step < start:
            return 1.0
        if self.decay == "step":
            shares = [share for start, share in self.further_falls if step >= start * self.steps]
            return [self.final_share, *shares][-1]
        progress = (step - start) / max(1.0, self.steps - start)
        return 1.0 - (1.0 - self.final_share) * min(1.0, progress)

    def check_network(self, rate_levels: int) -> None:
        """Raise `ValueError` if the stage cannot train a network of `rate_levels` levels."""
        kind = objective_class(self.objective)
        if rate_levels not in kind.rates:
            raise ValueError(
                f"a {self.objective} stage cannot train a network with {rate_levels} rates"
            )
        if is_python_file(self.objective):  # a user's loss may ignore lambdas
            return
        expected = 1 if self.objective == SINGLE_RATE else rate_levels
        if kind.weighs_rate and len(self.lambdas) != expected:
            raise ValueError(f"a {self.objective} stage needs {expected} lambdas")
        if self.reduced_share and not kind.uses_reduced_crops:
            raise ValueError("reduced_share must be 0, since the base codes unscaled photographs")

    @property
    def has_lpips(self) -> bool:
        """Whether LPIPS is part of the loss."""
        return self._has_weight("lpips")

    @property
    def has_gan(self) -> bool:
        """Whether a GAN is part of the loss."""
        return self._has_weight("gan")

    def _has_weight(self, name: str) -> bool:
        return any(getattr(self, field, 0) > 0 for field in (name, f"{name}_per_beta"))

    def find_resources(self) -> None:
        """Raise `Unavailable` if LPIPS is part of the loss and its weights are missing."""
        if self.has_lpips:
            from baselines.neural.perceptual import Perceptual

            Perceptual()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Stages that train a network one after another, on crops drawn from `seed`."""

    name: str
    stages: tuple[Stage, ...]
    architecture: str = DEFAULT_ARCHITECTURE  # key of `baselines.neural.architecture.ARCHITECTURES`
    sizes: str = ""  # name of the architecture's dimensions
    dimensions: Mapping[str, Any] | None = None  # dimensions, in place of a name in `sizes`
    caveat: str = ""  # shown next to the codec's name in tables and figures
    seed: Count = 1
    autocast: bool = False  # whether to use bfloat16 on processors with instructions for bfloat16
    # Decay of the weights' moving average, for validations and checkpoints; 0: no average.
    ema: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    initialise: Literal["random", "pca"] = "random"
    report_every_steps: AtLeastOne = 100
    validate_every_steps: AtLeastOne = 1000
    # Name of a network -> fields of its last stage; all share the earlier stages.
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def check_network(self) -> None:
        """Raise `ValueError` for unknown sizes, or a stage that cannot train the network."""
        levels = rate_levels(self.network())
        for stage in self.stages:
            stage.check_network(levels)

    def variant_recipes(self) -> dict[str, "Recipe"]:
        """Return the recipe of each variant; raises `ValueError` for a wrong field."""
        *earlier_stages, last_stage = self.stages
        stages = {
            name: parse_dimensions({**asdict(last_stage), **changes}, type(last_stage))
            for name, changes in self.variants.items()
        }
        return {
            name: replace(self, variants={}, stages=(*earlier_stages, stage))
            for name, stage in stages.items()
        }

    def network(self) -> Any:
        """Return the dimensions of the network; raises `ValueError`."""
        architecture = load_architecture(self.architecture)
        if self.dimensions is not None:
            return architecture.read(self.dimensions)
        if self.sizes not in architecture.sizes:
            names = ", ".join(architecture.sizes)
            raise ValueError(f"sizes is {self.sizes!r}, not one of {names}")
        return architecture.sizes[self.sizes]

    @property
    def steps(self) -> int:
        """Number of steps of all stages together."""
        return self.steps_before(len(self.stages))

    def steps_before(self, index: int) -> int:
        """Return the total steps of the stages before `index`."""
        return sum(stage.steps for stage in self.stages[:index])

    def total_step(self, index: int, step: int) -> int:
        """Return the number of a stage's step, counted over all stages."""
        return self.steps_before(index) + step

    def stage_of(self, step: int) -> int:
        """Return the index of a step's stage; steps are counted from 1 over all stages."""
        return sum(self.steps_before(number) < step for number in range(1, len(self.stages)))

    def crops_by_side(self, index: int, step: int) -> Counter[int]:
        """Return the number of crops up to a stage's step, by their side in pixels."""
        crops: Counter[int] = Counter()
        for stage in self.stages[:index]:
            crops[stage.crop_px] += stage.crops
        crops[self.stages[index].crop_px] += step * self.stages[index].batch
        return crops

    def crops_before(self, index: int) -> int:
        """Return the total crops of the stages before `index`."""
        return sum(stage.crops for stage in self.stages[:index])

    def crop_numbers(self, index: int, step: int) -> range:
        """Return the numbers of the crops in a stage's step, counted over the run."""
        batch = self.stages[index].batch
        start = self.crops_before(index) + step * batch
        return range(start, start + batch)


def objective_class(name: str) -> Any:
    """Return an objective's class; `ValueError` for a wrong name, `UsageError` for a file."""
    if name in OBJECTIVES:
        return import_target(OBJECTIVES[name])
    if not is_python_file(name):
        names = ", ".join([*OBJECTIVES, "FILE.py:CLASS"])
        raise ValueError(f"objective is {name!r}, not one of {names}")
    kind, base = load(name, "class"), import_target(BASE)
    require_methods(name, kind, "training loss", ["loss"])
    if not issubclass(kind, base) or kind.loss is base.loss:
        raise UsageError(
            f"{place_of(name)}: {kind.__name__} is not a training loss: derive it from "
            f"{base.__module__}.{base.__name__} and define `loss`"
        )
    return kind


def load_recipe(name: str) -> Recipe:
    """Read a recipe of this package by name, or a toml file; raises `UsageError`."""
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    try:
        record = read_toml(path, dict[str, Any])
    except FileNotFoundError:
        names = ", ".join(sorted(path.stem for path in FOLDER.glob("*.toml")))
        raise UsageError(f"there is no recipe {name!r}: choose {names}, or a .toml file") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as a recipe: {error}.") from error
    try:
        return recipe_from(path.stem, record, path.parent)
    except ValueError as error:
        raise UsageError(f"{path} is not a recipe: {error}.") from error


def recipe_from(name: str, record: Mapping[str, Any], folder: Path = Path()) -> Recipe:
    """Convert a toml table to a recipe; raises `ValueError` for a wrong field."""
    # an objective's FILE.py is looked up in `folder`, then in the current folder
    tables = record.get("stage", [])
    if not isinstance(tables, list | tuple) or not all(isinstance(t, Mapping) for t in tables):
        raise ValueError("stage is not a list of tables: write [[stage]] above each table")
    stages: list[Stage] = []
    for number, table in enumerate(tables, start=1):
        objective = str(table.get("objective"))
        if is_python_file(objective) and (folder / objective.partition(":")[0]).is_file():
            objective = str(folder / objective)
            table = {**table, "objective": objective}  # noqa: PLW2901
        try:
            stages.append(parse_dimensions(table, objective_class(objective).stage_type))
        except ValueError as error:
            raise ValueError(f"in stage {number}, {error}") from error
    fields = {field: value for field, value in record.items() if field != "stage"}
    recipe = parse_dimensions({"name": name, "stages": [], **fields}, Recipe)
    if not stages:
        raise ValueError("it has no [[stage]]")
    recipe = replace(recipe, stages=tuple(stages))
    for variant in (recipe, *recipe.variant_recipes().values()):
        variant.check_network()
    return recipe
