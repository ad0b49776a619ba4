"""Runs of `bench train`, planned, trained and reported; the verb imports it to run."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import polars as pl
import torch
import typer

import benchmark
from baselines.neural.card import TENSORS, card_path
from baselines.neural.training import photographs
from baselines.neural.training.how import How, Log, Report
from baselines.neural.training.optimisers import precision_of
from baselines.neural.training.recipe import DEFAULT_ARCHITECTURE, Recipe
from baselines.neural.training.run import (
    MILESTONE,
    Run,
    entries,
    export,
    read_record,
    step_of,
)
from baselines.neural.training.trainer import FINISHED, INTERRUPTED, device_of, stage_costs, train
from benchmark.commands import output
from benchmark.errors import FOREIGN, UsageError
from benchmark.plugins import failed_in, load
from benchmark.registry import DATASETS
from benchmark.spec import CodecSpec
from benchmark.system.atomic import write_file, write_files
from benchmark.system.settings import chosen_device, use_device
from benchmark.system.text import bench_command

OURS = "ours"
LOSSES, LOSSES_PNG = "losses.csv", "losses.png"
MILESTONES = "milestones"  # folder of a run with their checkpoints
COMMON = "common"  # run of the stages that variants share
BETA = 3.84  # at which variants are compared


def opened(how: How, command: str, data: Sequence[str], validation: str | None, device: str) -> How:
    """Return `how` with its photographs; `command` makes the same networks, for their cards."""
    paths = tuple(path for place in data for path in _files_of(place))
    if validation:
        chosen = frozenset[str]()
        images = benchmark.open_dataset(validation).images
        pictures = [photographs.read_photograph(image.path) for image in images]
    else:
        chosen = photographs.held_out(photographs.photograph_paths(paths))
        if not (pictures := photographs.validation_pictures(list(chosen))):
            why = "held out to validate with, cannot be read: mend it, or give --validation"
            raise UsageError(f"{', '.join(sorted(chosen))}, {why}")
    # A card has the name of a dataset, or of a folder and its parent.
    names = [
        place if place in DATASETS else "/".join(Path(place).absolute().parts[1:][-2:])
        for place in data
    ]
    return replace(
        how,
        data=paths,
        data_name=", ".join(names),
        validation=pictures,
        held_out=chosen,
        device=device_here(device),
        command=command,
    )


def device_here(asked: str) -> str:
    """Return the kind of device to train on; a card that was named becomes torch's current one."""
    kind = use_device(asked)
    if ":" in asked:
        torch.cuda.set_device(chosen_device())
    return kind


def _files_of(place: str) -> list[Path]:
    path = Path(place)
    if path.is_dir() or (path.is_file() and path.suffix.lower() == photographs.ARCHIVE):
        return [path]
    if place not in DATASETS:
        raise UsageError(f"--data {place}: there is no such folder, tar archive or dataset")
    return [image.path for image in benchmark.open_dataset(place).images]


def runs_of(recipe: Recipe, folder: Path) -> list[Run]:
    """Return the run of a recipe, or those of its variants behind what they share."""
    own = recipe.architecture == DEFAULT_ARCHITECTURE
    name = OURS if own else recipe.architecture  # its codec looks for a file of that name
    if not recipe.variants:
        return [Run(folder, folder / f"{name}.safetensors", recipe)]
    runs, earlier = [], recipe.stages[:-1]
    common = folder / COMMON if earlier else None
    if common:
        shared = replace(recipe, stages=earlier, variants={})
        runs.append(Run(common, folder / f"{COMMON}.safetensors", shared))
    for name, changed in recipe.varied().items():
        target = folder / f"{name}.safetensors"
        runs.append(Run(folder / name, target, changed, after=common))
    return runs


def say_how_to_compare(recipe: Recipe, folder: Path) -> None:
    """Print the commands that measure and draw the variants of a recipe."""
    specs = [
        CodecSpec(
            "ours", (("beta", f"{BETA:g}"), ("checkpoint", str(folder / f"{name}.safetensors")))
        )
        for name in recipe.variants
    ]
    codecs = ",".join(spec.text for spec in specs)
    names = zip(specs, recipe.variants, strict=True)
    labels = [f"{spec.label}={name}" for spec, name in names]
    results = folder / "results"
    _say(f"to compare: {bench_command('run', codecs=codecs, results=results)}")
    _say(f"to draw: {bench_command('figures rd', results=results, label=labels)}")


