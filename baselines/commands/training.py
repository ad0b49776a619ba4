"""Runs of `bench train`: plan, train, report."""

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
from baselines.neural.training.optimisers import precision_of
from baselines.neural.training.options import Log, Report, TrainingOptions
from baselines.neural.training.recipe import DEFAULT_ARCHITECTURE, Recipe
from baselines.neural.training.run import (
    MILESTONE,
    TrainingRun,
    export,
    read_record,
    read_reports,
    step_of,
)
from baselines.neural.training.trainer import FINISHED, INTERRUPTED, device_of, stage_costs, train
from benchmark.commands import output
from benchmark.errors import FOREIGN_ERRORS, UsageError
from benchmark.plugins import author_failure, load
from benchmark.registry import DATASETS
from benchmark.spec import CodecSpec
from benchmark.system.atomic import write_file, write_files
from benchmark.system.settings import chosen_device, use_device
from benchmark.system.text import bench_command

LOSSES, LOSSES_PNG = "losses.csv", "losses.png"
MILESTONES = "milestones"  # subfolder of a run with the checkpoints of milestones
COMMON_RUN = "common"  # name of the run that trains the stages shared by variants
COMPARED_BETA = 3.84


def add_photographs(
    options: TrainingOptions,
    command: str,
    data: Sequence[str],
    validation: str | None,
    device: str,
) -> TrainingOptions:
    """Add photographs for training and validation to the options; cards show `command`."""
    paths = tuple(path for source in data for path in _training_files(source))
    if validation:
        held_out = frozenset[str]()
        images = benchmark.open_dataset(validation).images
        pictures = [photographs.read_photograph(image.path) for image in images]
    else:
        held_out = photographs.choose_validation(photographs.photograph_paths(paths))
        if not (pictures := photographs.validation_pictures(list(held_out))):
            unreadable = ", ".join(sorted(held_out))
            raise UsageError(
                f"none of the photographs held out for validation can be read ({unreadable}): "
                "replace the files, or give --validation"
            )
    # a card names a dataset, or a folder and its parent
    names = [
        source if source in DATASETS else "/".join(Path(source).absolute().parts[1:][-2:])
        for source in data
    ]
    return replace(
        options,
        data=paths,
        data_name=", ".join(names),
        validation=pictures,
        held_out=held_out,
        device=select_device(device),
        command=command,
    )


def select_device(device: str) -> str:
    """Return the kind of device to train on; make a numbered GPU torch's current device."""
    kind = use_device(device)
    if ":" in device:
        torch.cuda.set_device(chosen_device())
    return kind


def _training_files(source: str) -> list[Path]:
    path = Path(source)
    if path.is_dir() or (path.is_file() and path.suffix.lower() == photographs.ARCHIVE):
        return [path]
    if source not in DATASETS:
        raise UsageError(f"--data {source} is neither a folder, nor a tar archive, nor a dataset")
    return [image.path for image in benchmark.open_dataset(source).images]


def plan_runs(recipe: Recipe, folder: Path) -> list[TrainingRun]:
    """Return a recipe's run, or its variants' runs after the run of the stages they share."""
    is_default = recipe.architecture == DEFAULT_ARCHITECTURE
    name = "ours" if is_default else recipe.architecture  # the file that the codec looks for
    if not recipe.variants:
        return [TrainingRun(folder, folder / f"{name}.safetensors", recipe)]
    runs, shared_stages = [], recipe.stages[:-1]
    common_folder = folder / COMMON_RUN if shared_stages else None
    if common_folder:
        common_recipe = replace(recipe, stages=shared_stages, variants={})
        target = folder / f"{COMMON_RUN}.safetensors"
        runs.append(TrainingRun(common_folder, target, common_recipe))
    for name, variant in recipe.variant_recipes().items():
        target = folder / f"{name}.safetensors"
        runs.append(TrainingRun(folder / name, target, variant, predecessor=common_folder))
    return runs


def print_comparison_commands(recipe: Recipe, folder: Path) -> None:
    """Print the commands that measure and draw a recipe's variants."""
    specs = [
        CodecSpec(
            "ours",
            (("beta", f"{COMPARED_BETA:g}"), ("checkpoint", str(folder / f"{name}.safetensors"))),
        )
        for name in recipe.variants
    ]
    codecs = ",".join(spec.text for spec in specs)
    names = zip(specs, recipe.variants, strict=True)
    labels = [f"{spec.label}={name}" for spec, name in names]
    results = folder / "results"
    _print_line(f"to compare: {bench_command('run', codecs=codecs, results=results)}")
    _print_line(f"to draw: {bench_command('figures rd', results=results, label=labels)}")


