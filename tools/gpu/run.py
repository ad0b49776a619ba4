"""Measure on a GPU, part by part, and write the page; see docs/gpu.md.

python -m tools.gpu.run [--out DIR] [--only PART,...] [--device cuda|cpu] [--small] [--again]
                        [--carried FOLDER] [--list]
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import monotonic

from benchmark.errors import BenchError, Unavailable, UsageError
from benchmark.system.atomic import write_file
from benchmark.system.processes import end_tree
from benchmark.system.settings import use_device
from benchmark.user_file import one_line
from tools.gpu.conditions import ROOT, Conditions
from tools.gpu.document import PARTS, render
from tools.gpu.part import broken
from tools.gpu.record import Record, read_record

PAGE = ROOT / "docs" / "gpu.md"
# Seconds after which a part begins no other cell; 24 minutes in all.
BUDGETS = {
    "suite": 300, "coding": 270, "metrics": 150, "exchange": 150, "seconds": 150, "frechet": 90,
    "training": 210, "workers": 120,
}  # fmt: skip
LONGEST_SECONDS = 540  # of a part; then it is ended
GRACE_SECONDS = 10


def main() -> int:
    """Run the chosen parts, each in a process of its own; print what came of them."""
    given = _arguments()
    if given.list:
        for name, part in PARTS.items():
            print(f"{name:10}{BUDGETS[name]:4} s  {part.TITLE}. {part.CLAIM}")
        return 0
    asked = given.only.split(",") if given.only else list(PARTS)
    try:
        conditions = _conditions(given, asked)
    except BenchError as error:
        print(f"on_gpu: {error}", file=sys.stderr)
        return 2
    if given.part:
        carry_out(conditions, given.part)
        return 0
    out = conditions.out
    out.mkdir(parents=True, exist_ok=True)
    for name in asked if given.again else ():
        (out / f"{name}.json").unlink(missing_ok=True)
    print(f"{len(asked)} parts: {', '.join(asked)}; records in {out}", flush=True)
    held = [_part(conditions, name) for name in asked]
    page = write_page(conditions)
    print(f"{page}: written from {len(list(out.glob('*.json')))} records")
    return 0 if all(held) else 1


def _conditions(given: argparse.Namespace, asked: Sequence[str]) -> Conditions:
    """Return the conditions that were asked for; raise `BenchError` where they cannot be had."""
    strange = [name for name in asked if name not in PARTS]
    if strange:
        raise UsageError(f"--only {strange[0]}: the parts are {', '.join(PARTS)}")
    if given.small and given.device != "cpu":
        raise UsageError("--small tries the parts themselves: add --device cpu")
    if given.carried and not given.carried.is_dir():
        raise UsageError(f"--carried {given.carried}: there is no such folder")
    try:
        use_device(given.device)
    except Unavailable as error:
        hint = "to try the parts without a GPU, give --device cpu --small"
        raise Unavailable(f"{error.args[0].partition(';')[0]}; {hint}") from error
    carried = given.carried.resolve() if given.carried else None
    return Conditions(given.out.resolve(), given.device, given.small, carried)


def carry_out(conditions: Conditions, name: str) -> None:
    """Measure the cells of a part that its record lacks, until its time is up."""
    started = monotonic()
    part, path = PARTS[name], conditions.out / f"{name}.json"
    described = conditions.described()
    record = read_record(path)
    if record is None or not record.continues(described):
        record = Record(described)
        if hasattr(part, "begin"):
            part.begin(conditions)
    record.complete, record.ended = False, ""
    for cell in part.cells(conditions):
        if not record.to_do(cell.key):
            continue
        # A small run tries every cell, however busy the machine is.
        if not conditions.small and monotonic() - started > BUDGETS[name]:
            record.ended = "its time was up, the same command goes on"
            record.write(path)
            return
        record.running = cell.key
        record.write(path)
        try:
            found = cell.measure()
        except Exception as error:  # a cell is foreign code to the others: its failure is a result
            found = {"failed": one_line(error)}
        record.cells[cell.key], record.running = found, ""
        record.write(path)
    record.complete = True
    record.write(path)


def write_page(conditions: Conditions) -> Path:
    """Write the page beside the records, and to the documentation if a GPU was measured."""
    found = {name: read_record(conditions.out / f"{name}.json") for name in PARTS}
    text = render({name: record for name, record in found.items() if record})
    page = conditions.out / "gpu.md"
    write_file(page, text)
    if conditions.device == "cuda":
        page = PAGE
        write_file(page, text)
    return page


def _part(conditions: Conditions, name: str) -> bool:
    """Run a part in a process; return whether it is complete and its claim holds."""
    print(f"{name}: {PARTS[name].TITLE}, about {BUDGETS[name]} s", flush=True)
    words = ["--part", name, "--out", conditions.out, "--device", conditions.device]
    words += ["--small"] if conditions.small else []
    words += ["--carried", conditions.carried] if conditions.carried else []
    started = monotonic()
    why = _process([sys.executable, "-m", "tools.gpu.run", *map(str, words)])
    path = conditions.out / f"{name}.json"
    record = read_record(path) or Record(conditions.described())
    if why:
        record.ended = why
        if record.running:
            record.cells[record.running] = {"failed": why}
        record.running = ""
        record.write(path)
    wrong = broken(record.cells)
    for key in wrong:
        print(f"  {key}: {record.cells[key].get('failed', 'the claim does not hold')}")
    state = "complete" if record.complete else f"not complete: {record.ended}"
    seconds = monotonic() - started
    print(f"  {len(record.cells)} cells, {len(wrong)} wrong, {state}, {seconds:.0f} s", flush=True)
    return record.complete and not wrong


def _process(words: list[str]) -> str:
    """Run a process and all that it starts; return why it ended early, or nothing."""
    with subprocess.Popen(words, cwd=ROOT, start_new_session=True) as child:
        in_time = False
        try:
            in_time = _ends_within(child, LONGEST_SECONDS)
        finally:
            if not in_time:
                end_tree(child.pid, partial(_ends_within, child), GRACE_SECONDS)
    if not in_time:
        return f"it was ended after {LONGEST_SECONDS} s"
    return f"its process ended with {child.returncode}" if child.returncode else ""


def _ends_within(child: "subprocess.Popen[bytes]", seconds: float) -> bool:
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools/on_gpu.sh", description="Measure on a GPU.")
    parser.add_argument("--out", type=Path, default=ROOT / ".work/gpu", help="folder of records")
    parser.add_argument("--only", default="", help="parts, comma-separated; default: all")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="one crop and the smallest network")
    parser.add_argument("--carried", type=Path, help="folder of packs of another machine")
    parser.add_argument("--again", action="store_true", help="measure anew what is recorded")
    parser.add_argument("--list", action="store_true", help="print the parts")
    parser.add_argument("--part", choices=tuple(PARTS), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("on_gpu: interrupted; the same command goes on", file=sys.stderr)
        sys.exit(130)
