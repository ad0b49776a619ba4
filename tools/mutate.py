"""Mutation testing: find small changes of the code that no test notices.

    python -m tools.mutate benchmark/compare --seed 7 --count 40     40 mutants of a folder
    python -m tools.mutate --changed main            all mutants of the lines that differ from main

For each mutant, runs the test files that execute its line (map of `tools.affected`) in a copy of
the project, and prints the test that failed. Exit code 1 if no test failed for some mutant.
"""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from scipy.stats import binomtest

from tools.affected import ALL_TESTS, MAP, ROOT, changes, importers
from tools.mutants import Mutant, mutants_of

MUTANT_SECONDS = 1800  # time limit of a mutant's tests; a mutant that reaches it is killed
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
Lines = dict[str, dict[str, list[int]]]  # source file -> test file -> executed lines


class FileMutant(NamedTuple):
    """A mutant of a file of the project."""

    path: str
    mutant: Mutant

    def __str__(self) -> str:
        return f"{self.path}:{self.mutant.line}: {self.mutant.change}"


def find_mutants(source: str) -> list[FileMutant]:
    """Return all mutants of a file, or of the files in a folder, by path and line."""
    files = [ROOT / source] if source.endswith(".py") else sorted((ROOT / source).rglob("*.py"))
    names = {str(file.relative_to(ROOT)): file.read_text() for file in files}
    return [FileMutant(name, mutant) for name, text in names.items() for mutant in mutants_of(text)]


def copy_project(target: Path, root: Path = ROOT) -> None:
    """Copy every file that git does not ignore, links as links, and the built C loops."""
    arguments = ["git", "-C", root, "ls-files", "-z", "-co", "--exclude-standard"]
    output = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    for name in filter(None, output.split("\0")):
        if os.path.lexists(root / name):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, target / name, follow_symlinks=False)
    for extension in (root / "benchmark" / "metrics").glob("loops*.so"):
        shutil.copyfile(extension, target / extension.relative_to(root))


def tests_of(entry: FileMutant, lines: Lines) -> list[str]:
    """Return the test files that execute a mutant's statement, or import its module."""
    (first, last), sources = entry.mutant.statement, [entry.path]
    if entry.mutant.at_import:
        (first, last), sources = (0, sys.maxsize), [entry.path, *importers(entry.path, lines)]
    line_maps = (lines.get(source, {}) for source in sources)
    return sorted(
        {test for line_map in line_maps for test, executed_lines in line_map.items()
         if any(first <= line <= last for line in executed_lines)}
    )  # fmt: skip


def run_tests(copy: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Return pytest's exit code and the failed test; -1 and the reason after `MUTANT_SECONDS`."""
    paths = os.pathsep.join(map(str, (copy, copy / "tests")))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    arguments = ["-q", "-x", "-m", "not slow", "-p", "no:cacheprovider", "--basetemp=temporary"]
    try:
        process = subprocess.run(
            [sys.executable, "-B", "-m", "pytest", *arguments, *tests],
            cwd=copy, env=environment, capture_output=True, text=True, check=False,
            timeout=MUTANT_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return -1, "the time limit"
    match = FAILED.search(process.stdout)
    return process.returncode, match[1] if match else process.stdout[-500:]


def judge(copy: Path, entry: FileMutant, tests: Sequence[str]) -> str:
    """Return "killed by TEST", "survived", or "not executed" if no test executes the line."""
    if not tests:
        return "not executed"
    path = copy / entry.path
    original = path.read_text()
    path.write_text(entry.mutant.source)
    try:
        status, failed_test = run_tests(copy, tests)
    finally:
        path.write_text(original)
    return f"killed by {failed_test}" if status else "survived"


def main() -> int:
    """Run the command; return 0 if every mutant is killed, else 1."""
    parser = argparse.ArgumentParser(description="Sample mutants, and test each mutant.")
    parser.add_argument("places", nargs="*", help="files or folders, each sampled separately")
    parser.add_argument("--changed", metavar="COMMIT", help="only lines that differ from COMMIT")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample")
    parser.add_argument("--count", type=int, help="number of mutants per place; default: all")
    options = parser.parse_args()
    if not MAP.exists():
        parser.error("no map of executed lines: run `python -m tools.affected --record` first")
    lines: Lines = json.loads(MAP.read_text())["tests"]
    commit = options.changed
    changed = {change.after: change for change in changes(commit)} if commit else {}
    sample = list[FileMutant]()
    for place in options.places or sorted(name for name in changed if name in lines):
        mutants = find_mutants(place)
        if options.changed:
            mutants = [m for m in mutants if m.mutant.line in changed[m.path].new_lines]
        count = min(options.count or len(mutants), len(mutants))
        sample += random.Random(options.seed).sample(mutants, count)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Path(folder)
        copy_project(copy)
        tests = {entry: tests_of(entry, lines) for entry in sample}
        status, failed_test = run_tests(copy, sorted({*chain(*tests.values())}) or ALL_TESTS)
        if status:
            parser.error(f"a test fails without a mutant: {failed_test}")
        verdicts = {}
        for entry in sample:
            verdicts[entry] = judge(copy, entry, tests[entry])
            print(f"{entry}: {verdicts[entry]}", flush=True)
    num_killed = sum(verdict.startswith("killed") for verdict in verdicts.values())
    share = binomtest(num_killed, len(verdicts)).proportion_ci() if verdicts else (0.0, 0.0)
    low, high = (round(100 * end) for end in share)
    print(f"seed {options.seed}: {num_killed} of {len(verdicts)} killed ({low} to {high} %)")
    return int(num_killed < len(verdicts))


if __name__ == "__main__":
    sys.exit(main())
