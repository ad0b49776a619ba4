"""`bench run`, `bench plan` and `bench rescore`: measure missing cells, or estimate a run."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from benchmark.answer import Answer, Column
from benchmark.commands import options, output
from benchmark.compare.rule import Rule
from benchmark.errors import Unavailable
from benchmark.measure.request import ImageOptions, Request, move_settings_to_points, parse_points
from benchmark.option import ARGUMENT, DRAWING, TARGET, opt, subset
from benchmark.registry import per_image_names
from benchmark.spec import codec_class, parse_codec, resolve, split_codecs
from benchmark.system.text import counted

FEW_IMAGES = 20  # number of images in a short run that the plan suggests
LONG_SECONDS = 43_200  # if a run takes longer, its plan suggests shorter runs
ExperimentFile = Annotated[
    Path | None,
    opt(
        ARGUMENT,
        "File of options; the command line overrides them.",
        value="EXPERIMENT.toml",
        options_file_for="run",
    ),
]
FIGURES = opt(DRAWING, "Figures to draw: rd,bd,complexity,realism,crops.", value_form="listed")
SAVE = opt(TARGET, "Save the options to a file that can repeat the run.", path_check="file")


def run(
    request: Request,
    rule: Rule,
    experiment: ExperimentFile = None,
    figures: Annotated[tuple[str, ...], FIGURES] = (),
    save: Annotated[Path | None, SAVE] = None,
    allow_few: options.AllowFew = False,
    table: options.Table = None,
    verbose: options.Verbose = False,
    as_json: options.AsJson = False,
    command: str = "",
) -> None:
    """Encode, decode and score images, and store the rows.

    Measures each codec variant once at each setting on each image; if repeated, resumes.
    Prints the codecs by BD-rate, best first.

    Exit code 0; 1: a cell failed, or an image of a registered dataset cannot be read (those of a
    folder are skipped); 2: invalid request; 130: interrupted.

    Examples:
      bench run --codecs jpeg,webp --dataset sample
      bench run --codecs ours,./mine.py:Mine --dataset photos --limit 10
      bench run --codecs jpeg --points jpeg.quality=10,30 --metrics psnr,ms_ssim
      bench run --codecs dirac:steps=100 --dataset kodak --draws 4
      bench run --codecs jpeg,avif --dataset kodak --target bpp=0.3
      bench run --codecs jpeg,webp --dataset kodak,photos/ --save exp.toml
      bench run exp.toml --limit 2
      bench run --codecs vtm --dataset kodak --part 3/24 --results parts/3
    """
    from benchmark.commands import outcome
    from benchmark.datasets.dataset import open_dataset

    if figures:
        from benchmark.commands.figures import draw_figures, require_figures

        require_figures(figures)
    requests, exit_code, records = request.split_datasets(), 0, []
    if save is not None:
        from benchmark.commands.experiment import save as save_experiment

        save_experiment(save, request, figures, experiment)
    if len(requests) > 1:
        for dataset_request in requests:  # fail before anything is measured
            open_dataset(dataset_request.dataset, dataset_request.data_dir)
    with output.interruptible():
        for dataset_request in requests:
            dataset_outcome = outcome.run_with_progress(dataset_request, details=verbose)
            exit_code = max(exit_code, dataset_outcome.exit_code)
            if as_json:
                records.append(outcome.outcome_record(dataset_outcome, allow_few, rule))
            else:
                outcome.print_outcome(dataset_outcome, rule, table, allow_few, verbose)
    if as_json:
        output.print_records(records)
    elif figures:
        draw_figures(figures, request, experiment, command)
    raise typer.Exit(exit_code)


def rescore(
    request: Annotated[
        Request,
        subset(
            "dataset metrics jobs timeout_seconds device limit results data_dir weights_dir",
            dataset="",
            metrics="all",
        ),
    ],
    results: options.Results = Path("results"),
    codecs: options.StoredCodecs = "all",
    verbose: options.Verbose = False,
) -> list[Answer]:
    """Decode stored streams again and compute missing metrics.

    Before decoding, lists the metrics whose weights or programs are missing. Exit code 2 if no
    metric can be computed.

    Examples:
      bench rescore --dataset sample --metrics ssim
      bench rescore --dataset kodak --metrics lpips --weights-dir weights
      bench rescore --dataset kodak --codecs ./mine.py:Mine --metrics ssim
    """
    return [
        _rescore_dataset(replace(dataset_request, codecs=tuple(split_codecs(codecs))), verbose)
        for dataset_request in request.split_datasets()
    ]


def _rescore_dataset(request: Request, verbose: bool) -> Answer:
    from benchmark.commands.outcome import absences, metrics_not_measured
    from benchmark.measure.loop import rescore as rescore_rows

    with output.interruptible("finished rows are kept: repeat the command to continue"):
        result = rescore_rows(
            request,
            progress=output.show_progress,
            announce=lambda names: output.say(metrics_not_measured(names, verbose)),
            announce_refused_codecs=output.say_not_run,
        )
    failure_records = [failure._asdict() for failure in result.failures]
    facts = {**result._asdict(), "lacking": dict(result.lacking), "failed": failure_records}
    del facts["failures"]
    summary = (
        f"{request.dataset}: {result.rows} rows, of which {result.tried} lacked metrics that can "
        f"be computed; {result.filled} values filled in, {result.still_null} rows still lack values"
    )
    absence_list = absences(result.failures, missing_values=result.without_value)
    return Answer((), (), summary, absence_list, facts, int(bool(failure_records)))


def plan(
    request: Annotated[
        Request,
        subset(
            "codecs dataset points metrics jobs draws part results weights_dir packs "
            "skip_missing timing",
            ImageOptions,
        ),
    ],
    experiment: ExperimentFile = None,
) -> list[Answer]:
    """Count the cells of a run, and estimate the time and memory they need.

    One record per dataset and codec variant; seconds are for coding with all workers.

    Examples:
      bench plan --codecs jpeg,avif --dataset sample
      bench plan --codecs vtm --dataset sample --part 1/64 --json
    """
    return [*map(_plan_dataset, request.split_datasets())]


def time_sentence(
    codec_seconds: Mapping[str, float], first_images_seconds: float | None, parallel_cells: int
) -> str:
    """Describe how long coding takes, from seconds on one core, and suggest shorter runs."""
    total = sum(codec_seconds.values()) / parallel_cells
    text = f"coding takes about {output.duration(total)}, {counted(parallel_cells, 'cell')} "
    text += "at a time, without metrics"
    slowest = max(codec_seconds, key=codec_seconds.__getitem__, default="")
    if len(codec_seconds) > 1 and codec_seconds[slowest] > total * parallel_cells / 2:
        seconds = codec_seconds[slowest] / parallel_cells
        text += f"; {output.duration(seconds)} of that for {slowest}"
    if total < LONG_SECONDS:
        return text
    num_parts = math.ceil(total / 3600)
    text += f". To finish sooner: `--part I/{num_parts}` on {num_parts} such machines, an hour each"
    if first_images_seconds is not None:
        seconds = first_images_seconds / parallel_cells
        text += f"; `--limit {FEW_IMAGES}`, {output.duration(seconds)}"
    return text


def _typical_seconds(codecs: Iterable[str], request: Request, pixels: int) -> dict[str, float]:
    from benchmark.codec import Setting
    from benchmark.measure.estimate import typical_seconds

    codecs, points = move_settings_to_points([*codecs], parse_points(request.points))
    seconds_by_label = {}
    for spec in (spec for text in codecs for spec in resolve(parse_codec(text))):
        sweep = getattr(codec_class(spec), "sweep", ())
        for name in {setting.name for setting in sweep}:
            point_values = points.get((spec.text, name), points.get((spec.name, name), ()))
            sweep = [Setting(name, value) for value in point_values] or sweep
        if seconds := typical_seconds(spec, sweep, pixels):
            seconds_by_label[spec.label] = seconds
    return seconds_by_label


PLAN_COLUMNS = (
    Column("codec"),
    Column("cells", form="d"),
    Column("to do", "to_do", "d"),
    Column("coding", "seconds", output.duration),
)


def _plan_missing_dataset(request: Request, error: Unavailable) -> Answer:
    """Estimate a missing dataset's run from its published size; raise `error` if unknown."""
    from benchmark.datasets.dataset import profile
    from benchmark.system.machine import cores

    sizes = profile(request.dataset)
    if sizes.pixels is None or sizes.published_images is None:
        raise error
    images = min(request.limit or sizes.published_images, sizes.published_images)
    jobs, pixels = request.jobs or cores(), sizes.pixels * images // sizes.published_images
    codec_seconds = _typical_seconds(request.codecs, request, pixels)
    total = sum(codec_seconds.values())
    first_images_seconds = total * FEW_IMAGES / images if images > FEW_IMAGES else None
    records = [{"codec": label, "seconds": s / jobs} for label, s in codec_seconds.items()]
    facts = {"dataset": request.dataset, "images": images, "coding_seconds": total / jobs}
    title = f"{request.dataset}: {counted(images, 'image')}, not downloaded yet: {error}"
    summary = time_sentence(codec_seconds, first_images_seconds, jobs)
    return Answer(records, (PLAN_COLUMNS[0], PLAN_COLUMNS[3]), summary, facts=facts, title=title)


