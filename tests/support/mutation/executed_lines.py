"""A pytest plugin that writes which lines of some files each test executes, and its seconds.

It reads the files' names from FILES in the working folder, and writes LINES: the tests that passed,
the fastest first, and the names of the others, which are of no use.
"""

import functools
import gc
import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

FILES, LINES = "mutated_files.json", "executed_lines.json"


class Tracer:
    """Lines of the files that are executed while tests run, by test."""

    def __init__(self) -> None:
        files = json.loads(Path(FILES).read_text())
        self._files = {str(Path.cwd() / file): file for file in files}
        self._lines: dict[str, set[tuple[str, int]]] = defaultdict(set)
        self._now: set[tuple[str, int]] = set()
        self._seconds: dict[str, float] = {}

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
        self._seconds[item.nodeid] = time.monotonic() - begin  # not reached where the test raises
        return result

    def _traced(self, test: str) -> Generator[None, object, object]:
        self._now = self._lines[test]
        threading.settrace(self._called)
        sys.settrace(self._called)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)

    def pytest_collection_finish(self) -> None:
        """Empty the caches of the project's functions: importing the tests may have filled them."""
        for cached in gc.get_objects():
            if type(cached) is type(functools.cache(len)):
                code = getattr(cached.__wrapped__, "__code__", None)
                if code and code.co_filename in self._files:
                    cached.cache_clear()

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        passed = sorted(self._seconds, key=lambda test: (self._seconds[test], test))
        lines = {
            test: {
                "seconds": self._seconds[test],
                "lines": sorted(self._lines[test] | self._lines[test.partition("::")[0]]),
            }
            for test in passed
        }
        unused = [item.nodeid for item in session.items if item.nodeid not in self._seconds]
        Path(LINES).write_text(json.dumps({"tests": lines, "unused": unused}))


def pytest_configure(config: pytest.Config) -> None:
    """Trace the session's tests."""
    config.pluginmanager.register(Tracer())
