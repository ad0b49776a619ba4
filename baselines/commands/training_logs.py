"""Logs of a training run beside its journal: a csv table, TensorBoard, a function of the user."""

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from baselines.neural.training.curves import CSV, write_curves
from baselines.neural.training.loop import Log
from baselines.neural.training.recipe import Recipe
from baselines.neural.training.run_folder import step_of
from benchmark.errors import UnknownName, UsageError
from benchmark.registry import names_file
from benchmark.user_file import failed_in, load

FOLDER = "tensorboard"  # in that of a run


def csv_log(run: Path, recipe: Recipe) -> Log:
    """Return a log that writes a run's journal as a csv file, anew with each report."""
    return lambda _report: write_curves(run, recipe, [CSV])


def tensorboard_log(run: Path, recipe: Recipe) -> Log:
    """Return a log of TensorBoard events; what a resumed run repeats is replaced there."""
    from torch.utils.tensorboard import SummaryWriter

    writers: list[Any] = []

    def log(report: Mapping[str, Any]) -> None:
        step = run_step(report, recipe)
        if not writers:
            writers.append(SummaryWriter(str(run / FOLDER), purge_step=step))
        for name, value in report.items():
            if isinstance(value, int | float) and name not in ("stage", "step"):
                writers[0].add_scalar(name, value, step)
        writers[0].flush()

    return log


LOGS: dict[str, Callable[[Path, Recipe], Log]] = {"csv": csv_log, "tensorboard": tensorboard_log}


def log_of(names: Sequence[str], run: Path, recipe: Recipe) -> Log:
    """Return a log that passes each report to the logs named; see `require_logs`."""
    logs = [
        _of_user(name, load(name, "log"), recipe) if names_file(name) else LOGS[name](run, recipe)
        for name in names
    ]

    def log(report: Mapping[str, Any]) -> None:
        for write in logs:
            write(report)

    return log


def require_logs(names: Sequence[str]) -> None:
    """Raise `UsageError` for a name that is no log, or one that cannot be written here."""
    for name in names:
        if names_file(name):
            load(name, "log")
        elif name not in LOGS:
            raise UnknownName("log", name, [*LOGS, "FILE.py:FUNCTION"])
        elif name == "tensorboard" and find_spec("tensorboard") is None:
            raise UsageError(
                "--log tensorboard: the package tensorboard is not installed: install it, or take "
                "--log csv"
            )


def run_step(report: Mapping[str, Any], recipe: Recipe) -> int:
    """Return a report's step, counted through all stages."""
    stage, step = step_of(report)
    return recipe.steps_before(stage) + step


def _of_user(name: str, function: Callable[[dict[str, Any]], object], recipe: Recipe) -> Log:
    def log(report: Mapping[str, Any]) -> None:
        try:
            function({**report, "run_step": run_step(report, recipe)})
        except Exception as error:  # a user's code raises anything
            raise failed_in(name, function, "a report", error) from error

    return log
