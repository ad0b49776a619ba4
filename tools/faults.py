"""Run the fault tests and write the table of docs/experiments/reliability.md: runs, faults, losses.

    python tools/faults.py --quick     minutes: a few of each
    python tools/faults.py --all       an hour or two: 100 kills, 10,000 images, 2,000 mutants

The table replaces the one in the document and is printed. Exit code 1 where a test fails or
anything was lost, which the table then states.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from benchmark.system.atomic import write_file

ROOT = Path(__file__).parent.parent
REPORT = ROOT / "build" / "faults.xml"  # pytest's, in a folder that git ignores
DOCUMENT = ROOT / "docs" / "experiments" / "reliability.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"
TESTS = sorted((ROOT / "tests" / "faults").rglob("test_*.py"))


class FaultCount(NamedTuple):
    """Runs, injected faults and tests that lost something, of one kind of fault."""

    fault: str
    runs: int
    injected: int
    losses: int


def main() -> int:
    """Run the tests, write the table and return the exit code."""
    parser = argparse.ArgumentParser()
    much = parser.add_mutually_exclusive_group(required=True)
    much.add_argument("--quick", action="store_true")
    much.add_argument("--all", action="store_true")
    chosen = parser.parse_args()
    REPORT.unlink(missing_ok=True)  # of an earlier run, should pytest not begin
    words = [sys.executable, "-m", "pytest", f"--junitxml={REPORT}", *map(str, TESTS)]
    words += ["-o", "junit_family=xunit1"]  # the other kind has no properties of tests
    marks = [] if chosen.all else ["-m", "not slow"]
    ended = subprocess.run([*words, *marks], cwd=ROOT, check=False)
    lines, failed, skipped = read(REPORT.read_text())
    how = "--all" if chosen.all else "--quick"
    text = table(lines, failed, skipped, f"python tools/faults.py {how}")
    sys.stdout.write(text)
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    write_file(DOCUMENT, before + BEGIN + text + END + rest.partition(END)[2])
    return 1 if ended.returncode or any(line.losses for line in lines) else 0


def read(report: str) -> tuple[list[FaultCount], list[str], list[str]]:
    """Return counts by kind of fault, names of failed tests, and reasons of skipped ones."""
    counts: dict[str, FaultCount] = {}
    failed, skipped = [], []
    for case in ElementTree.fromstring(report).iter("testcase"):
        properties = {node.get("name"): node.get("value", "") for node in case.iter("property")}
        wrong = case.find("failure") is not None or case.find("error") is not None
        failed += [case.get("name", "")] * wrong
        if (skip := case.find("skipped")) is not None:
            skipped.append(f"{case.get('name', '')}: {skip.get('message', '')}")
        if "fault" in properties:
            new = FaultCount(
                properties["fault"],
                int(properties["runs"]),
                int(properties["injected"]),
                int(wrong),
            )
            old = counts.get(new.fault, FaultCount(new.fault, 0, 0, 0))
            sums = (a + b for a, b in zip(old[1:], new[1:], strict=True))
            counts[new.fault] = FaultCount(new.fault, *sums)
    return list(counts.values()), failed, skipped


def table(
    lines: Iterable[FaultCount], failed: Iterable[str], skipped: Iterable[str], command: str
) -> str:
    """Return the counts as a Markdown table, failed and skipped tests below it."""
    text = (
        f"Made by `{command}`.\n\n| fault | runs | faults injected | losses |\n|---|--:|--:|--:|\n"
    )
    for line in lines:
        text += f"| {line.fault} | {line.runs:,} | {line.injected:,} | {line.losses:,} |\n"
    for name in failed:
        text += f"\n**Failed:** {name}\n"
    for reason in skipped:
        text += f"\nNot run: {reason}\n"
    return text


if __name__ == "__main__":
    sys.exit(main())
