"""`bench train` and `bench ablation`: train networks from photographs, resumable at any time."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer

import benchmark
from benchmark.commands import output
from benchmark.commands.verb import command_line, takes
from benchmark.errors import UsageError
from benchmark.measure.request import Request
from benchmark.option import MANNER, ORIGIN, TARGET, TRAINED, opt
from benchmark.spec import CodecSpec
from benchmark.system.atomic import write_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from baselines.neural.training.recipe import Recipe
    from baselines.neural.training.session import TrainingRun

Data = Annotated[
    list[str],
    opt(
        ORIGIN,
        "A folder or tar archive of photographs, or a dataset by name (repeatable).",
        completes="dataset",
    ),
]
RecipeName = Annotated[
    str, opt(TRAINED, "Recipe: smoke, evening, night, lease, paper, or a .toml file.")
]
MaxMinutes = Annotated[
    float | None,
    opt(MANNER, "Stop after this time with everything saved; the same command resumes.", least=0),
]
ValidationName = Annotated[
    str | None,
    opt(
        ORIGIN,
        "Photographs for validation, never trained on: a dataset or a folder; default: one in "
        "20 of --data, at most 12, which is then not trained on.",
        completes="dataset",
    ),
]
Half = Annotated[bool, opt(MANNER, "Round the exported weights to float16.")]
Quantised = Annotated[
    bool, opt(MANNER, "Export weights of ours, HiFiC and PQ-MIM as integers of 3 to 8 bits.")
]
Precision = Annotated[
    str | None,
    opt(
        TRAINED,
        "bfloat16, tf32 or float32, in place of the recipe's; not of its stages in float32.",
    ),
]
Quiet = Annotated[bool, opt(MANNER, "Show no progress on standard error.")]

OURS = "ours"
SAVED = "what is saved stays; the same command resumes from there"
# Options that do not decide what is learned, and are in no card
BESIDE = {"out", "max_minutes", "export_now", "half", "quantised", "quiet", "device", "dataset"}
BESIDE |= {"photographs_changed", "save_minutes", "milestone_steps", "log", "check", "no_graph"}
BESIDE |= {"variants", "metrics", "jobs"}
BETA = 3.84  # of an ablation
METRICS = "psnr,lpips,lpips_squeeze"


@takes(Request, "device weights_dir")
def train(
    request: Request,
    context: typer.Context,
    recipe: RecipeName,
    data: Data,
    out: Annotated[Path, opt(TARGET, "Folder of the run, or of the suite.", refuses="folder")],
    model: Annotated[
        str, opt(TRAINED, "ours (as the recipe), hyperprior, compressai:NAME, or an architecture.")
    ] = OURS,
    suite: Annotated[
        str | None,
        opt(
            TRAINED,
            "Networks trained with ours's budget: matched (ours, hyperpriors), field (Charm, "
            "ELIC, IVR, HiFiC, Multi-Realism), generative (DIRAC, HFD, PQ-MIM).",
        ),
    ] = None,
    members: Annotated[
        str, opt(TRAINED, "Only these of a suite: charm,elic-3 or dirac-jpeg; default: all.")
    ] = "",
    max_minutes: MaxMinutes = None,
    lmbda: Annotated[
        float | None,
        opt(TRAINED, "Rate-distortion weight of a hyperprior (lambda): 0.0008 to 0.018."),
    ] = None,
    widths: Annotated[
        str | None, opt(TRAINED, "Channels N,M of a hyperprior; default: ours's work per pixel.")
    ] = None,
    learning_rate: Annotated[
        float | None, opt(TRAINED, "Learning rate of hyperpriors or a suite; default: the suite's.")
    ] = None,
    start: Annotated[
        Path | None, opt(ORIGIN, "Checkpoint of the same network to begin with.")
    ] = None,
    validation: ValidationName = None,
    photographs_changed: Annotated[
        bool, opt(ORIGIN, "Go on with other photographs than the run was begun with.")
    ] = False,
    seed: Annotated[
        int | None,
        opt(
            TRAINED, "Seed of weights and crops, in place of the recipe's.", least=0, most=2**63 - 1
        ),
    ] = None,
    precision: Precision = None,
    accumulate: Annotated[
        int | None,
        opt(TRAINED, "Compute gradients in so many parts of a batch, for less memory.", least=1),
    ] = None,
    check: Annotated[
        bool,
        opt(MANNER, "Train nothing; print memory and time of each stage, on a GPU or without."),
    ] = False,
    save_minutes: Annotated[
        float | None,
        opt(
            MANNER,
            "Minutes between saves; default: by cost, 1 % of the time, at most each minute.",
            least=0,
        ),
    ] = None,
    milestone_steps: Annotated[
        int, opt(MANNER, "Steps between states that are kept for good; 0: none.", least=0)
    ] = 0,
    log: Annotated[
        list[str] | None,
        opt(MANNER, "csv, tensorboard, wandb or FILE.py:FUNCTION gets each report (repeatable)."),
    ] = None,
    export_now: Annotated[
        bool, opt(MANNER, "Train nothing; export the checkpoint of what is trained so far.")
    ] = False,
    deterministic: Annotated[
        bool, opt(MANNER, "Only kernels that give the same bits in every call; slower on a GPU.")
    ] = False,
    no_graph: Annotated[
        bool, opt(MANNER, "On a GPU, do each step anew, in place of a recorded CUDA graph.")
    ] = False,
    half: Half = False,
    quantised: Quantised = False,
    quiet: Quiet = False,
) -> None:
    """Train, or resume earlier training; a finished network becomes a checkpoint with its card.

    Exit code 0 if training is finished or the time is over, 2 if it cannot be done, 130 if
    interrupted, with everything saved. Under torchrun, one process trains on each GPU.

    Examples:
      bench train --recipe smoke --data sample --out runs/smoke
      bench train --recipe night --data photos --out runs/all --suite matched
    """
    deadline = _deadline(max_minutes)
    with output.interruptible(SAVED):
        from baselines.commands import training
        from baselines.commands.reports import log_of, require_logs
        from baselines.neural.training.recipe import load_recipe

        request.use_folders()
        runs: Sequence[TrainingRun]
        if suite is None:
            run = training.single(model, load_recipe(recipe), out, lmbda, widths, learning_rate)
            if start is not None:
                run = replace(run, subject=run.subject.begun_with(start, run.recipe.sizes))
            runs = (run,)
        elif model != OURS or lmbda is not None or widths is not None or start is not None:
            raise UsageError("--suite says itself which models it trains: leave those out")
        else:
            runs = training.suite(suite, load_recipe(recipe), out, learning_rate, members)
        runs = training.in_manner(runs, precision, accumulate, seed)
        command = command_line(context, BESIDE)
        session = training.open_session(command, data, validation, request.device, deadline)
        require_logs(log or ())
        session = replace(session, half=half, quantised=quantised, deterministic=deterministic)
        session = replace(session, save_minutes=save_minutes, milestone_steps=milestone_steps)
        session = replace(session, graph=not no_graph, photographs_changed=photographs_changed)
        if log:
            session = replace(session, log=partial(log_of, log))
        if check:
            training.check_runs(runs, session, request.device)
        elif export_now:
            training.export_runs(runs, session)
        else:
            training.train_all(runs, session, quiet)


@takes(Request, "device dataset metrics jobs weights_dir", metrics=METRICS)
def ablation(
    request: Request,
    context: typer.Context,
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
    deadline = _deadline(max_minutes)
    with output.interruptible(SAVED):
        from baselines.commands import training
        from baselines.neural.training.recipe import load_recipe
        from baselines.neural.training.session import leads
        from benchmark.commands.outcome import print_outcome
        from benchmark.show.paper.ablation import write_ablation

        dataset, metrics, device = request.dataset, request.metrics, request.device
        request.use_folders()
        benchmark.open_dataset(dataset)  # a missing one is reported before the training
        only = tuple(part.strip() for part in variants.split(",")) if variants else ()
        plan = training.ablation(kind, load_recipe(recipe), only)
        command = command_line(context, BESIDE)
        session = training.open_session(command, data, validation, device, deadline)
        common = _run(out, "common", plan.common) if plan.common else None
        runs = [_run(out, variant.name, variant.recipe) for variant in plan.variants]
        for run in (*([common] if common else []), *runs):
            if common and run is not common:
                _begin(run.folder, common.folder)
            training.train_all([run], session, quiet)
            training.stop_if_over(run, session)
        if not leads():
            return
        labels = {_spec(run): of.label for run, of in zip(runs, plan.variants, strict=True)}
        outcome = benchmark.run(
            list(labels),
            dataset,
            metrics=metrics,
            jobs=request.jobs,
            device=device,
            results=out / "results",
            progress=output.show_progress,
        )
        print_outcome(outcome, table=False)
        own = next((variant.label for variant in plan.variants if variant.name == training.OWN), "")
        last = plan.variants[0].recipe.stages[-1]
        trained = (
            f"Each variant: the last stage of {recipe}, {last.steps} steps of {last.batch} crops "
            f"of {last.crop_px} px, one seed, from one network; beta {BETA:g}."
        )
        for path in write_ablation(
            out, kind, labels, dataset, metrics, out / "results", own, trained
        ):
            print(path)
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)


def _deadline(minutes: float | None) -> float | None:
    """Return it from the start of the command: importing torch is part of the time."""
    return None if minutes is None else monotonic() + 60 * minutes


def _run(folder: Path, name: str, recipe: "Recipe") -> "TrainingRun":
    from baselines.neural.training.run import Subject
    from baselines.neural.training.session import TrainingRun

    target = folder / f"{name}.safetensors"
    return TrainingRun(name, folder / name, target, Subject(recipe.architecture), recipe)


def _begin(folder: Path, common: Path) -> None:
    """Begin a variant's run where the common one ended, unless it has begun."""
    from baselines.neural.training.run_folder import JOURNAL, STATE

    if not (folder / STATE).exists():
        for name in (JOURNAL, STATE):  # the state last: with it the run has begun
            write_file(folder / name, (common / name).read_bytes())


def _spec(run: "TrainingRun") -> str:
    return CodecSpec("ours", (("beta", f"{BETA:g}"), ("checkpoint", str(run.target)))).text
