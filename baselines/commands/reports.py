"""Reports of a training run: progress on standard error, losses, functions of the user."""

from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path

import polars as pl

from baselines.neural.training.how import Log, Report
from baselines.neural.training.recipe import Recipe
from baselines.neural.training.run import entries, step_of
from benchmark.commands import output
from benchmark.plugins import failed_in, load
from benchmark.system.atomic import write_file, write_files

LOSSES, LOSSES_PNG = "losses.csv", "losses.png"


def log_of(names: Sequence[str], quiet: bool, run: Path, recipe: Recipe) -> Log:
    """Return a log that shows progress unless `quiet`, and calls each FILE.py:FUNCTION named."""
    functions = {name: load(name, "log") for name in names}
    lines = output.Lines(at_once=True)

    def log(report: Report) -> None:
        step = run_step(report, recipe)
        if not quiet:
            lines.say(lambda: f"{run.name}: {sentence(report, recipe)}", step == recipe.steps)
        for name, function in functions.items():
            try:
                function({**report, "run_step": step})
            except Exception as error:  # a user's code raises anything
                raise failed_in(name, function, "a report", error) from error

    return log


def sentence(report: Report, recipe: Recipe) -> str:
    """Return how far a run is, its last numbers, and the time that is left.

    As if all stages saw as many crops per second.
    """
    at, stages = report["stage"], recipe.stages
    parts = [f"stage {at + 1} of {len(stages)}, step {report['step']} of {stages[at].steps}"]
    known = {"loss": "loss {:.4g}", "bpp": "{:.3f} bpp", "validation_loss": "validation {:.4f}"}
    parts += [text.format(report[name]) for name, text in known.items() if name in report]
    for unit in ("steps", "crops"):
        rate = report[f"{unit}_per_second"]
        parts.append(f"{rate:.{1 if rate < 10 else 0}f} {unit}/s")
    stage, *later = recipe.stages[report["stage"] :]
    crops = (stage.steps - report["step"]) * stage.batch + sum(stage.crops for stage in later)
    seconds = crops / report["crops_per_second"]
    parts.append(f"{output.duration(seconds)} left")
    return ", ".join([*parts, f"{report['skipped']} skipped"])


def losses(reports: Iterable[Report], recipe: Recipe) -> pl.DataFrame:
    """Return a table of reports, stages counted from 1."""
    rows = []
    for entry in reports:
        stage, step = step_of(entry)
        position = {
            "stage": stage + 1,
            "step": step,
            "run_step": recipe.steps_before(stage) + step,
            "crops": recipe.crops_before(stage) + step * recipe.stages[stage].batch,
        }
        numbers = {name: of for name, of in entry.items() if isinstance(of, int | float)}
        rows.append(position | {k: of for k, of in numbers.items() if k not in position})
    frame = pl.DataFrame(rows, infer_schema_length=None)
    return frame.with_columns(pl.selectors.float().fill_nan(None))


def write_losses(folder: Path, recipe: Recipe) -> None:
    """Write the journal of a run's folder, if any, as a csv file beside it."""
    if reports := entries(folder):
        write_files(folder, {LOSSES: losses(reports, recipe).write_csv()}, what="losses")


def draw_losses(run: Path, recipe: Recipe) -> None:
    """Draw the loss and the validation's of a run's folder over its steps, as `losses.png`."""
    from matplotlib.figure import Figure

    reports = entries(run)
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    for name, style in (("loss", "-"), ("log_loss", "-"), ("validation_loss", "o")):
        points = [(run_step(of, recipe), of[name]) for of in reports if name in of]
        if points:
            axes.plot(*zip(*points, strict=True), style, label=name, markersize=3)
    for stage in range(1, len(recipe.stages)):
        axes.axvline(recipe.steps_before(stage), color="0.7", linewidth=0.8)
    axes.set(xlabel="step", title=f"{run.name}, {recipe.name}")
    if axes.has_data():
        axes.legend()
    drawing = BytesIO()
    figure.savefig(drawing, format="png", dpi=150)
    write_file(run / LOSSES_PNG, drawing.getvalue())


def run_step(report: Report, recipe: Recipe) -> int:
    """Return a report's step, counted through all stages."""
    return recipe.step_in_all(*step_of(report))
