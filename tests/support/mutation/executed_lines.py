"""Lines of some files that tests execute, as they first do, and what became of each test.

`trace` runs at the start of every process below the variable MUTATION, a folder: it appends a line
of JSON to LINES there for each first time, with the test, the file and the line. pytest names the
present test in the environment, so that lines of a process which a test starts are the test's. As a
plugin of pytest this file appends the outcome and the seconds of each call to TESTS.

PYTEST_DONT_REWRITE: it was imported when the process began.
"""

import functools
import gc
import json
import os
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

FOLDER = "MUTATION"
FILES, LINES, TESTS = "mutated_files.json", "executed_lines.jsonl", "traced_tests.jsonl"


def traced_files() -> dict[str, str]:
    """Return the names of the files that are traced, by their paths."""
    folder = Path(os.environ[FOLDER])
    return {str(folder / file): file for file in json.loads((folder / FILES).read_text())}


def trace() -> None:
    """Write down the lines that this process executes; what is killed has written its own."""
    files, seen = traced_files(), set[tuple[str, str, int]]()
    out = os.open(Path(os.environ[FOLDER]) / LINES, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def called(frame: FrameType, _event: str, _argument: object) -> Any:
        if (file := files.get(frame.f_code.co_filename)) is None:
            return None
        test, _, phase = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")
        if phase != "(call)":  # a fixture may be that of all tests of its file, and runs once
            test = test.partition("::")[0]

        def line(inner: FrameType, event: str, _argument: object) -> Any:
            key = (test, file, inner.f_lineno)
            if event == "line" and test and key not in seen:
                seen.add(key)
                os.write(out, (json.dumps(key) + "\n").encode())
            return line

        return line

    threading.settrace(called)
    sys.settrace(called)


def pytest_collection_finish() -> None:
    """Empty the caches of the traced functions: importing the tests may have filled them."""
    files = traced_files()
    for cached in gc.get_objects():
        if type(cached) is type(functools.cache(len)):
            code = getattr(cached.__wrapped__, "__code__", None)
            if code is not None and code.co_filename in files:
                cached.cache_clear()


def pytest_runtest_logreport(report: Any) -> None:
    """Write down whether a test passed, and its seconds; of setup only what did not pass."""
    if report.when == "call" or report.outcome != "passed":
        with (Path(os.environ[FOLDER]) / TESTS).open("a") as file:
            row = report.nodeid, report.outcome == "passed", report.duration
            file.write(json.dumps(row) + "\n")
