"""Measure on a GPU what a CPU cannot show; write the table of docs/experiments/gpu.md.

Parts come in the order of what they tell, each with its share of `--minutes`. After every
measurement the results are in .work/gpu/results.json (`--out`) and the table in gpu.md beside it;
the same command measures what is missing, and again, last, what failed. Exit code 1 if a claim does
not hold or a measurement is missing, 2 without a usable GPU; bars decide none. $COMMIT names the
commit of a copy without .git.
"""

import argparse
import json
import math
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, NamedTuple

from benchmark.errors import BenchError, NotMeasurable, Unavailable, UsageError
from benchmark.plugins import one_line
from benchmark.system.atomic import write_file
from benchmark.system.settings import use_device
from tools.gpu.agreement import FID, coding, metrics, suite
from tools.gpu.conditions import ROOT, Cells, Conditions, Result, seeded_weights
from tools.gpu.speed import harness, training

PAGE = ROOT / "docs" / "experiments" / "gpu.md"
MARKS = "<!-- measured -->", "<!-- end -->"  # of the page's part that is written here
GRACE_SECONDS = 60.0  # that a measurement may take beyond its part's share

# Parts with the share of the time that each has: what is not begun by then is cut short.
SHARES: Sequence[tuple[Callable[[Conditions], Cells], float]] = (
    *((training, 0.3), (harness, 0.36), (metrics, 0.12), (suite, 0.1), (coding, 0.12)),
)
PARTS = {part.__name__: part for part, _ in SHARES}


class Bar(NamedTuple):
    """Number that a cell is to have, at least or at most a limit, times a number of a peer."""

    cell: str
    number: str
    least: bool
    limit: float
    peer: tuple[str, str] | None = None  # cell and number
    known: str = ""  # of earlier commits or of others, in words

    def row(self, parts: Mapping[str, Any]) -> str:
        """Return the row of the table, by the results of all parts."""
        rows = {key: row for results in parts.values() for key, row in results.items()}

        def number(cell: str, name: str) -> float:
            return float(rows.get(cell, {}).get("numbers", {}).get(name, math.nan))

        value, bar = number(self.cell, self.number), f"{self.limit:.4g}"
        peer = number(*self.peer) if self.peer else 1.0
        if self.peer:
            bar += f" x {', '.join(self.peer)}: {_text(peer)}"
        apart = (value - self.limit * peer) * (1 if self.least else -1)
        holds = "" if math.isnan(apart) else "yes" if apart >= 0 else "**no**"
        cells = (f"{self.cell}: {self.number}", _text(value), f"{'≤≥'[self.least]} {bar}")
        return f"| {' | '.join((*cells, self.known, holds))} |"


def _text(value: float) -> str:
    return "not measured" if math.isnan(value) else f"{value:.4g}"


THEN = "on an H100, at a01d6894"
OF_PACKAGES = ("ms_ssim", "lpips", "lpips_squeeze", "lpips_vgg", "dists")
ON_CORES = ("ssim", "ssimulacra2", "vif", "iw_ssim", "nlpd", "psnr_hvs_m")
CROPS, AFTER, SPEED = "crops_per_s", "after_start_s", "patches_per_s"
PEER = "eval_model, hyperprior 3"
LARGE = ("full, 2 megapixels", "full, 2 megapixels, five metrics", "elic, 2 megapixels")
BARS = (
    Bar("mini, rates, recorded", CROPS, True, 2000, known=f"262 {THEN}"),
    Bar("small, rates, recorded", CROPS, True, 700, known=f"158 {THEN}"),
    Bar("full, rates, recorded", CROPS, True, 300, known=f"109 {THEN}"),
    Bar("small, realism, recorded", CROPS, True, 3, ("small, realism, --no-graph", CROPS)),
    *(Bar("mini, rates, recorded", f"foreseen_{what}_off", False, 0.15) for what in ("s", "bytes")),
    Bar("ours", AFTER, False, 17.6 / 3, known=f"17.6 s {THEN}, with the start, without LPIPS"),
    Bar("hyperprior 3", AFTER, False, 0.4, (PEER, AFTER)),
    Bar("hyperprior 3", "whole_s", False, 0.8, (PEER, "whole_s")),
    Bar("2,400 cells", "late_over_early", False, 1.1),
    *(Bar(cell, "busy_percent", True, 70) for cell in LARGE),
    Bar("inception256", SPEED, True, 1, (FID, SPEED), "pytorch-fid: 1,516 to 2,169 on an H100"),
    Bar("inception256", "off", False, 1e-5),
    *(Bar(name, "ours_ms", False, 0.5, (name, "package_ms")) for name in OF_PACKAGES),
    *(Bar(name, "off", False, 1e-6) for name in (*OF_PACKAGES, *ON_CORES)),
)  # fmt: skip


