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
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from scipy.stats import binomtest

TEST_FOLDER = Path(__file__).parents[2]
sys.path.insert(0, str(TEST_FOLDER))

from support.mutation.executed_lines import FILES, FOLDER, LINES, TESTS  # noqa: E402
from support.mutation.mutants import Mutant, mutants_of  # noqa: E402

ROOT = TEST_FOLDER.parent
TOO_SLOW, SPARE_SECONDS = 10, 60  # times as long as without the mutant, and so much more
TRACE = "from support.mutation.executed_lines import trace\n\ntrace()\n"
Record = dict[str, tuple[float, list[tuple[str, int]]]]  # seconds, (file, line) of a test


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


def mutants_below(place: str) -> list[FileMutant]:
    """Return all mutants of a file, or of the files in a folder, in the order of paths."""
    files = [ROOT / place] if place.endswith(".py") else sorted((ROOT / place).rglob("*.py"))
    names = {str(file.relative_to(ROOT)): file.read_text() for file in files}
    return [FileMutant(name, mutant) for name, text in names.items() for mutant in mutants_of(text)]


def changed_lines(base: str) -> dict[str, set[int]]:
    """Return the lines of the harness and of the contenders that differ from a commit, by file."""
    diff = _git("diff", "-U0", "--no-color", base, "--", "benchmark/*.py", "baselines/*.py")
    lines: dict[str, set[int]] = {}
    for text in diff.split("\n+++ b/")[1:]:
        hunks = re.findall(r"^@@ -\S+ \+(\d+)(?:,(\d+))? @@", text, re.MULTILINE)
        changed = {int(at) + n for at, count in hunks for n in range(int(count or 1))}
        lines[text.partition("\n")[0]] = changed
    return lines


def _git(*words: str) -> str:
    done = subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"git {words[0]}: {done.stderr.strip()}")
    return done.stdout


def room_tests(path: str) -> str:
    """Return the folder of tests that mirrors a source's room; flat files are the boundary's."""
    first, *rooms, name = path.split("/")
    flat = "commands" if name in ("cli.py", "__main__.py") else "boundary"
    mirror = TEST_FOLDER.joinpath(*([first] if first == "baselines" else []), *(rooms or [flat]))
    while not list(mirror.glob("**/test_*.py")):
        mirror = mirror.parent
    return str(mirror.relative_to(ROOT))


def read_equivalents() -> set[str]:
    """Return the names of the mutants that no test can notice."""
    lines = (TEST_FOLDER / "equivalent_mutants.txt").read_text().splitlines()
    return {line.rpartition("  # ")[0] for line in lines if line and line[0] != "#"}


def judge(
    chosen: Sequence[FileMutant], tests: Sequence[str], files: Sequence[str], out: Path
) -> dict[str, str]:
    """Return the verdict on each mutant by its key; those that `out` has are not tried again.

    files: the sources whose mutants may be chosen. The lines of them that tests execute are kept
    beside `out`, for the next sample of the same files.
    """
    with tempfile.TemporaryDirectory(prefix="mutants-") as temporary:
        copy = Path(temporary) / "checkout"
        tree = copy_project(copy)
        rows = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
        verdicts = {row["key"]: row["verdict"] for row in rows if row["tree"] == tree}
        record: Record = {}
        for entry in chosen:
            if entry.key not in verdicts:
                record = record or executed_lines(copy, tests, files, tree, out)
                verdicts[entry.key] = verdict(copy, entry, record)
                kept = {"tree": tree, "key": entry.key, "name": entry.name}
                with out.open("a") as file:
                    file.write(json.dumps({**kept, "verdict": verdicts[entry.key]}) + "\n")
    return verdicts


def copy_project(copy: Path) -> str:
    """Copy the files that git knows or would add; return a sha256 of the python files."""
    digest = hashlib.sha256()
    listed = _git("ls-files", "-z", "-co", "--exclude-standard").split("\0")
    for name in sorted(name for name in listed if (ROOT / name).is_file()):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy / name, follow_symlinks=False)
        if name.endswith(".py"):
            digest.update(f"{name}\0".encode() + (copy / name).read_bytes())
    if (shared := ROOT.parent / "shared").exists():
        (copy.parent / "shared").symlink_to(shared.resolve())
    return digest.hexdigest()


