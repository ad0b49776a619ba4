"""`bench history`: the states of a training run, one after the other, as figure and table."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from time import sleep
from typing import Annotated, NamedTuple

import typer

from baselines.neural.card import PACKED, TENSORS, card_path, has_card, verified_card
from benchmark.commands import history as over_time
from benchmark.commands import options, output
from benchmark.commands.history import Compared
from benchmark.commands.verb import command_line, takes
from benchmark.errors import UsageError
from benchmark.measure.request import Request
from benchmark.option import MANNER, ORIGIN, TARGET, opt, option

POLL_SECONDS = 30.0
SAMPLE = "sample"
MARKS = {"run": "recipe.json", "rows": "per_image"}  # of a folder, by what it is


class Place(NamedTuple):
    """A checkpoint to measure."""

    step: int
    path: Path


@takes(Compared, "codec against anchor margin baselines", codec="ours")
@takes(
    Request,
    "dataset points metrics limit timing jobs timeout_seconds device results data_dir weights_dir",
    metrics="psnr,ms_ssim",
    results=option(
        Path("results/checks"), TARGET, "Folder of the rows; none is measured twice.",
        refuses="folder",
    ),
)  # fmt: skip
def history(
    asked: Compared,
    request: Request,
    context: typer.Context,
    states: Annotated[
        list[str],
        typer.Argument(
            metavar="STATES",
            help="Folder of a training run, checkpoints in their order, or a folder of earlier "
            "checks: results/checks/kodak.",
        ),
    ],
    follow: Annotated[
        bool, opt(MANNER, "Measure new states as they appear, until the training is finished.")
    ] = False,
    log: Annotated[
        list[str] | None,
        opt(MANNER, "csv or FILE.py:FUNCTION gets each report (repeatable)."),
    ] = None,
    calibration: Annotated[
        str,
        opt(
            ORIGIN, "Photographs that integer tables of states are made from.", completes="dataset"
        ),
    ] = SAMPLE,
    out: Annotated[
        Path | None,
        opt(
            TARGET,
            "Folder of figure and table; default: RUN/history, else RESULTS/history.",
            refuses="folder",
        ),
    ] = None,
) -> None:
    """Say at which step of a training a checkpoint became worse.

    Milestones (`bench train --milestone-steps`) and finished checkpoints are measured once each and
    compared with the first, the last accepted baseline and an anchor; one is worse if it has
    regressed against the best before it.

    Exit code 0, 1 if a state is worse, 2 if it cannot be done, 130 if interrupted.

    Examples:
      bench history runs/night --dataset kodak --codec ours
      bench history a.safetensors b.safetensors --dataset kodak
      bench history results/checks/kodak --codec ours:beta=0 --anchor vtm
    """
    options.refuse_several("--codec", asked.codec)
    paths = [*map(Path, states)]
    kind = _kind(paths, follow)
    with output.interruptible():
        from baselines.commands.reports import log_of, require_logs

        require_logs(log or ())
        request.use_folders()
        folder = out or (paths[0] if kind == "run" else request.results) / "history"
        write_log = log_of(log or (), folder, None)
        known, logged = {}, 0
        for places in _places(kind, paths, folder / "checkpoints", calibration, follow):
            for place in places:
                if place not in known:
                    name = f"step {place.step:,}"
                    known[place] = over_time.measured(name, *place, request, asked.codec)
            every = [known[place] for place in places]
            every = every if kind != "rows" else over_time.stored(paths[0], asked.codec)
            result = over_time.compared(every, request.metrics, asked)
            over_time.write(result, asked.codec, folder, command_line(context))
            for state in every[logged:]:
                write_log({"stage": 0, "step": state.step, **over_time.numbers(result, state)})
            logged = len(every)
    if result.worse:
        raise typer.Exit(1)


def _kind(states: Sequence[Path], follow: bool) -> str:
    """Return "run", "rows" or "files"; raise `UsageError` for what is none of these."""
    if missing := next((path for path in states if not path.exists()), None):
        raise UsageError(f"{missing} is not there")
    kind = next((kind for kind, name in MARKS.items() if (states[0] / name).exists()), "files")
    folders = [path for path in states if path.is_dir()]
    if folders and (kind == "files" or len(states) > 1):
        raise UsageError(f"{folders[0]}: name one folder, of a training run or with rows, or files")
    bare = [path for path in states if not card_path(path).exists()]
    if kind == "files" and bare:
        raise UsageError(
            f"{bare[0]} is no checkpoint of `bench train`, as {card_path(bare[0]).name} is absent; "
            "name checkpoints, a training run or a folder of checks, or compare two files of "
            "another codec by `bench check`"
        )
    if follow and kind != "run":
        raise UsageError("--follow is for the folder of a training run")
    return kind


def _places(
    kind: str, states: Sequence[Path], target: Path, validation: str, follow: bool
) -> Iterator[Sequence[Place]]:
    """Yield the checkpoints to compare: once, or with `follow` as often as there are new ones."""
    if kind != "run":
        yield _in_order(states) if kind == "files" else ()
        return
    places, finished = _exported(states[0], target, validation)
    while follow and not finished:
        if len(places) > 1:
            yield places
        before = places
        while places == before and not finished:
            sleep(POLL_SECONDS)
            places, finished = _exported(states[0], target, validation)
    yield places


def _in_order(paths: Sequence[Path]) -> Sequence[Place]:
    """Return checkpoints at the steps of their cards, or numbered where these do not rise."""
    steps = [verified_card(path).steps or 0 for path in paths]
    if not all(step > before for before, step in pairwise(steps)):
        steps = [*range(1, len(steps) + 1)]
    return [Place(*at) for at in zip(steps, paths, strict=True)]


def _exported(run: Path, target: Path, validation: str) -> tuple[Sequence[Place], bool]:
    """Export new and changed milestones of a run; return all, and whether it is finished."""
    from baselines.commands import training
    from baselines.neural.training.how import How
    from baselines.neural.training.run import MILESTONE, Run, export, read_record

    record = read_record(run)
    states = {
        target / f"{record.recipe.architecture}-{state.stem[6:]}{TENSORS}": state
        for state in run.glob(MILESTONE.format("*[0-9]"))
    }
    beside = run.parent / f"{run.name}{TENSORS}"  # of a suite's member
    ended = [path for path in (*run.iterdir(), beside) if has_card(path) and path.exists()]
    runs = {path: Run(run, path, record.recipe, record.start) for path in (*states, *ended)}
    if stale := [path for path in states if _written(card_path(path)) < _written(states[path])]:
        target.mkdir(parents=True, exist_ok=True)
        of = training.opened(How(), "", [SAMPLE], validation, "cpu")
        of = replace(of, data_name="unknown origin")  # unless the record has it
        for path in stale:
            export(runs[path], of, states[path].name)
    places = {verified_card(path).steps or 0: path for path in runs}
    finished = any(path.suffix == PACKED or runs[path].is_complete() for path in ended)
    return [Place(step, places[step]) for step in sorted(places)], finished


def _written(file: Path) -> int:
    return file.stat().st_mtime_ns if file.exists() else 0
