"""The tests that know of devices, run by pytest on the device that is here."""

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any
from xml.etree import ElementTree

from tools.gpu.conditions import ROOT, Conditions
from tools.gpu.part import Cell, Found, failures, measured, table

TITLE = "Tests of the device part"
CLAIM = "Every test with the marker `device` passes, and those of steps that wait for nothing."
# Their tests, file by file, so that a run that is interrupted goes on with the next one.
FILES = (
    *("tests/device/test_stand_in.py", "tests/device/test_coding.py"),
    *("tests/device/test_metrics.py", "tests/device/test_training.py"),
    "tests/baselines/neural/training/machine/test_no_waiting.py",
)
MINUTES = 7.0  # that a file may take


def cells(conditions: Conditions) -> Iterator[Cell]:
    """Yield a cell for every file of tests; a small run has one."""
    for name in FILES[:1] if conditions.small else FILES:
        yield Cell(name, partial(outcomes, conditions, name))


def outcomes(conditions: Conditions, name: str) -> dict[str, Any]:
    """Run a file of tests, and count what came of them."""
    report = conditions.out / "suite" / f"{name.replace('/', '-')}.xml"
    report.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", name, f"--junitxml={report}"],
        cwd=ROOT, capture_output=True, text=True, timeout=60 * MINUTES, check=False,
    )  # fmt: skip
    if not report.exists():
        raise RuntimeError(done.stdout.strip().rpartition("\n")[2] or "pytest wrote no report")
    suite = ElementTree.parse(report).getroot()[0]
    count = {key: int(suite.get(key, "0")) for key in ("tests", "failures", "errors", "skipped")}
    wrong = count["failures"] + count["errors"]
    passed = count["tests"] - wrong - count["skipped"]
    names = [case.get("name") for case in suite if case.find("failure") is not None]
    return {
        "passed": passed,
        "failures": wrong,
        "skipped": count["skipped"],
        "names": names,
        "held": not wrong and passed > 0,
    }


def section(found: Found) -> list[str]:
    """Return a table with a row for each file, and the names of tests that fail."""
    lines = [
        (f"`{key}`", row["passed"], row["failures"], row["skipped"])
        for key, row in measured(found).items()
    ]
    failed = [f"- `{key}`: {one}" for key, row in measured(found).items() for one in row["names"]]
    return [
        *table(("tests", "passed", "failed", "skipped"), lines),
        *([*failed, ""] if failed else []),
        *failures(found),
    ]
