"""A pytest plugin that runs a session's tests once for each mutant, each time in a fork of its own.

It reads `mutants.json` of the working folder, which `mutate.py` has written, and appends a line to
`verdicts.jsonl` for each mutant. The tests are collected once. A first fork traces which lines each
test executes, a second one leaves out what fails without a mutant. Then, for each mutant, a fork
exchanges the code of the function in memory (and the file on disk, for processes that tests start)
and runs the tests that execute the changed line, the fast ones first. What is executed at import,
and functions that cannot be exchanged, take a new process for each mutant.
"""

import functools
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import pytest

JOB, VERDICTS, LINES = "mutants.json", "verdicts.jsonl", "lines.json"
TRACED = "traced.json"  # what the forks that trace hand on
TEMPORARY = "temporary"  # folder for the tests' files, emptied after each mutant
TOO_SLOW, SPARE_SECONDS = 10, 30  # times as long as without the mutant, and so much more
ENDED = -1  # exit status of a run that was stopped for its time: the mutant never ends
CACHED = type(functools.cache(len))
FAULT = 70  # of a fork that failed by itself, before or between tests


class _Lines:
    """Lines of some files that are executed while tests run, by test."""

    def __init__(self, files: Iterable[str]) -> None:
        self._files = {str(Path.cwd() / file): file for file in files}
        self._found: dict[str, set[tuple[str, int]]] = defaultdict(set)
        self.seconds: dict[str, float] = {}
        self.passed: set[str] = set()
        self._now: set[tuple[str, int]] = set()

    def _called(self, frame: FrameType, _event: str, _argument: object) -> Any:
        return self._line if frame.f_code.co_filename in self._files else None

    def _line(self, frame: FrameType, event: str, _argument: object) -> Any:
        if event == "line":
            self._now.add((self._files[frame.f_code.co_filename], frame.f_lineno))
        return self._line

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        # A fixture may be that of all tests of its file, but it runs for the first of them alone.
        return (yield from self._traced(item.nodeid.partition("::")[0]))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        begin = time.monotonic()
        result = yield from self._traced(item.nodeid)
        self.seconds[item.nodeid] = time.monotonic() - begin
        self.passed.add(item.nodeid)  # not reached where the test raises
        return result

    def _traced(self, test: str) -> Generator[None, object, object]:
        self._now = self._found[test]
        threading.settrace(self._called)
        sys.settrace(self._called)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)

    def of_passed(self) -> dict[str, dict[str, Any]]:
        """Return seconds and lines of the tests that passed, the fastest test first."""
        return {
            test: {
                "seconds": self.seconds[test],
                "lines": sorted(self._found[test] | self._found[test.partition("::")[0]]),
            }
            for test in sorted(self.passed, key=lambda test: (self.seconds[test], test))
        }


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    """Run the tests for each mutant instead of once."""
    work = json.loads(Path(JOB).read_text())
    tests = _executed_lines(session, work["of"], work["files"])
    items = {item.nodeid: item for item in session.items}
    for job in work["mutants"]:
        begin = time.monotonic()
        job["verdict"] = _verdict(job, tests, items)
        job["seconds"] = round(time.monotonic() - begin, 2)
        kept = {name: job[name] for name in ("tree", "key", "name", "verdict", "seconds")}
        with Path(VERDICTS).open("a") as out:
            out.write(json.dumps(kept) + "\n")
    return True


def _executed_lines(
    session: pytest.Session, of: str, files: list[str]
) -> dict[str, dict[str, Any]]:
    """Return seconds and lines, as (file, line), of the tests that pass, the fastest first.

    of: names the sources and tests; the result is kept in LINES under it.
    """
    kept = json.loads(Path(LINES).read_text()) if Path(LINES).exists() else {}
    if kept.get("of") != of:
        # Twice: what passes when traced may fail in the order of the mutants' runs.
        for traced in (files, []):
            if _forked(lambda traced=traced: _trace(session, traced), None):
                raise pytest.UsageError("the tests could not be run without a mutant")
        kept = {"of": of, "tests": json.loads(Path(TRACED).read_text())}
        Path(LINES).write_text(json.dumps(kept))
        left_out = [item.nodeid for item in session.items if item.nodeid not in kept["tests"]]
        if left_out:
            print("skipped or failed without a mutant, and not used:", *left_out, sep="\n  ")
    tests: dict[str, dict[str, Any]] = kept["tests"]
    for test in tests.values():
        test["lines"] = {(file, line) for file, line in test["lines"]}
    return tests


def _trace(session: pytest.Session, files: list[str]) -> int:
    """Write the lines of the tests that pass; without files, leave out what fails now."""
    lines = _Lines(files)
    session.config.pluginmanager.register(lines)
    items = {item.nodeid: item for item in session.items}
    before = None if files else json.loads(Path(TRACED).read_text())
    if files:
        _forget()
    _run([items[name] for name in before or items], until_failure=False)
    tests = lines.of_passed() if before is None else before
    passed = {name: test for name, test in tests.items() if name in lines.passed}
    Path(TRACED).write_text(json.dumps(passed))
    return 0


