"""Several workers of `bench run` on one device: the same rows, and how long they take."""

import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from time import perf_counter
from typing import Any
from unittest.mock import patch

from benchmark.interface.run import run
from benchmark.measure.engine import local
from tools.gpu.conditions import Conditions
from tools.gpu.networks import weights_folder
from tools.gpu.part import Cell, Found, failures, measured, table

TITLE = "Several workers on one GPU"
CLAIM = "Rows of two and of four workers have the streams, pixels and metrics of one worker's."
COUNTS = (1, 2, 4)
POINTS = {"ours.q": [1.0, 3.0]}
METRICS = ("psnr", "ms_ssim")
IMAGES, SMALL_IMAGES = 8, 1
COMPARED = ("stream_sha256", "decoded_sha256", "psnr_db", "ms_ssim")


def cells(conditions: Conditions) -> Iterator[Cell]:
    """Yield a cell for every number of workers."""
    for count in COUNTS:
        yield Cell(f"{count} workers", partial(compared, conditions, count))


def compared(conditions: Conditions, count: int) -> dict[str, Any]:
    """Measure with so many workers, and compare the rows with those of one."""
    shutil.rmtree(conditions.out / "workers" / str(count), ignore_errors=True)
    started = perf_counter()
    rows = _rows(conditions, count)
    seconds = perf_counter() - started
    expected = rows if count == 1 else _rows(conditions, 1)
    same = sum(rows.get(cell) == row for cell, row in expected.items())
    held = same == len(expected) == len(rows) > 0
    return {"rows": len(rows), "same": same, "seconds": seconds, "held": held}


def _rows(conditions: Conditions, count: int) -> Mapping[tuple[str, float], tuple[Any, ...]]:
    """Return the compared columns of every cell, by image and setting."""
    folder = conditions.out / "workers" / str(count)
    with patch.multiple(local, USUAL_WORKERS=count, MOST_WORKERS=count, WORKER_BYTES=1):
        done = run(
            "ours:beta=0",
            conditions.dataset,
            metrics=METRICS,
            points=POINTS,
            limit=SMALL_IMAGES if conditions.small else IMAGES,
            results=folder,
            jobs=count,
            device=conditions.device,
            weights_dir=weights_folder(conditions),
        )
    if done.failures:
        raise RuntimeError(f"{done.failures[0].cell}: {done.failures[0].reason}")
    return {
        (row["image"], row["setting_value"]): tuple(row[name] for name in COMPARED)
        for row in done.rows.to_pylist()
    }


def section(found: Found) -> list[str]:
    """Return a table with a row for each number of workers."""
    lines = [
        (key, row["rows"], row["same"], f"{row['seconds']:.1f}")
        for key, row in measured(found).items()
    ]
    header = ("workers", "rows", "equal to one worker's", "s, start of the workers included")
    return [*table(header, lines), *failures(found)]