def measure(conditions: Conditions, parts: Sequence[str], minutes: float) -> bool:
    """Measure what the results lack; return whether all is there and every claim holds."""
    path, described = conditions.out / "results.json", conditions.described()
    record: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if record.get("described") != described:  # of another machine or version: not joined
        record = {"described": described, "parts": {}}
    cut_short: list[str] = []
    record["cut short"] = cut_short
    shares, end = {part.__name__: share for part, share in SHARES}, monotonic() + 60 * minutes
    before = {part: dict(record["parts"].setdefault(part, {})) for part in parts}
    for again in (False, True):  # what failed may fail again, or end the process
        for part in parts:
            results, limit = record["parts"][part], monotonic() + 60 * minutes * shares.get(part, 1)
            for key, cell in PARTS[part](conditions):
                if key in before[part] if not again else "failed" not in before[part].get(key, {}):
                    continue
                now = monotonic()
                if now > min(end, limit) and not conditions.small:
                    cut_short += [part] * (part not in cut_short)
                    break
                results[key] = {"failed": "the process ended"}
                _write(conditions, record)
                most = 0 if conditions.small else min(end, limit + GRACE_SECONDS) - now
                results[key] = _outcome(cell, most) | {"seconds": round(monotonic() - now, 1)}
                _write(conditions, record)
                print(f"{part}: {_shown(key, results[key])}", flush=True)
    _write(conditions, record)
    if cut_short:
        print(f"cut short: {', '.join(cut_short)}; the same command goes on")
    rows = [row for part in parts for row in record["parts"][part].values()]
    return not cut_short and all("failed" not in row and row["passed"] is not False for row in rows)


def _outcome(cell: Callable[[], Result], seconds: float) -> dict[str, Any]:
    """Return the fields of a result, or why there is none, after so many seconds at most."""

    def over(*_: object) -> None:
        raise TimeoutError(f"not done in {seconds:.0f} s")

    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return cell()._asdict()
    except (Unavailable, NotMeasurable) as reason:
        return Result(f"absent: {reason}", absent=True)._asdict()
    except Exception as error:  # the failure of a measurement is its result
        return {"failed": one_line(error)}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _write(conditions: Conditions, record: Mapping[str, Any]) -> None:
    """Write results and table; on a GPU also the page."""
    write_file(conditions.out / "results.json", json.dumps(record, indent=1))
    first, last = map(re.escape, MARKS)
    text = "\n".join(table(record))
    page = re.sub(f"{first}.*{last}", lambda _: text, PAGE.read_text(), flags=re.DOTALL)
    for target in (conditions.out / "gpu.md", *([PAGE] if conditions.device == "cuda" else [])):
        write_file(target, page)


def table(record: Mapping[str, Any]) -> list[str]:
    """Return the measured part of the page, between its marks."""
    described, parts = record["described"], record["parts"]
    versions = ", ".join(f"{name} {number}" for name, number in described["versions"].items())
    lines = [
        *(MARKS[0], f"{described['device']}; {described['machine']}; {versions};"),
        f"commit {described['commit'][:12]}, {datetime.now(UTC):%Y-%m-%d}; "
        f"images: {described['images']}; networks of metrics have seeded weights.",
        *("", "| part | measured |", "|---|---|"),
    ]
    for part, results in parts.items():
        absent = [key for key, row in results.items() if row.get("absent")]
        cells = [_shown(key, row) for key, row in results.items() if key not in absent]
        cells += [f"absent: {', '.join(absent)}"] if absent else []
        cells += ["cut short"] if part in record["cut short"] else []
        lines.append(f"| {part} | {'; '.join(cells)} |")
    lines += ["", "| number | measured | bar | before | holds |", "|---|--:|---|---|---|"]
    return [*lines, *(bar.row(parts) for bar in BARS), MARKS[1]]


def _shown(key: str, row: Mapping[str, Any]) -> str:
    shown = f"failed: {row['failed']}" if "failed" in row else row["shown"]
    return f"{key}: {shown}{' **does not hold**' if row.get('passed') is False else ''}"


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="tools/on_gpu.sh", description="Measure on a GPU.")
    parser.add_argument("--out", type=Path, default=ROOT / ".work/gpu", help="folder of results")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, comma-separated")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="one crop and the smallest network")
    parser.add_argument("--minutes", type=float, default=8, help="end what is not done by then")
    arguments = parser.parse_args()
    parts = arguments.only.split(",")
    try:
        if unknown := [name for name in parts if name not in PARTS]:
            raise UsageError(f"--only {unknown[0]}: the parts are {', '.join(PARTS)}")
        if arguments.small and arguments.device != "cpu":
            raise UsageError("--small tries the parts themselves: add --device cpu")
        use_device(arguments.device)
    except BenchError as error:
        print(f"on_gpu: {error}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # programs end, the scratch goes
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="on_gpu-") as scratch, seeded_weights():
        conditions = Conditions(out, Path(scratch), arguments.device, arguments.small)
        return 0 if measure(conditions, parts, arguments.minutes) else 1


if __name__ == "__main__":
    sys.exit(main())