def check_runs(runs: Sequence[TrainingRun], options: TrainingOptions, device: str) -> None:
    """Print the memory, speed and time of each stage of each run; write nothing."""
    device = device_of(device)
    paths = set(photographs.photograph_paths(options.data)) - options.held_out
    photos = photographs.open_photographs(sorted(paths))
    for run in runs:
        for stage in run.recipe.stages:
            stage.find_resources()
        _print_line(f"{run.name}: timing each stage on {device}, for at most half a minute")
        seconds, kind = 0.0, "" if device == "cpu" else "GPU "
        for number, cost in enumerate(stage_costs(run, device, photos), start=1):
            memory = f"{cost.memory_bytes / 1e9:.3g} GB of tensors, " if cost.memory_bytes else ""
            hours = cost.steps * cost.seconds / 3600
            _print_line(
                f"{run.name}, stage {number}, {cost.objective}: {cost.steps} steps, {memory}"
                f"{cost.macs / 1e9:.3g} billion multiply-accumulates per step, "
                f"{1 / cost.seconds:.3g} steps/s, {hours:.3g} {kind}hours"
            )
            seconds += cost.steps * cost.seconds
        _print_line(f"{run.name}: {output.duration(seconds)}, excluding reports and validation")


def train_all(runs: Sequence[TrainingRun], options: TrainingOptions, quiet: bool) -> None:
    """Train and export each run; raises `typer.Exit` when the time is up or a signal arrives."""
    if len(runs) > 1 and not quiet:
        num_finished = sum(run.is_complete() for run in runs)
        steps = sum(run.recipe.steps - run.steps_reported() for run in runs)
        progress = f"{len(runs)} networks, {num_finished} finished: {steps} steps left"
        print(progress, file=sys.stderr, flush=True)
    for run in runs:
        if run.is_complete():
            _print_line(f"{run.target}: already finished, {run.recipe.steps} steps")
            continue
        _train_and_export(run, options, quiet)
        if options.is_out_of_time and run is not runs[-1]:
            _print_line(
                f"the time is up after {run.name}; the same command continues with the next run"
            )
            raise typer.Exit(0)


def progress_text(recipe: Recipe, steps: int) -> str:
    """Describe the progress of a run after `steps` steps."""
    if steps == recipe.steps:
        return f"finished, {steps} steps"
    stage = recipe.stage_of(steps)
    stage_step = steps - recipe.steps_before(stage)
    position = f", stage {stage + 1} of {len(recipe.stages)}, step {stage_step}" if steps else ""
    return f"{steps} of {recipe.steps} steps ({100 * steps / recipe.steps:.0f} %){position}"


def export_runs(runs: Sequence[TrainingRun], options: TrainingOptions) -> None:
    """Export the last state and the milestones of each run, and draw the losses."""
    for run in [run for run in runs if run.folder.exists()] or runs:
        card = export(run, options)
        recipe = read_record(run.folder).recipe
        draw_losses(run.folder, recipe)
        progress = progress_text(recipe, sum(card.precision_steps.values()))
        _print_line(f"{run.target}: checkpoint {card.sha256[:8]}, {progress}")
        for state in sorted(run.folder.glob(MILESTONE.format("*[0-9]"))):
            name = f"{recipe.architecture}-{state.stem.partition('-')[2]}{TENSORS}"
            target = run.folder / MILESTONES / name
            card_file = card_path(target)
            if not card_file.exists() or card_file.stat().st_mtime < state.stat().st_mtime:
                target.parent.mkdir(exist_ok=True)
                export(replace(run, target=target), options, state.name)


