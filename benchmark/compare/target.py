"""Search for the setting at which a codec's mean over images meets a rate or a metric's value.

The target is bracketed by the codec's points, or else by its extreme settings; the bracket shrinks
by interpolation of the logarithm, or by bisection after slow progress. Tried settings are stored as
ordinary cells, so that no later search measures them again.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
from polars import col

from benchmark.codec import Between, OneOf, Setting
from benchmark.compare.rank import RATE, Target, parse_target
from benchmark.errors import UsageError
from benchmark.measure.cells import Cell, Contender, plan
from benchmark.measure.loop import Announcer, run
from benchmark.measure.record import Failure, Outcome, ProgressFactory, TargetResult, no_progress
from benchmark.measure.request import Request
from benchmark.measure.select import Matrix, make_matrix, open_matrix
from benchmark.registry import DISTRIBUTION_METRICS, metric_class
from benchmark.rows.versions import prefer_own_rows
from benchmark.system.settings import isolated

MAX_GUESSES = 40  # maximum number of interpolated settings; a codec may be discontinuous
DIGITS = 6  # significant digits of a setting


@dataclass
class Search:
    """Search for one codec's setting that meets a target."""

    contender: Contender
    target: Target
    # Means by setting value; NaN: a cell failed or has no value
    means: dict[float, float] = field(default_factory=dict)
    _bracket_widths: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name of the searched setting."""
        return self.contender.sweep[0].name

    def nearest_value(self) -> float | None:
        """Return the value whose mean is nearest to the target."""
        valid_values = [value for value, mean in self.means.items() if not math.isnan(mean)]
        return min(valid_values, key=lambda v: self.target.distance(self.means[v]), default=None)

    def is_met(self) -> bool:
        """Return whether a mean is within the tolerance."""
        nearest_value = self.nearest_value()
        return nearest_value is not None and self.target.distance(self.means[nearest_value]) <= 1

    def next_values(self) -> list[float]:
        """Return the values to measure next; [] if the search has ended."""
        if self.is_met() or any(map(math.isnan, self.means.values())):
            return []
        end_values = self.contender.sweep[0].value, self.contender.sweep[-1].value
        if (bracket := self._bracket()) is not None:
            return self._values_between(*bracket)
        if untried_values := [
            value for value in dict.fromkeys(end_values) if value not in self.means
        ]:
            return untried_values
        return [value for value in self._extreme_settings() if value not in self.means]

    def reason(self) -> str:
        """Return why the target is not met, as the end of a sentence; "" if it is met."""
        if self.is_met():
            return ""
        failed_values = [value for value, mean in self.means.items() if math.isnan(mean)]
        if failed_values:
            return f"at {self.setting(failed_values[0])}, a cell failed or has no value"
        if self._bracket() is None:
            return "its settings do not reach the target"
        return "its settings are too coarse"

    def setting(self, value: float) -> Setting:
        """Return the setting with a value."""
        return Setting(self.name, value)

    def result(self) -> TargetResult:
        """Return the setting with the nearest mean, and why it misses the target, if it does."""
        value = self.nearest_value()
        setting = None if value is None else self.setting(value)
        mean = None if value is None else self.means[value]
        return TargetResult(self.contender.spec.label, setting, mean, self.reason())

    def _bracket(self) -> tuple[float, float] | None:
        values = sorted(self.means)
        is_above = [self.target.place(self.means[v]) > self.target.place(self.target.value)
                 for v in values]  # fmt: skip
        for index in range(len(values) - 1):
            if is_above[index] != is_above[index + 1]:
                return values[index], values[index + 1]
        return None

    def _extreme_settings(self) -> list[float]:
        """Return the extreme setting on the side where means approach the target."""
        accepted_settings, nearest_value = self._accepted_settings(), self.nearest_value()
        if not isinstance(accepted_settings, Between) or nearest_value is None:
            return []
        extreme_value = (
            accepted_settings.lowest
            if nearest_value == min(self.means)
            else accepted_settings.highest
        )
        return [extreme_value] if math.isfinite(extreme_value) else []

    def _accepted_settings(self) -> Between | OneOf:
        """Return the codec's settings; if it declares none, those between its points."""
        sweep, accepted_settings = self.contender.sweep, self.contender.accepts
        if self.contender.pack is not None:
            return OneOf(sweep)
        if isinstance(accepted_settings, OneOf):
            return accepted_settings
        if accepted_settings is not None and math.isfinite(
            accepted_settings.highest - accepted_settings.lowest
        ):
            return accepted_settings
        is_integer = all(float(setting.value).is_integer() for setting in sweep)
        return Between(self.name, -math.inf, math.inf, is_integer)

    def _values_between(self, low: float, high: float) -> list[float]:
        if len(self._bracket_widths) == MAX_GUESSES:
            return []
        accepted_settings, guess = self._accepted_settings(), self._guess(low, high)
        if isinstance(accepted_settings, OneOf):
            settings_between = [s.value for s in accepted_settings.settings if low < s.value < high]
            return sorted(settings_between, key=lambda value: abs(value - guess))[:1]
        if accepted_settings.whole:
            low, high = math.floor(low) + 1, math.ceil(high) - 1
            return [float(min(max(round(guess), low), high))] if low <= high else []
        guess = float(f"{guess:.{DIGITS}g}")
        return [guess] if low < guess < high else []

    def _guess(self, low: float, high: float) -> float:
        midpoint = (low + high) / 2
        self._bracket_widths.append(high - low)
        is_slow = (
            len(self._bracket_widths) > 1
            and self._bracket_widths[-1] > self._bracket_widths[-2] / 2
        )
        positions = [self.target.place(self.means[value]) for value in (low, high)]
        target_position = self.target.place(self.target.value)
        if is_slow or not all(map(math.isfinite, positions)):
            return midpoint
        if min(*positions, target_position) > 0:
            target_position, *positions = (
                math.log(value) for value in (target_position, *positions)
            )
        return low + (high - low) * (target_position - positions[0]) / (positions[1] - positions[0])


