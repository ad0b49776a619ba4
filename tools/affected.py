"""Run the tests that a change affects, using a map of the lines that each test file executes.

    python -m tools.affected --record          run the fast tests and record the map
    python -m tools.affected                   list the tests that execute lines changed since then
    python -m tools.affected FILE... --run     run the tests that changes of these files affect

A changed line affects the tests that execute its function; a changed line outside of functions, the
tests of its file and of files that import it. A moved file is looked up by its former path. If a
file is neither a module of the packages nor a test (data, settings, shared code of tests), its
change affects every test, as does any change without a map.
"""

import argparse
import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import coverage

ROOT = Path(__file__).parents[1]
MAP = ROOT / ".work" / "affected.json"
PACKAGES = ("benchmark", "baselines")
ALL_TESTS = ["tests", *PACKAGES]  # arguments of pytest for all tests and doctests
CONTEXT = "PYTEST_CURRENT_TEST"  # variable in which pytest names the current test
# Processes that a test starts record executed lines too, under the test's name.
SETTINGS = f"""[run]
source = {",".join(PACKAGES)}
parallel = true
patch = _exit
sigterm = true
context = ${{{CONTEXT}-}}
data_file = {{folder}}/coverage
disable_warnings = no-data-collected, module-not-measured, module-not-imported
"""


class Change(NamedTuple):
    """A changed file, with the changed lines of both versions."""

    before: str  # former path, "" for a new file
    after: str
    lines: tuple[int, ...] = ()  # of the former version
    new_lines: tuple[int, ...] = ()


class Recorder:
    """A pytest plugin that tells coverage which test is running."""

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Record executed lines under the test's name, from its set-up on."""
        if (current := coverage.Coverage.current()) is not None:
            current.switch_context(nodeid)


def record(arguments: list[str]) -> int:
    """Run pytest under coverage with these arguments, write the map, return the exit code."""
    folder = MAP.parent / "coverage"
    folder.mkdir(parents=True, exist_ok=True)
    for old_file in folder.iterdir():
        old_file.unlink()
    settings = folder / "settings.ini"
    settings.write_text(SETTINGS.replace("{folder}", str(folder)))
    options = ["-q", "-m", "not slow", "-p", "no:cacheprovider", "-p", "tools.affected"]
    inherited = {CONTEXT, "COVERAGE_FILE"}  # would replace the context and the data file
    environment = {name: value for name, value in os.environ.items() if name not in inherited}
    process = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *arguments],
        cwd=ROOT,
        env=environment | {"COVERAGE_PROCESS_START": str(settings)},
        check=False,
    )
    combined_data = coverage.Coverage(str(folder / "coverage"), config_file=str(settings))
    combined_data.combine([str(folder)], strict=True)
    data, tests = combined_data.get_data(), dict[str, dict[str, list[int]]]()
    for path in data.measured_files():
        name = os.path.relpath(path, ROOT)
        for line, contexts in data.contexts_by_lineno(path).items():
            for test in {file_of(context) for context in contexts} - {""}:
                tests.setdefault(name, {}).setdefault(test, []).append(line)
    commit = _git("stash", "create").strip() or _git("rev-parse", "HEAD").strip()
    MAP.write_text(json.dumps({"commit": commit, "tests": tests}))
    return process.returncode


def pytest_configure(config: "object") -> None:
    """Register the recorder if pytest loads this file as a plugin."""
    config.pluginmanager.register(Recorder())  # type: ignore[attr-defined]


def file_of(context: str) -> str:
    """Return the file of a test's context; per file, since its tests share some fixtures.

    >>> file_of("tests/rows/test_store.py::test_a[x y] (call)"), file_of("")
    ('tests/rows/test_store.py', '')
    """
    return context.partition("::")[0]


def changes(commit: str, names: Iterable[str] = ()) -> list[Change]:
    """Return the files that differ from a commit: all of them, or those in `names`."""
    diff = _git("diff", "-M", "-U0", "--no-color", "--no-prefix", commit)
    file_changes = []
    for text in re.split(r"^diff --git ", diff, flags=re.MULTILINE)[1:]:
        header, *hunks = re.split(r"^@@ -", text, flags=re.MULTILINE)
        before, after = header.splitlines()[0].split(" ", 1)
        lines, new_lines = list[int](), list[int]()
        for hunk in hunks:
            old_span, new_span = hunk.split(" ")[:2]
            lines += _span(old_span)
            new_lines += _span(new_span[1:])
        file_changes.append(Change(before, after, tuple(lines), tuple(new_lines)))
    untracked_files = _git("ls-files", "--others", "--exclude-standard").split()
    file_changes += [Change("", name) for name in untracked_files]
    paths = {os.path.relpath(Path(name).absolute(), ROOT) for name in names}
    return [change for change in file_changes if not paths or {change.before, change.after} & paths]


