"""`bench ablation`: variants of the realism stage, trained at one budget, measured and drawn."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import benchmark
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
    from benchmark.commands.output import interruptible
    from benchmark.registry import metric_names
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
        for path in benchmark.write_ablation(
            folder, kind, labels, dataset, names, folder / "results", own, trained
        ):
            print(path)
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
