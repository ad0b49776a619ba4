"""`bench train`: train networks on photographs; a run can be resumed at any time."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from baselines.neural.training.options import TrainingOptions
from benchmark.commands import output
from benchmark.commands.verb import command_line
from benchmark.errors import UsageError
from benchmark.measure.request import Request
from benchmark.option import MANNER, ORIGIN, TARGET, TRAINED, declared_options, opt, subset
from benchmark.plugins import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from baselines.neural.training.run import TrainingRun

SAVED_STEPS_NOTE = "the saved steps are kept; the same command resumes after them"
# Options that do not affect the weights; cards omit them
UNRECORDED_OPTIONS = {
    *declared_options(TrainingOptions),
    *("out", "export_now", "quiet", "device", "dataset", "log", "check"),
}


def train(
    options: TrainingOptions,
    request: Annotated[Request, subset("device weights_dir")],
    context: typer.Context,
    recipe: Annotated[
        str, opt(TRAINED, "Recipe: smoke, evening, night, gpu-half-hour, paper, or a .toml file.")
    ],
    data: Annotated[
        list[str],
        opt(ORIGIN, "Folder or tar archive of photographs, or name of a dataset (repeatable)."),
    ],
    out: Annotated[Path, opt(TARGET, "Folder of the run, or of the suite.", path_check="folder")],
    suite: Annotated[
        str | None,
        opt(
            TRAINED,
            "Train several networks on the same number of crops: matched (ours, hyperpriors), "
            "field (Charm, ELIC, IVR, HiFiC, Multi-Realism), generative (DIRAC, HFD, PQ-MIM).",
        ),
    ] = None,
    members: Annotated[
        str,
        opt(
            TRAINED,
            "Train only these networks of a suite: charm,elic-3 or dirac-jpeg; default: all.",
        ),
    ] = "",
    start: Annotated[
        Path | None, opt(ORIGIN, "Checkpoint of the same network to start from.")
    ] = None,
    validation: Annotated[
        str | None,
        opt(
            ORIGIN,
            "Dataset or folder of photographs for validation, not training; default: one in 20 of "
            "--data, at most 12, which are held out of training.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        opt(
            TRAINED,
            "Seed of weights and crops, instead of that in the recipe.",
            minimum=0,
            maximum=2**63 - 1,
        ),
    ] = None,
    check: Annotated[
        bool,
        opt(MANNER, "Measure memory and time of a few steps of each stage, and write nothing."),
    ] = False,
    log: Annotated[
        list[str] | None,
        opt(MANNER, "Function to call with each report, FILE.py:FUNCTION (repeatable)."),
    ] = None,
    export_now: Annotated[
        bool, opt(MANNER, "Export a checkpoint of the last saved state, without training.")
    ] = False,
    quiet: Annotated[bool, opt(MANNER, "Print no progress to standard error.")] = False,
) -> None:
    """Train networks on photographs, or resume; each becomes a checkpoint with a model card.

    The exit code is 0 if training is finished or the time is up, 2 if it cannot start, and 130 if
    it was interrupted; everything is saved.

    Examples:
      bench train --recipe smoke --data sample --out runs/smoke
      bench train --recipe night --data photos --out runs/all --suite matched
    """
    with output.interruptible("a check writes nothing" if check else SAVED_STEPS_NOTE):
        from baselines.neural.network_codec import wait_without_spinning

        wait_without_spinning()
        from baselines.commands import training
        from baselines.neural.training.recipe import load_recipe

        request.use_folders()
        runs: Sequence[TrainingRun]
        if suite is None:
            runs = training.plan_runs(load_recipe(recipe), out)
            if start is not None:
                runs = [runs[0].start_from(start), *runs[1:]]
        elif start is not None:
            raise UsageError("--start is for a single network: leave out --start or --suite")
        else:
            from baselines.neural.training import suites

            member_names = [word.strip() for word in members.split(",") if word.strip()]
            runs = suites.suite(suite, load_recipe(recipe), out, member_names)
        if seed is not None:
            runs = [replace(run, recipe=replace(run.recipe, seed=seed)) for run in runs]
        for name in log or ():
            load(name, "log")
        options = replace(options, log=partial(training.make_log, log or (), quiet))
        command = command_line(context, UNRECORDED_OPTIONS)
        options = training.add_photographs(options, command, data, validation, request.device)
        if check:
            training.check_runs(runs, options, request.device)
        elif export_now:
            training.export_runs(runs, options)
        else:
            training.train_all(runs, options, quiet)
            if suite is None and (loaded := load_recipe(recipe)).variants:
                training.print_comparison_commands(loaded, out)
