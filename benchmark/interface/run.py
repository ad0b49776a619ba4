"""Measure codecs from Python: the call behind `bench run`, without its words."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.codec_spec import split_unescaped
from benchmark.registry import USUAL_METRICS, metric_names

if TYPE_CHECKING:
    from benchmark.measure.outcome import Outcome, ShowsProgress

Points = str | Sequence[str] | Mapping[str, Sequence[float]]


def run(
    codecs: str | Sequence[str],
    dataset: str | Path = "sample",
    *,
    metrics: str | Sequence[str] = USUAL_METRICS,
    points: Points = (),
    limit: int | None = None,
    draws: int | None = None,
    results: str | Path = "results",
    jobs: int | None = None,
    timeout_seconds: float | None = None,
    device: str = "auto",
    engine: str = "local",
    address: str = "auto",
    gpus_per_worker: float = 1.0,
    timing: bool = False,
    keep: bool = True,
    verify: bool = False,
    flatten: bool = False,
    packs: Sequence[str | Path] = (),
    skip_missing: bool = False,
    data_dir: str | Path | None = None,
    weights_dir: str | Path | None = None,
    vtm_dir: str | Path | None = None,
    progress: "ShowsProgress | None" = None,
) -> "Outcome":
    """Measure codecs on the images of a dataset, as `bench run` does; finished cells are skipped.

    A cell is one image coded by one codec at one setting. Rows and streams are stored below
    `results`, where `bench report` and every other command find them.

    Parameters
    ----------
    codecs : str or sequence of str
        Specs such as ``"jpeg"``, ``"jpeg:subsampling=444"`` or ``"mine.py:Mine"``; ``"all"`` for
        every codec that runs here.
    dataset : str or Path
        A dataset by name, a folder of images, or ``"mine.py:open_mine"``.
    metrics : str or sequence of str
        Names of metrics, ``"mine.py:Mine"``, or ``"all"``. Distribution metrics such as
        ``"fid256"`` store features here and are computed by `summary`.
    points : mapping or sequence of str
        Settings instead of the codecs' own: ``{"jpeg.quality": [10, 30]}`` or
        ``["jpeg.quality=10,30"]``.
    limit : int, optional
        Use the first `limit` images only.
    draws : int, optional
        Measure each codec whose decoder draws so many times, with the seeds 0, 1, ...
    results : str or Path
        Folder of results; the rows of a dataset lie in ``results/<dataset>``.
    jobs : int, optional
        Cells to measure at the same time; by default one per core.
    timeout_seconds : float, optional
        Give a cell up as failed when encoding, decoding or scoring its image takes longer; by
        default never.
    device : {"auto", "cpu", "cuda"}
        Device of codecs and metrics.
    engine : {"local", "ray"}
        Where to measure: this machine, or the machines of the Ray cluster at `address`
        (HOST:PORT), with `gpus_per_worker` GPUs for each worker of a codec on a GPU.
    timing : bool
        Measure one cell at a time, so that seconds can be compared.
    keep : bool
        Keep the streams, from which metrics can be computed later.
    verify : bool
        Decode each kept stream again in a process that has nothing else; what differs is a failure.
    flatten : bool
        Accept images with transparency (laid on white) or in CMYK.
    packs : sequence of paths
        Bitstream archives whose streams are used instead of encoding.
    skip_missing : bool
        Leave out codecs that cannot run on this machine: ``skipped`` of the outcome has the
        reasons. Without it, the first of them raises `Unavailable`.
    data_dir, weights_dir : path, optional
        Folders to search first for datasets and weight files.
    vtm_dir : path, optional
        Folder of VTM's programs; by default ``$VTM_DIR``, else the PATH.
    progress : callable, optional
        Shows how far the run is: `benchmark.commands.output.show_progress`, which writes to
        standard error, or any function like it.

    Returns
    -------
    Outcome
        ``failures``, ``skipped`` and ``refused`` with reasons, and the stored rows of the cells
        that were asked for (``rows``, a pyarrow table). `load` makes a data frame of it.

    Raises
    ------
    UsageError
        For an unknown codec, dataset, metric or setting, before anything is measured.
    Unavailable
        If a codec, dataset or weight file that was named is not on this machine.
    KeyboardInterrupt
        If interrupted. Finished cells are stored; the same call resumes from there.
    """
    from benchmark.measure.run import run as measure
    from benchmark.measure.run import silent
    from benchmark.plan.request import Request

    request = Request(
        codecs=_texts(codecs),
        dataset=str(dataset),
        points=_points(points),
        metrics=metric_names(metrics),
        limit=limit,
        draws=draws,
        flatten=flatten,
        packs=tuple(map(Path, packs)),
        skip_missing=skip_missing,
        timing=timing,
        engine=engine,
        device=device,
        jobs=jobs,
        timeout_seconds=timeout_seconds,
        address=address,
        gpus_per_worker=gpus_per_worker,
        keep=keep,
        verify=verify,
        results=Path(results),
        data_dir=_path(data_dir),
        weights_dir=_path(weights_dir),
        vtm_dir=_path(vtm_dir),
    )
    return measure(request, progress=progress or silent)


def _texts(codecs: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(split_unescaped(codecs, ",") if isinstance(codecs, str) else codecs)


def _points(points: Points) -> tuple[str, ...]:
    if isinstance(points, str):
        return (points,)
    if isinstance(points, Mapping):
        return tuple(
            f"{name}={','.join(format(value, '.17g') for value in values)}"
            for name, values in points.items()
        )
    return tuple(points)


def _path(folder: str | Path | None) -> Path | None:
    return None if folder is None else Path(folder)