def _train_and_export(run: TrainingRun, options: TrainingOptions, quiet: bool) -> None:
    saved_steps: list[int] = []

    def announce(num_saved: int, num_reported: int) -> None:
        saved_steps.append(num_saved)
        if quiet:
            return
        stage = run.recipe.stages[run.recipe.stage_of(num_saved + 1)]
        precision: str = precision_of(run.recipe, stage, options.device)
        if precision == "float32" and run.recipe.autocast and not stage.float32:
            precision += ", since the CPU has no bfloat16 instructions"
        num_lost = num_reported - num_saved
        lost_note = f"; {num_lost} later steps were not saved" if num_lost > 0 else ""
        progress = (
            f"{progress_text(run.recipe, num_saved)}, on {options.device} in {precision}{lost_note}"
        )
        print(f"{run.name}: {progress}", file=sys.stderr, flush=True)

    try:
        outcome = train(run, options, announce)
    finally:
        if saved_steps:
            write_losses(run.folder, run.recipe)
    if outcome != FINISHED:
        progress = progress_text(run.recipe, run.steps_reported())
        _print_line(
            f"{run.folder}: {outcome} after {progress}; the same command resumes at this step"
        )
        raise typer.Exit(130 if outcome == INTERRUPTED else 0)
    if not quiet:
        print(f"{run.name}: writing {run.target}", file=sys.stderr, flush=True)
    export_runs([run], options)


def _print_line(text: str) -> None:
    print(text, flush=True)


def make_log(names: Sequence[str], quiet: bool, run: Path, recipe: Recipe) -> Log:
    """Return a log that prints progress unless `quiet`, and calls each FILE.py:FUNCTION."""
    functions = {name: load(name, "log") for name in names}
    lines = output.ProgressLines(immediate=True)

    def log(report: Report) -> None:
        step = step_in_run(report, recipe)
        if not quiet:
            lines.say(lambda: f"{run.name}: {report_text(report, recipe)}", step == recipe.steps)
        for name, function in functions.items():
            try:
                function({**report, "run_step": step})
            except FOREIGN_ERRORS as error:
                raise author_failure(name, function, "a report", error) from error

    return log


def report_text(report: Report, recipe: Recipe) -> str:
    """Return progress, values, and time left at the speed of the current stage."""
    index, stages = report["stage"], recipe.stages
    parts = [f"stage {index + 1} of {len(stages)}, step {report['step']} of {stages[index].steps}"]
    formats = {"loss": "loss {:.4g}", "bpp": "{:.3f} bpp", "validation_loss": "validation {:.4f}"}
    parts += [text.format(report[name]) for name, text in formats.items() if name in report]
    for unit in ("steps", "crops"):
        rate = report[f"{unit}_per_second"]
        parts.append(f"{rate:.{1 if rate < 10 else 0}f} {unit}/s")
    stage, *later_stages = recipe.stages[report["stage"] :]
    crops = (stage.steps - report["step"]) * stage.batch + sum(
        stage.crops for stage in later_stages
    )
    seconds = crops / report["crops_per_second"]
    parts.append(f"{output.duration(seconds)} left")
    return ", ".join([*parts, f"{report['skipped']} steps skipped"])


def losses_table(reports: Iterable[Report], recipe: Recipe) -> pl.DataFrame:
    """Return the reports as a table, with stages counted from 1."""
    rows = []
    for entry in reports:
        stage, step = step_of(entry)
        position = {
            "stage": stage + 1,
            "step": step,
            "run_step": recipe.steps_before(stage) + step,
            "crops": recipe.crops_before(stage) + step * recipe.stages[stage].batch,
        }
        numbers = {
            name: value
            for name, value in entry.items()
            if isinstance(value, int | float) and name not in position
        }
        rows.append(position | numbers)
    frame = pl.DataFrame(rows, infer_schema_length=None)
    return frame.with_columns(pl.selectors.float().fill_nan(None))


def write_losses(folder: Path, recipe: Recipe) -> None:
    """Write the reports in a run's folder, if any, to `losses.csv`."""
    if reports := read_reports(folder):
        write_files(folder, {LOSSES: losses_table(reports, recipe).write_csv()}, what="losses")


def draw_losses(run: Path, recipe: Recipe) -> None:
    """Plot training and validation losses over the steps, as `losses.png` in the run's folder."""
    from matplotlib.figure import Figure

    reports = read_reports(run)
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    for name, style in (("loss", "-"), ("log_loss", "-"), ("validation_loss", "o")):
        points = [(step_in_run(r, recipe), r[name]) for r in reports if name in r]
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


def step_in_run(report: Report, recipe: Recipe) -> int:
    """Return a report's step, counted over all stages."""
    return recipe.total_step(*step_of(report))
