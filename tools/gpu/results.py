"""Results of measurements on a GPU: lines of JSON, bars, and tables for docs/experiments/gpu.md.

A line is written after each measurement, so that results of an interrupted run are kept.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.errors import UsageError

FILE = "results.jsonl"
REST = "(the rest)"  # name of all cells that a step did not measure, since it was cut off
Row = Mapping[str, Any]  # a line of a cell: step, cell, text, passed, absent, numbers; or failed


class Result(NamedTuple):
    """Outcome of a measurement."""

    text: str
    passed: bool | None = None  # whether the measurement's claim holds; None without a claim
    absent: bool = False  # nothing was measured, for the reason in the text
    numbers: Mapping[str, float] = {}  # for bars, named with their units


def write_line(folder: Path, row: Row) -> None:
    """Append a line to the results in a folder."""
    with (folder / FILE).open("a") as file:
        file.write(json.dumps(row) + "\n")


def read_lines(folder: Path) -> tuple[Mapping[str, Any], list[Row]]:
    """Return the last description of a machine, with its date, and each cell's last row there."""
    described: dict[str, Any] = {}
    rows: dict[tuple[str, str], Row] = {}
    date, path = "", folder / FILE
    if not path.exists():
        raise UsageError(f"{folder} has no {FILE}: name the folder that measure wrote to")
    for line in path.read_text().splitlines():
        row = json.loads(line)
        if "described" in row:
            rows = rows if row["described"] == described else {}
            described, date = row["described"], row["date"]
        elif "begun" in row:  # a step that was cut off may run again
            rows.pop((row["begun"], REST), None)
        else:
            rows[row["step"], row["cell"]] = row
    return described | {"date": date}, list(rows.values())


class Bar(NamedTuple):
    """A limit of a cell's number; with a peer, a multiple of another cell's number."""

    cell: str
    number: str  # name of the number
    at_least: bool  # whether the limit is a minimum, not a maximum
    limit: float
    peer: tuple[str, str] | None = None  # another cell, and the name of its number
    earlier: str = ""  # numbers measured earlier, or by others

    def line(self, rows: Sequence[Row]) -> str:
        """Return the bar's line of the table."""
        numbers = {row["cell"]: row.get("numbers", {}) for row in rows}

        def number(cell: str, name: str) -> float:
            return float(numbers.get(cell, {}).get(name, math.nan))

        value, bar = number(self.cell, self.number), f"{self.limit:.4g}"
        peer = number(*self.peer) if self.peer else 1.0
        if self.peer:
            bar += f" x {', '.join(self.peer)}: {_text(peer)}"
        margin = (value - self.limit * peer) * (1 if self.at_least else -1)
        verdict = "" if math.isnan(margin) else "yes" if margin >= 0 else "**no**"
        cells = (f"{self.cell}: {self.number}", _text(value), f"{'≤≥'[self.at_least]} {bar}")
        return f"| {' | '.join((*cells, self.earlier, verdict))} |"


def _text(value: float) -> str:
    return "not measured" if math.isnan(value) else f"{value:.4g}"


FID = "pytorch-fid"
LOOPS = "benchmark.metrics.loops"  # module in C, built by the installation
H100 = "on an H100, at a01d6894"
PACKAGE_METRICS = ("ms_ssim", "lpips", "lpips_squeeze", "lpips_vgg", "dists")
CPU_METRICS = ("ssim", "ssimulacra2", "vif", "iw_ssim", "nlpd", "psnr_hvs_m")
CROPS, AFTER_START, SPEED = "crops_per_s", "after_start_s", "patches_per_s"
PEER = "eval_model, hyperprior 3"
LARGE_IMAGE_CELLS = ("full, 2 megapixels", "full, 2 megapixels, five metrics", "elic, 2 megapixels")
BARS = (
    Bar("mini, rates, recorded", CROPS, True, 2000, earlier=f"262 {H100}"),
    Bar("small, rates, recorded", CROPS, True, 700, earlier=f"158 {H100}"),
    Bar("full, rates, recorded", CROPS, True, 300, earlier=f"109 {H100}"),
    Bar("small, realism, recorded", CROPS, True, 3, ("small, realism, --no-graph", CROPS)),
    *(Bar("mini, rates, recorded", f"foreseen_{kind}_off", False, 0.15) for kind in ("s", "bytes")),
    Bar("ours", AFTER_START, False, 17.6 / 3,
        earlier=f"17.6 s {H100}, with the start, without LPIPS"),
    Bar("hyperprior 3", AFTER_START, False, 0.4, (PEER, AFTER_START)),
    Bar("hyperprior 3", "whole_s", False, 0.8, (PEER, "whole_s")),
    Bar("2,400 cells", "late_over_early", False, 1.1),
    *(Bar(cell, "busy_percent", True, 70) for cell in LARGE_IMAGE_CELLS),
    Bar("inception256", SPEED, True, 1, (FID, SPEED), "pytorch-fid: 1,516 to 2,169 on an H100"),
    Bar("inception256", "off", False, 1e-5),
    *(Bar(name, "ours_ms", False, 0.5, (name, "package_ms")) for name in PACKAGE_METRICS),
    *(Bar(name, "off", False, 1e-6) for name in (*PACKAGE_METRICS, *CPU_METRICS)),
)  # fmt: skip


def table(folder: Path) -> Iterator[str]:
    """Yield the lines of the tables of results and bars."""
    described, rows = read_lines(folder)
    versions = ", ".join(f"{name} {number}" for name, number in described["versions"].items())
    yield f"{described['device']}; {described['machine']}; {versions};"
    yield f"commit {described['commit'][:12]}, {described['date']}; images: {described['images']}."
    yield from ("", "| step | measured |", "|---|---|")
    for step in dict.fromkeys(row["step"] for row in rows):
        step_rows = [row for row in rows if row["step"] == step]
        absent = [row["cell"] for row in step_rows if row.get("absent")]
        cells = [result_text(row) for row in step_rows if not row.get("absent")]
        cells += [f"absent: {', '.join(absent)}"] if absent else []
        yield f"| {step} | {'; '.join(cells)} |"
    yield from ("", "| number | measured | bar | before | holds |", "|---|--:|---|---|---|")
    yield from (bar.line(rows) for bar in BARS)


def result_text(row: Row) -> str:
    """Return a cell's name and result."""
    text = f"failed: {row['failed']}" if "failed" in row else row["text"]
    mark = " **does not hold**" if row.get("passed") is False else ""
    return f"{row['cell']}: {text}{mark}"


def is_good(row: Row) -> bool:
    """Return whether a cell succeeded and its claim, if it has one, holds."""
    return "failed" not in row and row["passed"] is not False
