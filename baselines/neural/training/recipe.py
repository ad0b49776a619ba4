"""Recipes of training runs: stages read from a toml file and checked, their objectives by name."""

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
from benchmark.registry import imported, names_file
from benchmark.system.text import read_toml

# Objective of a stage -> "module:class", as text: looking one up imports it.
OBJECTIVES = {
    "single_rate": "baselines.neural.objectives:SingleRate",
    "multi_rate": "baselines.neural.objectives:MultiRate",
    "realism": "baselines.neural.objectives:Realism",
    "elic": "baselines.neural.objectives:Elic",
    "ivr": "baselines.neural.objectives:Ivr",
    "hific": "baselines.neural.objectives:Hific",
    "multirealism": "baselines.neural.objectives:MultiRealism",
    "pqmim_autoencoder": "baselines.neural.pqmim.objective:Autoencoder",
    "pqmim_transformer": "baselines.neural.pqmim.objective:Transformer",
    "dirac": "baselines.neural.diffusion.objective:DiffusionObjective",
    "hfd": "baselines.neural.diffusion.objective:DiffusionObjective",
}
BASE = "baselines.neural.training.objective:Objective"
FOLDER = Path(__file__).parent / "recipes"
DEFAULT_ARCHITECTURE = "crdr"  # whose checkpoints are called `ours`

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
    """Part of a run with its objective and its schedule; a subclass has an objective's fields."""

    objective: str  # of `OBJECTIVES`, or FILE.py:CLASS
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
    reduced_share: Share = 0.0  # of the crops, made from squares of 1 to 2 times their side

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
        """Return the factor of the learning rate in a step, counted from 0."""
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
        kind = objective_class(self.objective)
        if rate_levels not in kind.rates:
            raise ValueError(f"a {self.objective} stage trains no network of {rate_levels} rates")
        if names_file(self.objective):  # which weighs as it likes
            return
        expected = 1 if self.objective == SINGLE_RATE else rate_levels
        if kind.weighs_rate and len(self.lambdas) != expected:
            raise ValueError(f"a {self.objective} stage has {expected} lambdas")
        if self.reduced_share and not kind.reduces:
            raise ValueError("reduced_share is not 0: the base codes photographs as they are")

    @property
    def has_lpips(self) -> bool:
        """True if LPIPS is part of the loss."""
        return self._weighs("lpips")

    @property
    def has_gan(self) -> bool:
        """True if a GAN is part of the loss."""
        return self._weighs("gan")

    def _weighs(self, name: str) -> bool:
        return any(getattr(self, field, 0) > 0 for field in (name, f"{name}_per_beta"))

    def find_resources(self) -> None:
        """Raise `Unavailable` where LPIPS is part of the loss and its weights are missing."""
        if self.has_lpips:
            from baselines.neural.perceptual import Perceptual

            Perceptual()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Stages that train a network in turn, on crops made from `seed`."""

    name: str
    stages: tuple[Stage, ...]
    architecture: str = DEFAULT_ARCHITECTURE  # of `baselines.neural.architecture.ARCHITECTURES`
    sizes: str = ""  # name of dimensions of the architecture
    dimensions: Mapping[str, Any] | None = None  # in place of a name, as on cards
    caveat: str = ""  # shown beside the name of the result in tables and figures
    seed: Count = 1
    autocast: bool = False  # bfloat16 where the processor has instructions for it
    # Decay of the mean of weights that validations and checkpoints have; 0: the weights themselves.
    ema: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    initialise: Literal["random", "pca"] = "random"
    report_every_steps: AtLeastOne = 100
    validate_every_steps: AtLeastOne = 1000
    # Networks by name that differ in fields of the last stage; the stages before are trained once.
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def check_network(self) -> None:
        """Raise `ValueError` where the architecture has no such sizes or cannot have a stage."""
        levels = rate_levels(self.network())
        for stage in self.stages:
            stage.check_network(levels)

    def varied(self) -> dict[str, "Recipe"]:
        """Return the recipe of each variant; raises `ValueError` that names the wrong field."""
        *earlier, last = self.stages
        return {
            name: replace(
                self,
                variants={},
                stages=(*earlier, parse_dimensions({**asdict(last), **own}, type(last))),
            )
            for name, own in self.variants.items()
        }

    def network(self) -> Any:
        """Return the dimensions of the network; raises `ValueError`."""
        architecture = load_architecture(self.architecture)
        if self.dimensions is not None:
            return architecture.read(self.dimensions)
        if self.sizes not in architecture.sizes:
            known = ", ".join(architecture.sizes)
            raise ValueError(f"sizes is {self.sizes!r}, not one of {known}")
        return architecture.sizes[self.sizes]

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return self.steps_before(len(self.stages))

    def steps_before(self, index: int) -> int:
        """Return the steps of all stages before that of an index."""
        return sum(stage.steps for stage in self.stages[:index])

    def step_in_all(self, index: int, step: int) -> int:
        """Return a step of a stage, counted through all stages."""
        return self.steps_before(index) + step

    def stage_of(self, step: int) -> int:
        """Return the index of the stage of a step, counted from 1 through all stages."""
        return sum(self.steps_before(number) < step for number in range(1, len(self.stages)))

    def crops_by_side(self, index: int, step: int) -> Counter[int]:
        """Return how many crops are seen up to a step of a stage, by their side in pixels."""
        seen: Counter[int] = Counter()
        for stage in self.stages[:index]:
            seen[stage.crop_px] += stage.crops
        seen[self.stages[index].crop_px] += step * self.stages[index].batch
        return seen

    def crops_before(self, index: int) -> int:
        """Return the crops seen in all stages before that of an index."""
        return sum(stage.crops for stage in self.stages[:index])

    def crop_numbers(self, index: int, step: int) -> range:
        """Return the numbers in the run of the crops of a step of a stage."""
        batch = self.stages[index].batch
        start = self.crops_before(index) + step * batch
        return range(start, start + batch)


def objective_class(name: str) -> Any:
    """Return the class of an objective, of `OBJECTIVES` or a `FILE.py:CLASS`.

    Raises `ValueError` for any other name, `UsageError` for a file without such a class.
    """
    if name in OBJECTIVES:
        return imported(OBJECTIVES[name])
    if not names_file(name):
        known = ", ".join([*OBJECTIVES, "FILE.py:CLASS"])
        raise ValueError(f"objective is {name!r}, not one of {known}")
    made, base = load(name, "class"), imported(BASE)
    require_methods(name, made, "training loss", ["loss"])
    if not issubclass(made, base) or made.loss is base.loss:
        raise UsageError(
            f"{place_of(name)}: {made.__name__} is no training loss: derive it from "
            f"{base.__module__}.{base.__name__}, with a `loss` of its own"
        )
    return made


def load_recipe(name: str) -> Recipe:
    """Return a recipe of this package, or that of a toml file; raises `UsageError`."""
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    try:
        record = read_toml(path, dict[str, Any])
    except FileNotFoundError:
        known = ", ".join(sorted(path.stem for path in FOLDER.glob("*.toml")))
        raise UsageError(f"No recipe {name!r}: it is one of {known}, or a .toml file.") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as a recipe: {error}.") from error
    try:
        return recipe_from(path.stem, record, path.parent)
    except ValueError as error:
        raise UsageError(f"{path} is no recipe: {error}.") from error


def recipe_from(name: str, record: Mapping[str, Any], folder: Path = Path()) -> Recipe:
    """Return the recipe of a toml table; raises `ValueError` that names the wrong field.

    folder: where FILE.py of an objective is looked up first, then in the current folder.
    """
    listed = record.get("stage", [])
    if not isinstance(listed, list | tuple) or not all(isinstance(t, Mapping) for t in listed):
        raise ValueError("stage is not a list of tables: write [[stage]] above each")
    stages: list[Stage] = []
    for number, table in enumerate(listed, start=1):
        objective = str(table.get("objective"))
        if names_file(objective) and (folder / objective.partition(":")[0]).is_file():
            objective = str(folder / objective)
            table = {**table, "objective": objective}  # noqa: PLW2901
        try:
            stages.append(parse_dimensions(table, objective_class(objective).stage_type))
        except ValueError as error:
            raise ValueError(f"in stage {number}, {error}") from error
    others = {field: value for field, value in record.items() if field != "stage"}
    recipe = parse_dimensions({"name": name, "stages": [], **others}, Recipe)
    if not stages:
        raise ValueError("it has no [[stage]]")
    recipe = replace(recipe, stages=tuple(stages))
    for changed in (recipe, *recipe.varied().values()):
        changed.check_network()
    return recipe
