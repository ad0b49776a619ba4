"""Mutation testing: which small defects of the code would no test notice?

    python tests/support/mutation/mutate.py benchmark/compare --seed 7 --count 40
    python tests/support/mutation/mutate.py --changed main

It samples mutants of the given files, or of the lines that differ from a commit, and runs the tests
that execute each changed line, the fast ones first, in a copy of the project. Verdicts are kept in
a file (`--out`): the same command goes on where it was interrupted. `tests/equivalent_mutants.txt`
names those that cannot be noticed, with the reason.
"""

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from scipy.stats import binomtest

TESTS = Path(__file__).parents[2]
sys.path.insert(0, str(TESTS))


from support.mutation.executed_lines import TESTS as TRACED  # noqa: E402
from support.mutation.lines import FILES, FOLDER, LINES  # noqa: E402
from support.mutation.mutants import Mutant, mutants_of  # noqa: E402

ROOT = TESTS.parent
EQUIVALENT = Path("tests/equivalent_mutants.txt")
TOO_SLOW, SPARE_SECONDS = 10, 60  # times as long as without the mutant, and so much more
TRACE_CHILDREN = "from support.mutation.lines import trace_child\n\ntrace_child()\n"


class FileMutant(NamedTuple):
    """A mutant of a file of the project."""

    path: str
    mutant: Mutant

    @property
    def name(self) -> str:
        """How the list of equivalent mutants calls it; equal for equal changes of equal lines."""
        return f"{self.path}: {self.mutant.text}: {self.mutant.change}"

    @property
    def key(self) -> str:
        return hashlib.sha256(f"{self.path} {self.mutant.source}".encode()).hexdigest()


def mutants_below(root: Path, places: Iterable[str]) -> list[FileMutant]:
    """Return all mutants of files, or of the files in folders, in the order of paths and lines."""
    files = set()
    for place in places:
        files |= {root / place} if place.endswith(".py") else set((root / place).rglob("*.py"))
    return [
        FileMutant(str(file.relative_to(root)), mutant)
        for file in sorted(files)
        for mutant in mutants_of(file.read_text())
    ]


def changed_lines(root: Path, base: str) -> dict[str, set[int]]:
    """Return the lines of the harness and of the contenders that differ from a commit, by file."""
    command = ["git", "-C", str(root), "diff", "-U0", "--no-color", base, "--", "*.py"]
    reported = subprocess.run(command, capture_output=True, text=True, check=False)
    if reported.returncode:
        raise SystemExit(f"git cannot compare with {base}: {reported.stderr.strip()}")
    lines: dict[str, set[int]] = {}
    path = ""
    for line in reported.stdout.splitlines():
        if line.startswith("+++ "):
            path = line.removeprefix("+++ ").removeprefix("b/")
        elif (hunk := re.match(r"@@ -\S+ \+(\d+)(?:,(\d+))? @@", line)) and is_source(path):
            first, count = int(hunk[1]), int(hunk[2] or 1)
            lines.setdefault(path, set()).update(range(first, first + count))
    return lines


def is_source(path: str) -> bool:
    return path.startswith(("benchmark/", "baselines/"))


def _room(path: str) -> str:
    """Return the room of a file of the harness: a folder, or one of three for its own files."""
    first = Path(path).with_suffix("").parts[1]
    if first in ("cli", "__main__"):
        return "commands"
    flat = (ROOT / "benchmark" / f"{first}.py").exists()
    return "interface" if first == "__init__" else "boundary" if flat else first


def room_tests(root: Path, path: str) -> str:
    """Return the folder of tests that mirrors a source's room."""
    if path.startswith("benchmark/"):
        mirror = root / "tests" / _room(path)
    else:
        mirror = (root / "tests" / path).parent
    while not mirror.is_dir() or not list(mirror.rglob("test_*.py")):
        mirror = mirror.parent
    return str(mirror.relative_to(root))


def read_equivalents(root: Path) -> dict[str, str]:
    """Return the mutants that no test can notice, with the reasons."""
    file = root / EQUIVALENT
    result = {}
    for line in file.read_text().splitlines() if file.exists() else ():
        if line and not line.startswith("#"):
            name, _, reason = line.rpartition("  # ")
            result[name] = reason
    return result