def _span(text: str) -> range:
    """Parse a hunk's "12,3" (start, count) to line numbers; for no lines, the line before."""
    start, _, count = text.partition(",")
    return range(int(start), int(start) + max(int(count or 1), 1))


def affected_tests(
    changed: Iterable[Change], commit: str, tests: dict[str, dict[str, list[int]]]
) -> list[str]:
    """Return arguments of pytest: affected test files and modules with doctests, or all tests."""
    selected_tests = set[str]()
    for change in changed:
        is_test = Path(change.after).name.startswith("test_") and change.after.endswith(".py")
        if is_test:
            selected_tests |= {change.after} if (ROOT / change.after).exists() else set()
        elif not change.after.endswith(".py") or not change.after.startswith(PACKAGES):
            return ALL_TESTS
        elif change.before not in tests:
            if change.before:  # an existing file that is not in the map
                return ALL_TESTS
        else:
            source = _git("show", f"{commit}:{change.before}")
            if not re.search(r"^\s*(async )?def ", source, re.MULTILINE):
                return ALL_TESTS  # a module without functions acts when imported
            lines = enclosing_lines(source, change.lines)
            selected_tests |= {
                test
                for test, executed_lines in tests[change.before].items()
                if lines & {*executed_lines}
            }
            for name in () if lines else (change.before, *importers(change.before, tests)):
                selected_tests |= {*tests[name]}
            selected_tests |= {change.after} if (ROOT / change.after).exists() else set()
    return sorted(selected_tests)


def importers(name: str, mapped_files: Iterable[str]) -> list[str]:
    """Return the files of the map that import the module at the path `name`."""
    module = name.removesuffix(".py").replace("/", ".")
    package, _, stem = module.rpartition(".")
    pattern = re.compile(
        rf"from {module} import|from {package} import .*\b{stem}\b|import {module}\b"
    )
    paths = ((path, ROOT / path) for path in mapped_files)
    return [path for path, file in paths if file.exists() and pattern.search(file.read_text())]


def enclosing_lines(source: str, lines: Iterable[int]) -> set[int]:
    """Return the lines of the functions around these lines; none if one is outside of functions.

    >>> sorted(enclosing_lines("def f():\\n    x = 1\\n    return x\\n\\ny = 2\\n", [2]))
    [2, 3]
    >>> enclosing_lines("def f():\\n    return 1\\n\\ny = 2\\n", [2, 4])
    set()
    """
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    enclosed_lines = set[int]()
    for line in lines:
        enclosing_functions = [
            f for f in functions if f.body[0].lineno <= line <= (f.end_lineno or line)
        ]
        if not enclosing_functions:
            return set()
        innermost = max(enclosing_functions, key=lambda function: function.lineno)
        enclosed_lines |= {*range(innermost.body[0].lineno, (innermost.end_lineno or line) + 1)}
    return enclosed_lines


def _git(*words: str) -> str:
    process = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return process.stdout


def main() -> int:
    """Run the command; return pytest's exit code, or 0 if pytest does not run."""
    parser = argparse.ArgumentParser(description="List or run the tests that a change affects.")
    parser.add_argument("files", nargs="*", help="changed files; default: all since the map")
    parser.add_argument("--record", action="store_true", help="run fast tests, record the map")
    parser.add_argument("--run", action="store_true", help="run the tests instead of listing them")
    options = parser.parse_args()
    if options.record:
        return record(options.files)
    selected_tests = ALL_TESTS
    if MAP.exists():
        recorded_map = json.loads(MAP.read_text())
        changed = changes(recorded_map["commit"], options.files)
        selected_tests = affected_tests(changed, recorded_map["commit"], recorded_map["tests"])
    if options.run and selected_tests:
        command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", *selected_tests]
        return subprocess.run(command, cwd=ROOT, check=False).returncode
    print(*selected_tests, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
