"""`bench ablation`: variants of the realism stage, trained at one budget, measured and drawn."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from baselines.commands.train import (
    Data,
    MaxMinutes,
    Quiet,
    RecipeName,
    ValidationName,
    open_session,
    required,
    stop_if_over,
    train_all,
)
from benchmark.commands import options

if TYPE_CHECKING:
    from baselines.neural.training.session import Run
    from benchmark.analysis.summarise import Summary

BETA = 3.84
METRICS = "psnr,lpips,lpips_squeeze"
COMMON = "common"


def ablation(
    kind: Annotated[str, typer.Argument(help="gan or discriminator: what is varied.")],
    recipe: RecipeName = None,
    data: Data = None,
    out: Annotated[Path | None, typer.Option(help="Folder of all its runs and results.")] = None,
    variants: Annotated[
        str | None, typer.Option(help="Comma-separated, some of them: sgan,hrrgan.")
    ] = None,
    max_minutes: MaxMinutes = None,
    device: options.DeviceName = "auto",
    validation: ValidationName = "sample",
    dataset: options.DatasetName = "sample",
    metrics: options.Metrics = METRICS,
    jobs: options.Jobs = None,
    weights_dir: options.WeightsDir = None,
    quiet: Quiet = False,
) -> None:
    """Train what the variants share once, then each; measure each at beta 3.84; draw the curves.

    Exit code as `bench train`; 1 if a cell failed.
    """
    from baselines.neural.training.session import trainer
    from benchmark.commands.outcome import interruptible
    from benchmark.measure.unscored import metric_names
    from benchmark.system.weights import use_weights_folder

    folder, name = required("out", out), required("recipe", recipe)
    names = metric_names(metrics)
    use_weights_folder(weights_dir)
    only = tuple(part.strip() for part in variants.split(",")) if variants else ()
    plan = trainer("ablation").ablation(kind, trainer("recipe").load_recipe(name), only)
    with interruptible("what is saved stays; the same command goes on from there"):
        words = ["ablation", kind, "--recipe", name]
        session = open_session(words, data, validation, device, max_minutes, half=False)
        common = _run(folder, COMMON, plan.common) if plan.common else None
        runs = [_run(folder, one.name, one.recipe) for one in plan.variants]
        if common:
            train_all([common], session, quiet)
            stop_if_over(common, session)
        for run in runs:
            if common:
                _begin(run.folder, common.folder)
            train_all([run], session, quiet)
            stop_if_over(run, session)
        labels = {_spec(run): one.label for run, one in zip(runs, plan.variants, strict=True)}
        failed = _measure(list(labels), dataset, metrics, jobs, device, folder)
        own = next((one.label for one in plan.variants if one.name == _own()), "")
        last = plan.variants[0].recipe.stages[-1]
        trained = (
            f"Each variant: the last stage of {name}, {last.steps} steps of {last.batch} crops of "
            f"{last.crop_px} px, one seed, from one network; beta {BETA:g}."
        )
        _draw(folder, kind, labels, dataset, names, own, trained)
    if failed:
        raise typer.Exit(failed)


def _own() -> str:
    from baselines.neural.training.session import trainer

    ablations = trainer("ablation")
    return f"{ablations.OBJECTIVE}-{ablations.DISCRIMINATOR}"


def _run(folder: Path, name: str, recipe: Any) -> "Run":
    from baselines.neural.training.session import OURS, Run

    target = folder / f"{name}.safetensors"
    return Run(name, folder / name, target, OURS, 0.0, (0, 0), recipe)


def _begin(folder: Path, common: Path) -> None:
    """A variant's run where the common one ended, unless it has begun."""
    from baselines.neural.training.curves import JOURNAL
    from baselines.neural.training.session import STATE

    if (folder / STATE).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name in (JOURNAL, STATE):  # the state last: with it the run has begun
        draft = folder / f".{name}.part"
        shutil.copyfile(common / name, draft)
        os.replace(draft, folder / name)


def _spec(run: "Run") -> str:
    """The codec as `bench run` takes it."""
    from benchmark.registry import CodecSpec

    return CodecSpec("ours", (("beta", f"{BETA:g}"), ("checkpoint", str(run.target)))).text


def _measure(
    codecs: Sequence[str],
    dataset: str,
    metrics: str,
    jobs: int | None,
    device: str,
    folder: Path,
) -> int:
    """The exit code of `bench run`, whose rows lie in `folder`/results."""
    from benchmark.commands.run import run

    try:
        run(
            ",".join(codecs),
            dataset,
            metrics=metrics,
            jobs=jobs,
            device=device,
            results=folder / "results",
            table=False,
        )
    except typer.Exit as ended:
        if ended.exit_code > 1:
            raise
        return int(ended.exit_code)
    return 0


def _draw(
    folder: Path,
    kind: str,
    labels: dict[str, str],
    dataset: str,
    metrics: Sequence[str],
    own: str,
    trained: str,
) -> None:
    """Figure, caption and table of means from the stored rows."""
    from benchmark.analysis.rate_distortion import Measure
    from benchmark.errors import StoreError
    from benchmark.figures.ablation import draw_ablation
    from benchmark.figures.style import file_bytes
    from benchmark.figures.table import markdown, means_table

    summary = _summary(folder / "results", labels, dataset, metrics)
    measures = [Measure.named(name) for name in metrics]
    measured = [measure for measure in measures if summary.values_of(measure.column)]
    drawing = draw_ablation(summary, measured, own, dataset, trained)
    caption = drawing.caption if drawing else f"{dataset}: no point may be drawn. {trained}"
    files: dict[str, bytes] = {}
    if drawing:
        files |= {f"{kind}.pdf": file_bytes(drawing.figure, "pdf")}
        files |= {f"{kind}.png": file_bytes(drawing.figure, "png")}
    text = f"# Ablation: {kind}\n\n{caption}\n\n{markdown(means_table(summary, measured))}"
    files[f"{kind}.md"] = text.encode()
    for name, content in files.items():
        draft = folder / f".{name}.part"
        try:
            draft.write_bytes(content)
            os.replace(draft, folder / name)
        except OSError as error:
            raise StoreError(f"{folder / name} cannot be written: {error.strerror}") from error
        print(folder / name)


def _summary(
    results: Path, labels: dict[str, str], dataset: str, metrics: Sequence[str]
) -> "Summary":
    import pyarrow as pa
    import pyarrow.compute as pc

    from benchmark.analysis.comparable import label_of
    from benchmark.analysis.reduce import summarise_with_distributions
    from benchmark.figures.ablation import named
    from benchmark.plan.matrix import Request, open_sources
    from benchmark.registry import parse_codec
    from benchmark.rows.store import Store

    opened = open_sources(Request(dataset, results, None, None, False)).dataset
    specs = {parse_codec(text): label for text, label in labels.items()}
    table = Store(results / opened.store_name).table()
    images = pa.array([image.name for image in opened.images], pa.string())
    variants = pa.array([spec.variant for spec in specs], pa.string())
    kept = pc.and_(
        pc.is_in(table["image"], value_set=images), pc.is_in(table["variant"], value_set=variants)
    )
    names = {label_of(spec.name, spec.variant): label for spec, label in specs.items()}
    folder = results / opened.store_name
    return named(summarise_with_distributions(table.filter(kept), folder, metrics), names)
