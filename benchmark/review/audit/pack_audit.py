"""Audit of a pack: its streams decoded again, pixels and metrics compared with its records."""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from benchmark.datasets.dataset import Source
from benchmark.errors import BenchError
from benchmark.measure.cells import Conditions, Failed, Rescore
from benchmark.measure.local import Finished, carry_out
from benchmark.measure.record import Progress
from benchmark.measure.request import Request
from benchmark.measure.select import open_sources
from benchmark.registry import DATASETS, metric_named
from benchmark.rows.experiment import measured_place
from benchmark.rows.packs.contents import row_of
from benchmark.rows.packs.pack import Pack
from benchmark.rows.schema import metric_columns
from benchmark.rows.store import Store

# PSNR is the same everywhere; MS-SSIM and LPIPS differ by less than this between CPUs and GPUs.
TOLERANCE = 1e-6

Sources = Mapping[tuple[str, int], Source]  # by the sha256 of their pixels and their width


class Contradiction(NamedTuple):
    """A stream whose decoding or metrics differ from what the pack recorded."""

    cell: str  # "vtm qp=22 kodim01.png"
    what: str
    column: str = ""  # of the metric that differs


class PackAudit(NamedTuple):
    """The result of auditing a pack."""

    streams: int
    decoded: int  # to the recorded pixels
    compared: Mapping[str, int]  # number of equal values by metric column
    contradictions: tuple[Contradiction, ...]


def find_sources(
    pack: Pack, more: Iterable[str], request: Request
) -> tuple[Sources, dict[str, str]]:
    """Return a pack's images in its own or `more` datasets, and why its own are absent.

    Its own may be folders of images that runs in the folder of results recorded.
    """
    own = dict.fromkeys(stream.fields["dataset"] for stream in pack.streams.values())
    places = {name: measured_place(request.results, name) for name in own}
    more = [*more, *(place for name, place in places.items() if place != name)]
    opened, missing = open_photographs(own, more, request.data_dir, request.flatten)
    return by_pixels(opened), missing


def by_pixels(photographs: Mapping[str, Iterable[Source]]) -> Sources:
    """Return the images of all datasets by what rows and packs know of them."""
    every = (image for images in photographs.values() for image in images)
    return {(image.sha256, image.width_px): image for image in every}


def open_photographs(
    own: Iterable[str], more: Iterable[str], data_dir: Path | None, flatten: bool
) -> tuple[dict[str, tuple[Source, ...]], dict[str, str]]:
    """Return images by dataset, of registered `own` and of `more`, and why others are absent."""
    opened_images: dict[str, tuple[Source, ...]] = {}
    missing: dict[str, str] = {}
    of_rows = [name for name in own if name in DATASETS]
    for name in dict.fromkeys([*of_rows, *more]):
        try:
            opened = open_sources(Request(dataset=name, data_dir=data_dir, flatten=flatten))
        except BenchError as why:
            if name not in of_rows:
                raise
            missing[name] = str(why)
            continue
        opened_images[name] = opened.images
    return opened_images, missing


def audit_pack(
    pack: Pack, sources: Sources, conditions: Conditions, report: Callable[[Progress], None]
) -> PackAudit:
    """Decode every stream in worker processes, and score those whose source is available."""
    contradictions: list[Contradiction] = []
    decoded = finished = 0
    compared = {str(metric_named(name).column): 0 for name in conditions.metrics}
    with TemporaryDirectory(prefix="rdrbench-") as folder:
        tasks = list(_tasks(pack, sources, conditions, Path(folder), contradictions))
        for done in carry_out(tasks, conditions):
            if not isinstance(done, Finished):
                continue
            assert isinstance(done.task, Rescore), "nothing else was asked for"
            finished += 1
            recorded = done.task.row
            if isinstance(done.outcome, Failed):
                contradictions.append(Contradiction(name_of_row(recorded), done.outcome.reason))
            else:
                decoded += 1
                again = done.outcome.row
                contradictions += _differences(recorded, again, done.task.metrics, compared)
            report(Progress(finished, len(contradictions)))
    return PackAudit(len(pack.streams), decoded, compared, tuple(contradictions))


def _tasks(
    pack: Pack,
    sources: Sources,
    conditions: Conditions,
    folder: Path,
    contradictions: list[Contradiction],
) -> Iterable[Rescore]:
    """Yield a task per stream; streams are put where workers read them, wrong ones are reported."""
    store = Store(folder)
    for stream in pack.streams.values():
        row = row_of(pack, stream, conditions.run)
        try:
            store.keep(pack.read(stream))
        except BenchError as error:
            contradictions.append(Contradiction(name_of_row(row), str(error)))
            continue
        bpp = stream.fields.get("bpp")
        if not bpp or not math.isclose(float(bpp), row["bpp"], rel_tol=1e-12):
            what = f"its bpp is {row['bpp']}, not {bpp or 'left out'}"
            contradictions.append(Contradiction(name_of_row(row), what))
        source = sources.get((stream.image_sha256, stream.width_px))
        yield Rescore(row, source, conditions.metrics if source else (), folder)


def values_sent(row: Mapping[str, Any], metrics: Iterable[str]) -> dict[str, float]:
    """Return the values of a row under today's protocols, by metric column."""
    values = {}
    for kind in map(metric_named, metrics):
        value, protocol, _ = metric_columns(kind.column)
        if row.get(value) is not None and row.get(protocol) == kind.protocol:
            values[value] = row[value]
    return values


def _differences(
    recorded: Mapping[str, Any],
    again: Mapping[str, Any],
    metrics: Iterable[str],
    compared: dict[str, int],
) -> list[Contradiction]:
    """Return metrics whose value differs; count those that agree in `compared`."""
    differing = []
    for value, old in values_sent(recorded, metrics).items():
        if (new := again.get(value)) is None:
            continue
        if math.isclose(old, new, rel_tol=0, abs_tol=TOLERANCE):
            compared[value] += 1
        else:
            what = f"{value} is {new}, not {old}"
            differing.append(Contradiction(name_of_row(recorded), what, value))
    return differing


def name_of_row(row: Mapping[str, Any]) -> str:
    """Return codec, setting and image of a row: "vtm qp=22 kodim01.png"."""
    codec = ":".join(filter(None, (row["codec"], row["variant"])))
    return f"{codec} {row['setting_name']}={row['setting_value']:g} {row['image']}"
