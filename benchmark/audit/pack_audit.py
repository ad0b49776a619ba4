"""An anchor pack against its own words: streams decoded again, pixels and metrics compared."""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from benchmark.datasets.source import Source
from benchmark.errors import BenchError
from benchmark.measure.engine.local import carry_out
from benchmark.measure.execute import Failed
from benchmark.measure.outcome import Progress
from benchmark.measure.workbench import Conditions, Rescore
from benchmark.metrics.metric import metric_columns
from benchmark.packs.import_pack import row_of
from benchmark.packs.pack import Line, Pack
from benchmark.registry import metric_class
from benchmark.rows.store import Store

# PSNR is the same everywhere; MS-SSIM and LPIPS differ by less than this between CPUs and GPUs.
TOLERANCE = 1e-6


class Problem(NamedTuple):
    """Where a pack is not what it says."""

    cell: str  # "vtm qp=22 kodim01.png"
    what: str


class Verdict(NamedTuple):
    """What an audit came to."""

    streams: int
    decoded: int  # to the pixels that were recorded
    compared: Mapping[str, int]  # metric column to the values that are the same
    problems: tuple[Problem, ...]


def audit_pack(
    pack: Pack,
    sources: Mapping[tuple[str, int], Source],
    conditions: Conditions,
    report: Callable[[Progress], None],
) -> Verdict:
    """Decode every stream in a worker process; score those whose source is here.

    `sources` by the sha256 of their pixels and their width.
    """
    problems: list[Problem] = []
    decoded = finished = 0
    compared = dict.fromkeys(map(_column, conditions.metrics), 0)
    with TemporaryDirectory(prefix="rdrbench-") as folder:
        tasks = list(_tasks(pack, sources, conditions, Path(folder), problems))
        for done in carry_out(tasks, conditions):
            if done is None:
                continue
            assert isinstance(done.task, Rescore), "nothing else was asked for"
            finished += 1
            recorded = done.task.row
            if isinstance(done.outcome, Failed):
                problems.append(Problem(_cell(recorded), done.outcome.reason))
            else:
                decoded += 1
                again = done.outcome.row
                problems += _differences(recorded, again, done.task.metrics, compared)
            report(Progress(finished, len(problems)))
    return Verdict(len(pack.lines), decoded, compared, tuple(problems))


def _tasks(
    pack: Pack,
    sources: Mapping[tuple[str, int], Source],
    conditions: Conditions,
    folder: Path,
    problems: list[Problem],
) -> Iterable[Rescore]:
    """A task a stream; the streams are put where workers read them, wrong ones are problems."""
    store = Store(folder)
    for line in pack.lines.values():
        row = row_of(pack, line, conditions.run)
        try:
            store.keep(pack.stream(line))
        except BenchError as error:
            problems.append(Problem(_cell(row), str(error)))
            continue
        problems += [Problem(_cell(row), what) for what in _contradictions(line, row)]
        source = sources.get((line.image_sha256, line.width_px))
        yield Rescore(row, source, conditions.metrics if source else (), folder)


def _contradictions(line: Line, row: Mapping[str, Any]) -> list[str]:
    told = line.cells.get("bpp")
    if not told or not math.isclose(float(told), row["bpp"], rel_tol=1e-12):
        return [f"its bpp is {row['bpp']}, not {told or 'left out'}"]
    return []


def _differences(
    recorded: Mapping[str, Any],
    again: Mapping[str, Any],
    metrics: Iterable[str],
    compared: dict[str, int],
) -> list[Problem]:
    """Metrics that have another value now; those that agree are counted in `compared`."""
    problems = []
    for name in metrics:
        kind = metric_class(name)
        value, protocol, _ = metric_columns(kind.column)
        old, new = recorded.get(value), again.get(value)
        if old is None or new is None or recorded.get(protocol) != kind.protocol:
            continue
        if old == new or math.isclose(old, new, rel_tol=0, abs_tol=TOLERANCE):
            compared[value] += 1
        else:
            problems.append(Problem(_cell(recorded), f"{value} is {new}, not {old}"))
    return problems


def _column(metric: str) -> str:
    return str(metric_class(metric).column)


def _cell(row: Mapping[str, Any]) -> str:
    codec = ":".join(filter(None, (row["codec"], row["variant"])))
    return f"{codec} {row['setting_name']}={row['setting_value']:g} {row['image']}"