def _plan_dataset(request: Request) -> Answer:
    from benchmark.commands.outcome import absences
    from benchmark.measure.estimate import CostModel, estimate, memory_needs, plan_workers
    from benchmark.measure.select import find_rows_to_copy, open_matrix
    from benchmark.metrics.metric import drop_uncomputable, uncomputable_metrics
    from benchmark.system.machine import available_memory, cores

    request.use_folders()
    try:
        matrix = open_matrix(replace(request, skip_missing=True))
    except Unavailable as error:
        return _plan_missing_dataset(request, error)
    finished_keys = find_rows_to_copy(matrix, request)
    matrix = matrix._replace(
        to_do=tuple(cell for cell in matrix.to_do if cell.key not in finished_keys)
    )
    model, sources = CostModel(matrix.table), matrix.sources
    absent_metrics = uncomputable_metrics(request.metrics)
    metrics = drop_uncomputable(per_image_names(request.metrics), absent_metrics)
    needs, jobs = memory_needs(matrix.to_do or matrix.cells), 1 if request.timing else request.jobs
    workers = plan_workers(needs, metrics, jobs, cores(), available_memory())
    total_estimate = estimate(matrix.to_do, model)
    to_do = Counter(cell.codec.label for cell in matrix.to_do)
    cell_counts = Counter(cell.codec.label for cell in matrix.cells)
    first_names = {image.file.name for image in sources.images[:FEW_IMAGES]}
    first_cells = [cell for cell in matrix.to_do if cell.source.file.name in first_names]
    codec_seconds = {
        name: estimate([cell for cell in matrix.to_do if cell.codec.label == name], model).seconds
        for name in to_do
    }
    pixels = sum(image.width_px * image.height_px for image in sources.images)
    skipped = matrix.selection.skipped
    codec_seconds |= _typical_seconds([codec.what for codec in skipped], request, pixels)
    has_more_images = len(sources.images) > FEW_IMAGES
    first_images_seconds = estimate(first_cells, model).seconds if has_more_images else None
    records = [
        {
            "codec": name, "cells": cell_counts[name], "to_do": to_do[name],
            "seconds": codec_seconds.get(name, 0.0) / workers.workers,
        }
        for name in {**cell_counts, **codec_seconds}
    ]  # fmt: skip
    facts: dict[str, object] = {
        "dataset": sources.dataset.name,
        "images": len(sources.images),
        "cells": len(matrix.cells),
        "to_do": len(matrix.to_do),
        "coding_seconds": total_estimate.seconds / workers.workers,
        **{name: getattr(workers, name) for name in workers._fields if name != "remark"},
        "cells_without_estimate": total_estimate.num_unknown,
        "cells_by_typical_times": total_estimate.num_typical,
    }
    cells = f"{counted(len(matrix.cells), 'cell')}, {len(matrix.to_do)} to do"
    uncertain_counts = {
        "estimated from typical times": total_estimate.num_typical,
        "without an estimate": total_estimate.num_unknown,
    }
    lines = [time_sentence(codec_seconds, first_images_seconds, workers.workers)]
    lines += [f"{count} cells {reason}" for reason, count in uncertain_counts.items() if count]
    if matrix.to_do:
        available_bytes, available_text = workers.available_bytes, ""
        if available_bytes is not None:
            available_text = f", and {available_bytes / 1e9:.1f} GB are available"
        need = f"{workers.worker_bytes / 1e9:.1f} GB for the largest image"
        lines += [workers.remark or f"a worker takes about {need}{available_text}"]
    absence_list = absences((), sources.refused, skipped, sources.dataset.unread_files)
    title = f"{sources.dataset.name}: {counted(len(sources.images), 'image')}, {cells}"
    return Answer(records, PLAN_COLUMNS, "\n".join(lines), absence_list, facts, title=title)