def judge(
    root: Path, chosen: Sequence[FileMutant], tests: Sequence[str], files: Sequence[str], out: Path
) -> dict[str, str]:
    """Return the verdict on each mutant by its key; those that `out` has are not tried again.

    files: the sources whose mutants may be chosen. The lines of them that tests execute are kept
    beside `out`, for the next sample of the same files.
    """
    with tempfile.TemporaryDirectory(prefix="mutants-") as temporary:
        copy = Path(temporary) / "checkout"
        tree = copy_project(root, copy)
        rows = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
        verdicts = {row["key"]: row["verdict"] for row in rows if row["tree"] == tree}
        lines: dict[str, Any] = {}
        for entry in chosen:
            if entry.key not in verdicts:
                lines = lines or executed_lines(copy, tests, files, tree, out)
                verdicts[entry.key] = verdict(copy, entry, lines)
                kept = {"tree": tree, "key": entry.key, "name": entry.name}
                with out.open("a") as file:
                    file.write(json.dumps({**kept, "verdict": verdicts[entry.key]}) + "\n")
    return verdicts


def copy_project(root: Path, copy: Path) -> str:
    """Copy the files that git knows or would add; return a sha256 of the python files."""
    command = ["git", "-C", str(root), "ls-files", "-z", "-co", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    digest = hashlib.sha256()
    for name in sorted(filter(None, listed.split("\0"))):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        if (root / name).is_symlink():
            (copy / name).symlink_to((root / name).readlink())
        elif (root / name).is_file():
            shutil.copyfile(root / name, copy / name)
            if name.endswith(".py"):
                digest.update(f"{name}\0".encode() + (copy / name).read_bytes())
    shared = root.parent / "shared"
    if shared.exists() and not (copy.parent / "shared").exists():
        (copy.parent / "shared").symlink_to(shared.resolve())
    return digest.hexdigest()


def executed_lines(
    copy: Path, tests: Sequence[str], files: Sequence[str], tree: str, out: Path
) -> dict[str, Any]:
    """Return seconds and lines, as [file, line], of the tests that pass, the fastest first.

    Lines that a process executes which a test starts are the test's.
    """
    kept, of = out.with_suffix(".lines.json"), [tree, *tests, *files]
    record = json.loads(kept.read_text()) if kept.exists() else {}
    if record.get("of") != of:
        (copy / FILES).write_text(json.dumps(files))
        (copy / "tracing").mkdir()
        (copy / "tracing" / "sitecustomize.py").write_text(TRACE_CHILDREN)
        if _pytest(copy, ["-p", "support.mutation.executed_lines", *tests], None) not in (0, 1):
            raise SystemExit("the tests could not be run without a mutant")
        shutil.rmtree(copy / "tracing")
        record = {"of": of, **_tests_with_lines(copy)}
        kept.write_text(json.dumps(record))
    if unused := record["unused"]:
        whole = len(unused) + len(record["tests"])
        print(f"of {whole} tests, {len(unused)} not used: skipped, or failed without a mutant")
        print(*unused, sep="\n")
    executed: dict[str, Any] = record["tests"]
    return executed


def _tests_with_lines(copy: Path) -> dict[str, Any]:
    traced = json.loads((copy / TRACED).read_text())
    lines: dict[str, list[tuple[str, int]]] = {}
    for row in sorted(set((copy / LINES).read_text().splitlines())):
        test, file, line = json.loads(row)
        lines.setdefault(test, []).append((file, line))
    tests = {
        test: {
            "seconds": seconds,
            "lines": lines.get(test, []) + lines.get(test.partition("::")[0], []),
        }
        for test, seconds in sorted(traced["seconds"].items(), key=lambda item: item[1])
    }
    return {"tests": tests, "unused": traced["unused"]}


def verdict(copy: Path, found: FileMutant, tests: dict[str, Any]) -> str:
    """Return "killed", "survived", or "not executed" where no test executes the line."""
    first, last = found.mutant.statement
    own = f"test_{Path(found.path).stem}.py::"  # may read a table that is made at import alone
    names = [
        name
        for name, test in tests.items()
        if (found.mutant.at_import and own in name)
        or any(
            path == found.path and (found.mutant.at_import or first <= line <= last)
            for path, line in test["lines"]
        )
    ]
    if not names:
        return "not executed"
    limit = TOO_SLOW * sum(tests[name]["seconds"] for name in names) + SPARE_SECONDS
    path = copy / found.path
    original = path.read_text()
    path.write_text(found.mutant.source)
    try:
        status = _pytest(copy, ["-x", *names], limit)
        if status == 4:  # a mutant may change the names of tests; then all of their files run
            whole = sorted({name.partition("::")[0] for name in names})
            status = _pytest(copy, ["-x", *whole], limit)
    finally:
        path.write_text(original)
    return "killed" if status else "survived"


def _pytest(copy: Path, words: Sequence[str], limit: float | None) -> int:
    """Return pytest's exit code, -1 for a run that was stopped for its time."""
    options = ["-q", "-m", "not slow", "-p", "no:cacheprovider", "--basetemp=temporary"]
    paths = os.pathsep.join(map(str, (copy / "tracing", copy, copy / "tests", TESTS)))
    own = {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    own[FOLDER] = str(copy)
    quiet = {} if limit is None else {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *options, *words],
        cwd=copy,
        env={**os.environ, **own},
        start_new_session=True,
        **quiet,
    )
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        return -1
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def table(
    areas: Sequence[str],
    chosen: Sequence[FileMutant],
    verdicts: dict[str, str],
    known: dict[str, str],
) -> str:
    """Return a markdown table by area: mutants, killed, equivalent, survivors, killed share."""
    lines = ["| area | mutants | killed | equivalent | survivors | killed, 95 % interval |"]
    lines += ["|---|--:|--:|--:|--:|--:|"]
    for area in [*areas, *(["together"] if len(areas) > 1 else [])]:
        mine = [one for one in chosen if area == "together" or one.path.startswith(area)]
        killed = sum(verdicts[entry.key] == "killed" for entry in mine)
        equal = sum(verdicts[entry.key] != "killed" and entry.name in known for entry in mine)
        noticed = len(mine) - equal
        share = "-"
        if noticed:
            interval = binomtest(killed, noticed).proportion_ci()
            low, high = 100 * interval.low, 100 * interval.high
            share = f"{100 * killed / noticed:.1f} % ({low:.0f} to {high:.0f})"
        left = noticed - killed
        lines.append(f"| {area} | {len(mine)} | {killed} | {equal} | {left} | {share} |")
    return "\n".join(lines)


def draw(found: Sequence[FileMutant], seed: int, count: int | None) -> list[FileMutant]:
    """Return `count` mutants, or all, drawn without replacement, in the order of the files."""
    if count is None or count >= len(found):
        return list(found)
    return [found[i] for i in sorted(random.Random(seed).sample(range(len(found)), count))]


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Run the command; return 0 where every mutant is killed or equivalent, else 1."""
    parser = argparse.ArgumentParser(description="Draw mutants and run the tests of each.")
    parser.add_argument("places", nargs="*", help="files or folders; the sample is of each")
    parser.add_argument("--changed", metavar="COMMIT", help="only lines that differ from it")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--count", type=int, help="mutants of each place; all without it")
    parser.add_argument("--tests", nargs="+", default=[], help="instead of those of the same room")
    parser.add_argument("--out", type=Path, default=root / ".work" / "mutants.jsonl")
    asked = parser.parse_args(arguments)
    lines = changed_lines(root, asked.changed) if asked.changed else None
    areas = asked.places or sorted(lines or ())
    if not areas:
        parser.error("name files or folders, or --changed COMMIT")
    chosen: list[FileMutant] = []
    for area in areas:
        result = mutants_below(root, [area])
        if lines is not None:
            result = [one for one in result if one.mutant.line in lines.get(one.path, ())]
        chosen += draw(result, asked.seed, asked.count)
    if not chosen:
        print("there is nothing to mutate")
        return 0
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    files = sorted({one.path for area in areas for one in mutants_below(root, [area])})
    tests = asked.tests or sorted({room_tests(root, path) for path in files} | set(files))
    verdicts = judge(root, chosen, tests, files, asked.out)
    known = read_equivalents(root)
    print(f"seed {asked.seed}; tests: {' '.join(tests)}\n")
    print(table(areas, chosen, verdicts, known))
    left = [
        entry for entry in chosen if verdicts[entry.key] != "killed" and entry.name not in known
    ]
    for entry in left:
        print(f"{entry.path}:{entry.mutant.line}: {verdicts[entry.key]}: {entry.mutant.change}")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