def _verdict(
    job: dict[str, Any], tests: dict[str, dict[str, Any]], items: dict[str, pytest.Item]
) -> str:
    """Return "killed", "survived", or "not executed" where no test comes to the changed line."""
    path = Path.cwd() / job["path"]
    names = [name for name, test in tests.items() if _executes(test, job)]
    if not names:
        return "not executed"
    limit = TOO_SLOW * sum(tests[name]["seconds"] for name in names) + SPARE_SECONDS
    original = path.read_text()
    path.write_text(job["source"])
    try:
        old, new = (
            _outermost(compile(text, str(path), "exec"), job["line"])
            for text in (original, job["source"])
        )
        if job["at_import"] or old is None or new is None or old.co_freevars != new.co_freevars:
            return "killed" if _in_new_process(names, limit) else "survived"
        chosen = [items[name] for name in names]
        status = _forked(lambda: _run_with(new, old, chosen), limit)
        return "killed" if status else "survived"
    finally:
        path.write_text(original)


def _executes(test: dict[str, Any], job: dict[str, Any]) -> bool:
    path, (first, last) = job["path"], job["statement"]
    if job["at_import"]:
        return any(file == path for file, _ in test["lines"])
    return any((path, line) in test["lines"] for line in range(first, last + 1))


def _run(items: list[pytest.Item], *, until_failure: bool) -> int:
    """Run tests as pytest does; return 1 if any failed."""
    for item, following in zip(items, [*items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if until_failure and item.session.testsfailed:
            break
    return min(items[0].session.testsfailed, 1) if items else 0


def _forked(action: Callable[[], int], limit: float | None) -> int:
    """Return what the action returns in a fork; its signal if it crashes, ENDED after `limit`."""
    with warnings.catch_warnings():
        # Python 3.12 warns of threads that a fork lacks: those of torch and Arrow start anew.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        status = FAULT
        try:
            os.setsid()
            sys.dont_write_bytecode = True
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
            status = action()
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(status)
    begin = time.monotonic()
    try:
        while not (ended := os.waitpid(child, os.WNOHANG))[0]:
            if limit is not None and time.monotonic() - begin > limit:
                return ENDED
            time.sleep(0.01)
        status = os.waitstatus_to_exitcode(ended[1])
        if status == FAULT:
            raise RuntimeError("the tests of a mutant could not be run")
        return status
    finally:
        _end(child)


def _end(child: int) -> None:
    """Kill what is left of a child's process group, and remove the files of its tests."""
    try:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
    except (ProcessLookupError, ChildProcessError):
        pass
    shutil.rmtree(TEMPORARY, ignore_errors=True)


def _in_new_process(names: list[str], limit: float) -> bool:
    """Return whether any of these tests fails in a new process, or it takes too long."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    command += [f"--basetemp={TEMPORARY}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    files = sorted({name.partition("::")[0] for name in names})
    # 4: a mutant may change the names of tests; then all of their files run.
    for chosen in (names, files):
        run = functools.partial(subprocess.call, [*command, *chosen], **quiet)
        status = _forked(run, limit + SPARE_SECONDS)
        if status != 4:
            break
    return status != 0


def _run_with(new: CodeType, old: CodeType, items: list[pytest.Item]) -> int:
    """Run tests with the code of a function exchanged."""
    _forget()
    same = (old.co_filename, old.co_firstlineno, old.co_name)
    for thing in gc.get_objects():
        # Not isinstance, which asks a proxy for the class of what it stands for.
        if type(thing) is FunctionType:
            code = thing.__code__
            if (code.co_filename, code.co_firstlineno, code.co_name) == same:
                thing.__code__ = new
    return _run(items, until_failure=True)


def _forget() -> None:
    """Empty the caches of the project's functions: the collection of the tests may fill them."""
    for thing in gc.get_objects():
        code = getattr(thing.__wrapped__, "__code__", None) if type(thing) is CACHED else None
        if code and code.co_filename.startswith(str(Path.cwd())):
            thing.cache_clear()


def _outermost(code: CodeType, line: int) -> CodeType | None:
    """Return the outermost function, in modules and classes, that has a line."""
    for inner in _inner(code):
        if inner.co_flags & 0x2:  # CO_NEWLOCALS: a function, not a class
            lines = _all_lines(inner)
            if lines and inner.co_firstlineno <= line <= max(lines):
                return inner
        elif (found := _outermost(inner, line)) is not None:
            return found
    return None


def _inner(code: CodeType) -> list[CodeType]:
    return [constant for constant in code.co_consts if isinstance(constant, CodeType)]


def _all_lines(code: CodeType) -> list[int]:
    own = [line for _, _, line in code.co_lines() if line]
    return [*own, *(line for inner in _inner(code) for line in _all_lines(inner))]
