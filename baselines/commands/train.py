"""`bench train`: train networks from photographs, resumable at any time."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from baselines.neural.training.how import How
from benchmark.commands import output
from benchmark.commands.verb import command_line
from benchmark.errors import UsageError
from benchmark.measure.request import Request
from benchmark.option import MANNER, ORIGIN, TARGET, TRAINED, declared, opt, some
from benchmark.plugins import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from baselines.neural.training.run import Run

SAVED = "what is saved stays; the same command resumes from there"
# Options that do not decide what is learned, and are in no card
BESIDE = {*declared(How), "out", "export_now", "quiet", "device", "dataset", "log", "check"}


def train(
    how: How,
    request: Annotated[Request, some("device weights_dir")],
    context: typer.Context,
    recipe: Annotated[
        str, opt(TRAINED, "Recipe: smoke, evening, night, lease, paper, or a .toml file.")
    ],
    data: Annotated[
        list[str],
        opt(ORIGIN, "A folder or tar archive of photographs, or a dataset by name (repeatable)."),
    ],
    out: Annotated[Path, opt(TARGET, "Folder of the run, or of the suite.", refuses="folder")],
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
    start: Annotated[
        Path | None, opt(ORIGIN, "Checkpoint of the same network to begin with.")
    ] = None,
    validation: Annotated[
        str | None,
        opt(
            ORIGIN,
            "Photographs for validation, never trained on: a dataset or a folder; default: one in "
            "20 of --data, at most 12, which is then not trained on.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        opt(
            TRAINED, "Seed of weights and crops, in place of the recipe's.", least=0, most=2**63 - 1
        ),
    ] = None,
    check: Annotated[
        bool,
        opt(MANNER, "Train some steps of each stage, print their memory and time, keep nothing."),
    ] = False,
    log: Annotated[
        list[str] | None,
        opt(MANNER, "FILE.py:FUNCTION, which gets each report (repeatable)."),
    ] = None,
    export_now: Annotated[
        bool, opt(MANNER, "Train nothing; export the checkpoint of what is trained so far.")
    ] = False,
    quiet: Annotated[bool, opt(MANNER, "Show no progress on standard error.")] = False,
) -> None:
    """Train, or resume earlier training; a finished network becomes a checkpoint with its card.

    Exit code 0 if training is finished or the time is over, 2 if it cannot be done, 130 if
    interrupted, with everything saved.

    Examples:
      bench train --recipe smoke --data sample --out runs/smoke
      bench train --recipe night --data photos --out runs/all --suite matched
    """
    with output.interruptible("nothing is kept of a check" if check else SAVED):
        from baselines.neural.network_codec import wait_without_spinning

        wait_without_spinning()
        from baselines.commands import training
        from baselines.neural.training.recipe import load_recipe

        request.use_folders()
        runs: Sequence[Run]
        if suite is None:
            runs = training.runs_of(load_recipe(recipe), out)
            if start is not None:
                runs = [runs[0].begun_with(start), *runs[1:]]
        elif start is not None:
            raise UsageError("--start is for a single network, not for a suite: leave it out")
        else:
            from baselines.neural.training import suites

            words = [word.strip() for word in members.split(",") if word.strip()]
            runs = suites.suite(suite, load_recipe(recipe), out, words)
        if seed is not None:
            runs = [replace(run, recipe=replace(run.recipe, seed=seed)) for run in runs]
        for name in log or ():
            load(name, "log")
        how = replace(how, log=partial(training.log_of, log or (), quiet))
        command = command_line(context, BESIDE)
        how = training.opened(how, command, data, validation, request.device)
        if check:
            training.check_runs(runs, how, request.device)
        elif export_now:
            training.export_runs(runs, how)
        else:
            training.train_all(runs, how, quiet)
            if suite is None and (chosen := load_recipe(recipe)).variants:
                training.say_how_to_compare(chosen, out)
