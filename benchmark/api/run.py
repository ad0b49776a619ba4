"""Measure codecs from Python: the call behind `bench run`, without its words."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import UsageError
from benchmark.measure.request import Request
from benchmark.option import arguments

if TYPE_CHECKING:
    from benchmark.measure.record import Outcome, ShowsProgress


@arguments(Request)
def run(
    codecs: str | Sequence[str],
    dataset: str | Path = "sample",
    *,
    progress: "ShowsProgress | None" = None,
    **options: Any,
) -> "Outcome":
    """Measure codecs on the images of a dataset, as `bench run` does; finished cells are skipped.

    A cell is one image coded by one codec at one setting. Rows and streams are stored below
    `results`, where `bench report` and every other command find them. Raises `UsageError` for an
    unknown codec, dataset, metric or setting, and `Unavailable` if one that was named is not on
    this machine, before anything is measured. After `KeyboardInterrupt` the same call resumes.

    Parameters
    ----------
    {parameters}
    progress : callable, optional
        Shows how far the run is: `benchmark.commands.output.show_progress`, which writes to
        standard error, or any function like it.

    Returns
    -------
    Outcome
        ``failures``, ``skipped`` and ``refused`` with reasons, and the stored rows of the cells
        that were asked for (``rows``, a polars frame); of a ``target``, what was ``reached``.
        `load` makes a data frame of it.
    """
    from benchmark.measure.loop import run as measure
    from benchmark.measure.record import silent

    progress = progress or silent

    request, *others = Request.of(codecs=codecs, dataset=dataset, **options).of_each_dataset()
    if others:
        raise UsageError(f"{dataset} names several datasets: call this function for each")
    if request.target:
        from benchmark.compare.target import run_to_target

        return run_to_target(request, progress=progress)
    return measure(request, progress=progress)