def check_runs(runs: Sequence[Run], how: How, device: str) -> None:
    """Print memory, speed and time of each stage of the runs, with nothing written."""
    chosen = device_of(device)
    paths = set(photographs.photograph_paths(how.data)) - how.held_out
    seen = photographs.open_photographs(sorted(paths))
    for run in runs:
        for stage in run.recipe.stages:
            stage.find_resources()
        _say(f"{run.name}: some steps of each stage on {chosen}, at most half a minute each")
        seconds, on = 0.0, "" if chosen == "cpu" else "GPU "
        for number, cost in enumerate(stage_costs(run, chosen, seen), start=1):
            memory = f"{cost.memory_bytes / 1e9:.3g} GB of tensors, " if cost.memory_bytes else ""
            hours = cost.steps * cost.seconds / 3600
            _say(
                f"{run.name}, stage {number}, {cost.objective}: {cost.steps} steps, {memory}"
                f"{cost.macs / 1e9:.3g} billion multiply-accumulates a step, "
                f"{1 / cost.seconds:.3g} steps/s, {hours:.3g} {on}hours"
            )
            seconds += cost.steps * cost.seconds
        _say(f"{run.name}: {output.duration(seconds)}, without reports and validations")


def train_all(runs: Sequence[Run], how: How, quiet: bool) -> None:
    """Train each run to its end and a checkpoint; `typer.Exit` where time or a signal ends it."""
    if len(runs) > 1 and not quiet:
        done = sum(run.is_complete() for run in runs)
        left = sum(run.recipe.steps - run.steps_reported() for run in runs)
        before = f"{len(runs)} networks, {done} finished: {left} steps left"
        print(before, file=sys.stderr, flush=True)
    for run in runs:
        if run.is_complete():
            _say(f"{run.target}: finished before, {run.recipe.steps} steps")
            continue
        _train(run, how, quiet)
        if how.is_over and run is not runs[-1]:
            _say(f"the time is over after {run.name}; the same command resumes with the next")
            raise typer.Exit(0)


def how_far(recipe: Recipe, done: int) -> str:
    """Return the progress of a run after a step in words."""
    if done == recipe.steps:
        return f"finished, {done} steps"
    stage = recipe.stage_of(done)
    at = f"stage {stage + 1} of {len(recipe.stages)} at step {done - recipe.steps_before(stage)}"
    where = f", in {at}" if done else ""
    return f"{done} of {recipe.steps} steps ({100 * done / recipe.steps:.0f} %){where}"


def export_runs(runs: Sequence[Run], how: How) -> None:
    """Export the checkpoints of what is trained so far and of milestones, and draw the losses."""
    for run in [run for run in runs if run.folder.exists()] or runs:
        card = export(run, how)
        recipe = read_record(run.folder).recipe
        draw_losses(run.folder, recipe)
        far = how_far(recipe, sum(card.precision_steps.values()))
        print(f"{run.target}: checkpoint {card.sha256[:8]}, {far}", flush=True)
        for state in sorted(run.folder.glob(MILESTONE.format("*[0-9]"))):
            name = f"{recipe.architecture}-{state.stem.partition('-')[2]}{TENSORS}"
            target = run.folder / MILESTONES / name
            card_file = card_path(target)
            if not card_file.exists() or card_file.stat().st_mtime < state.stat().st_mtime:
                target.parent.mkdir(exist_ok=True)
                export(replace(run, target=target), how, state.name)


def _train(run: Run, how: How, quiet: bool) -> None:
    begun: list[int] = []

    def begins(saved: int, reported: int) -> None:
        begun.append(saved)
        if quiet:
            return
        stage = run.recipe.stages[run.recipe.stage_of(saved + 1)]
        precision: str = precision_of(run.recipe, stage, how.device)
        if precision == "float32" and run.recipe.autocast and not stage.float32:
            precision += ", since the processor has no instructions for bfloat16"
        lost = f"; {reported - saved} later steps were not saved" if reported > saved else ""
        where = f"on {how.device} in {precision}{lost}"
        print(f"{run.name}: {how_far(run.recipe, saved)}, {where}", file=sys.stderr, flush=True)

    try:
        ended = train(run, how, begins)
    finally:
        if begun:
            write_losses(run.folder, run.recipe)
    if ended != FINISHED:
        why = f"{ended} after {how_far(run.recipe, run.steps_reported())}"
        _say(f"{run.folder}: {why}; the same command resumes from there")
        raise typer.Exit(130 if ended == INTERRUPTED else 0)
    if not quiet:
        print(f"{run.name}: writing {run.target}", file=sys.stderr, flush=True)
    export_runs([run], how)


def _say(sentence: str) -> None:
    print(sentence, flush=True)


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
            except FOREIGN as error:
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
