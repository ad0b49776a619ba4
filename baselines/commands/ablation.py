"""`bench ablation`: compute-matched variants of the realism stage, measured and drawn."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import benchmark
from baselines.commands.train import (
    Data,
    MaxMinutes,
    Quiet,
    RecipeName,
    ValidationName,
    open_session,
)
from baselines.commands.training import stop_if_over, train_all
from benchmark.commands import output
from benchmark.commands.options import opt
from benchmark.commands.outcome import print_outcome
from benchmark.commands.verb import takes
from benchmark.option import TARGET, TRAINED
from benchmark.plan.request import Request

if TYPE_CHECKING:
    from baselines.neural.training.recipe import Recipe
    from baselines.neural.training.session import TrainingRun

BETA = 3.84
METRICS = "psnr,lpips,lpips_squeeze"
COMMON = "common"


@takes(Request, "device dataset metrics jobs weights_dir", metrics=METRICS)
def ablation(
    request: Request,
    kind: Annotated[str, typer.Argument(help="What is varied: gan or discriminator.")],
    recipe: RecipeName,
    data: Data,
    out: Annotated[
        Path, opt(TARGET, "Folder of all runs and results of the ablation.", refuses="folder")
    ],
    variants: Annotated[
        str | None, opt(TRAINED, "Comma-separated variants to train, default all: sgan,hrrgan.")
    ] = None,
    max_minutes: MaxMinutes = None,
    validation: ValidationName = None,
    quiet: Quiet = False,
) -> None:
    """Train variants of the realism stage, measure each and draw their curves.

    The shared stages are trained once; beta is 3.84.

    Exit code as `bench train`; 1 if a cell failed.

    Examples:
      bench ablation gan --recipe smoke --data sample --out runs/gan
      bench ablation discriminator --recipe night --data photos --out runs/d
    """
    from baselines.neural.crdr.ablation import OWN
    from baselines.neural.crdr.ablation import ablation as planned
    from baselines.neural.training.recipe import load_recipe
    from baselines.neural.training.session import leads

    dataset, names, device = request.dataset, request.metrics, request.device
    request.use_folders()
    benchmark.open_dataset(dataset)  # a missing one is reported before the training
    only = tuple(part.strip() for part in variants.split(",")) if variants else ()
    plan = planned(kind, load_recipe(recipe), only)
    with output.interruptible("what is saved stays; the same command resumes from there"):
        words = ["ablation", kind, "--recipe", recipe]
        session = open_session(words, data, validation, device, max_minutes)
        common = _run(out, COMMON, plan.common) if plan.common else None
        runs = [_run(out, variant.name, variant.recipe) for variant in plan.variants]
        if common:
            train_all([common], session, quiet)
            stop_if_over(common, session)
        for run in runs:
            if common:
                _begin(run.folder, common.folder)
            train_all([run], session, quiet)
            stop_if_over(run, session)
        if not leads():
            return
        labels = {_spec(run): one.label for run, one in zip(runs, plan.variants, strict=True)}
        outcome = benchmark.run(
            list(labels),
            dataset,
            metrics=names,
            jobs=request.jobs,
            device=device,
            results=out / "results",
            progress=output.show_progress,
        )
        print_outcome(outcome, table=False)
        own = next((variant.label for variant in plan.variants if variant.name == OWN), "")
        last = plan.variants[0].recipe.stages[-1]
        trained = (
            f"Each variant: the last stage of {recipe}, {last.steps} steps of {last.batch} crops "
            f"of {last.crop_px} px, one seed, from one network; beta {BETA:g}."
        )
        for path in benchmark.write_ablation(
            out, kind, labels, dataset, names, out / "results", own, trained
        ):
            print(path)
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)


def _run(folder: Path, name: str, recipe: "Recipe") -> "TrainingRun":
    from baselines.neural.training.run import Subject
    from baselines.neural.training.session import TrainingRun

    target = folder / f"{name}.safetensors"
    return TrainingRun(name, folder / name, target, Subject(recipe.architecture), recipe)


def _begin(folder: Path, common: Path) -> None:
    """Begin a variant's run where the common one ended, unless it has begun."""
    from baselines.neural.training.run_folder import JOURNAL, STATE
    from benchmark.system.atomic import write_file

    if not (folder / STATE).exists():
        for name in (JOURNAL, STATE):  # the state last: with it the run has begun
            write_file(folder / name, (common / name).read_bytes())


def _spec(run: "TrainingRun") -> str:
    """The codec as `bench run` takes it."""
    from benchmark.codec_spec import CodecSpec

    return CodecSpec("ours", (("beta", f"{BETA:g}"), ("checkpoint", str(run.target)))).text