@isolated
def run_to_target(
    request: Request,
    *,
    progress: ProgressFactory = no_progress,
    announce: Announcer = lambda matrix, missing, workers: None,
) -> Outcome:
    """Measure each codec at the setting that meets `request.target`.

    The outcome has all tried cells, and the rows of the nearest settings. Raises the errors of
    `run`, and `UsageError` for an invalid target or for options that exclude a target.
    """
    target = parse_target(request.target)
    if target.name in DISTRIBUTION_METRICS:
        raise UsageError(
            f"--target {target}: {target.name} has no value per image: choose bpp or psnr"
        )
    for name in ("points", "part"):
        if getattr(request, name):
            raise UsageError(f"--target searches for settings: leave out --{name}")
    if target.name not in (RATE, *request.metrics):
        request = replace(request, metrics=(*request.metrics, target.name))
    request.use_folders()
    initial_matrix = open_matrix(request)
    searches = [Search(contender, target) for contender in initial_matrix.selection.contenders]
    for search in searches:
        values = _stored_values(initial_matrix.table, search)
        means = _means(initial_matrix, initial_matrix.table, search, values)
        search.means = {value: mean for value, mean in means.items() if not math.isnan(mean)}
    trial_request, failures, num_measured = replace(request, verify=False), list[Failure](), 0
    while trials := [(search, values) for search in searches if (values := search.next_values())]:
        matrix = _matrix_for(initial_matrix, request, trials)
        outcome = run(trial_request, matrix=matrix, progress=progress, announce=announce)
        num_measured += outcome.measured
        failures += outcome.failures
        for search, values in trials:
            search.means |= _means(initial_matrix, outcome.rows, search, values)
    tried_matrix = _matrix_for(
        initial_matrix, request, [(search, [*search.means]) for search in searches]
    )
    final_outcome = run(request, matrix=tried_matrix._replace(to_do=()), progress=progress)
    nearest_trials = [
        (search, [value]) for search in searches if (value := search.nearest_value()) is not None
    ]
    rows = final_outcome.rows.filter(
        col("cell").is_in(_keys(_matrix_for(initial_matrix, request, nearest_trials).cells))
    )
    results = tuple(search.result() for search in searches)
    failures += final_outcome.failures
    final_outcome = replace(
        final_outcome, rows=rows, measured=num_measured, failures=tuple(failures)
    )
    return replace(final_outcome, target=str(target), reached=results)


def _matrix_for(
    matrix: Matrix, request: Request, trials: Iterable[tuple[Search, Sequence[float]]]
) -> Matrix:
    """Return a matrix of the searched codecs at these values, with the same store."""
    contenders = tuple(
        search.contender._replace(sweep=tuple(map(search.setting, values)))
        for search, values in trials
        if values
    )
    selection = matrix.selection._replace(contenders=contenders)
    return make_matrix(request, matrix.sources, selection, matrix.store)


def _stored_values(rows: pl.DataFrame, search: Search) -> list[float]:
    spec = search.contender.spec
    key_columns = {"codec": spec.name, "variant": spec.variant, "setting_name": search.name}
    return rows.filter(**key_columns)["setting_value"].unique().sort().to_list()


def _means(
    matrix: Matrix, table: pl.DataFrame, search: Search, values: Iterable[float]
) -> dict[float, float]:
    """Return the mean at each value; NaN where an image has no valid row."""
    name = search.target.name
    column = name if name == RATE else metric_class(name).column
    means: dict[float, float] = {}
    valid_rows = prefer_own_rows(table).filter(col("status") == "ok")
    for value in values:
        contender = search.contender._replace(sweep=(search.setting(value),))
        cells = plan([contender], matrix.sources.dataset.name, matrix.sources.images)
        rows = valid_rows.filter(col("cell").is_in(_keys(cells)))
        is_complete = column in rows.columns and rows.height == len(cells) > 0
        means[float(value)] = float(np.mean(rows[column].to_numpy())) if is_complete else math.nan
    return means


def _keys(cells: Iterable[Cell]) -> list[str]:
    return [cell.key for cell in cells]