def executed_lines(
    copy: Path, tests: Sequence[str], files: Sequence[str], tree: str, out: Path
) -> Record:
    """Return seconds and lines of the tests that pass, the fastest first.

    Lines that a process executes which a test starts are the test's.
    """
    kept, of = out.with_suffix(".lines.json"), [tree, *tests, *files]
    if not kept.exists() or json.loads(kept.read_text())["of"] != of:
        (copy / FILES).write_text(json.dumps(files))
        (copy / "tracing").mkdir()
        (copy / "tracing" / "sitecustomize.py").write_text(TRACE)
        if _pytest(copy, ["-p", "support.mutation.executed_lines", *tests], None) not in (0, 1):
            raise SystemExit("the tests could not be run without a mutant")
        shutil.rmtree(copy / "tracing")
        lines: dict[str, set[tuple[str, int]]] = {}
        for test, *line in map(json.loads, {*(copy / LINES).read_text().splitlines()}):
            lines.setdefault(test, set()).add((line[0], line[1]))
        rows = [*map(json.loads, (copy / TESTS).read_text().splitlines())]
        if unused := [test for test, passed, _ in rows if not passed]:
            print(f"of {len(rows)} tests, {len(unused)} not used: skipped, or failed by themselves")
            print(*unused, sep="\n")
        of_file = {test: lines.get(test.partition("::")[0], set()) for test, *_ in rows}
        record = {
            test: (seconds, sorted(lines.get(test, set()) | of_file[test]))
            for test, _, seconds in sorted(rows, key=lambda row: row[2]) if test not in unused
        }  # fmt: skip
        kept.write_text(json.dumps({"of": of, "tests": record}))
    executed: Record = json.loads(kept.read_text())["tests"]
    return executed


def verdict(copy: Path, entry: FileMutant, record: Record) -> str:
    """Return "killed", "survived", or "not executed" where no test executes the line."""
    (first, last), at_import = entry.mutant.statement, entry.mutant.at_import
    own = f"test_{Path(entry.path).stem}.py::"  # may read a table that is made at import alone
    names = [
        test
        for test, (_, lines) in record.items()
        if (at_import and own in test)
        or any(path == entry.path and (at_import or first <= at <= last) for path, at in lines)
    ]
    if not names:
        return "not executed"
    limit = TOO_SLOW * sum(record[name][0] for name in names) + SPARE_SECONDS
    path = copy / entry.path
    original = path.read_text()
    path.write_text(entry.mutant.source)
    try:
        status = _pytest(copy, ["-x", *names], limit)
        if status == 4:  # a mutant may change the names of tests; then all of their files run
            status = _pytest(copy, ["-x", *{name.partition("::")[0] for name in names}], limit)
    finally:
        path.write_text(original)
    return "killed" if status else "survived"


def _pytest(copy: Path, words: Sequence[str], limit: float | None) -> int:
    """Return pytest's exit code, -1 for a run that was stopped for its time."""
    options = ["-q", "-m", "not slow", "-p", "no:cacheprovider", "--basetemp=temporary"]
    paths = os.pathsep.join(map(str, (copy / "tracing", copy, copy / "tests")))
    own = {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *options, *words],
        cwd=copy,
        env={**os.environ, **own, FOLDER: str(copy)},
        start_new_session=True,
        stdout=None if limit is None else subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        return -1
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def killed_share(chosen: Sequence[FileMutant], verdicts: dict[str, str], left: int) -> str:
    """Return how many mutants were killed, and the 95 % interval of their share."""
    killed = sum(verdicts[entry.key] == "killed" for entry in chosen)
    equal = len(chosen) - killed - left
    share = binomtest(killed, killed + left).proportion_ci() if killed + left else (0.0, 0.0)
    low, high = (round(100 * end) for end in share)
    return f"{killed} of {killed + left} killed ({low} to {high} %), {equal} equivalent"


def main() -> int:
    """Run the command; return 0 where every mutant is killed or equivalent, else 1."""
    parser = argparse.ArgumentParser(description="Draw mutants and run the tests of each.")
    parser.add_argument("places", nargs="*", help="files or folders; the sample is of each")
    parser.add_argument("--changed", metavar="COMMIT", help="only lines that differ from it")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--count", type=int, help="mutants of each place; all without it")
    parser.add_argument("--tests", nargs="+", default=[], help="instead of those of the same room")
    parser.add_argument("--out", type=Path, default=ROOT / ".work" / "mutants.jsonl")
    asked = parser.parse_args()
    lines = changed_lines(asked.changed) if asked.changed else None
    chosen, files = list[FileMutant](), set[str]()
    for place in asked.places or sorted(lines or ()):
        every = mutants_below(place)
        files |= {one.path for one in every}
        if lines is not None:
            every = [one for one in every if one.mutant.line in lines.get(one.path, ())]
        number = len(every) if asked.count is None else min(asked.count, len(every))
        at = sorted(random.Random(asked.seed).sample(range(len(every)), number))
        chosen += [every[i] for i in at]
    if not chosen:
        parser.error("there is nothing to mutate: name files or folders, or --changed COMMIT")
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    tests = asked.tests or sorted({room_tests(path) for path in files} | files)
    verdicts, known = judge(chosen, tests, sorted(files), asked.out), read_equivalents()
    left = [
        entry for entry in chosen if verdicts[entry.key] != "killed" and entry.name not in known
    ]
    print(f"seed {asked.seed}; tests: {' '.join(tests)}")
    print(killed_share(chosen, verdicts, len(left)))
    for entry in left:
        print(f"{entry.path}:{entry.mutant.line}: {verdicts[entry.key]}: {entry.mutant.change}")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
