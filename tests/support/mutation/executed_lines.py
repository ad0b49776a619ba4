"""A pytest plugin that writes which lines of some files each test executes, and its seconds.

Lines are written by `lines.py`; this writes TESTS: seconds of the tests that passed, and the names
of the others, which are of no use.
"""

import functools
import gc
import json
import os
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from support.mutation.lines import FOLDER, Tracer

TESTS = "traced_tests.json"


class Traced:
    """Traces the setup and the call of each test of a session."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tracer = Tracer(folder)
        self._seconds: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        # A fixture may be that of all tests of its file, but it runs for the first of them alone.
        self._tracer.start(item.nodeid.partition("::")[0])
        try:
            return (yield)
        finally:
            self._tracer.stop()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        begin = time.monotonic()
        self._tracer.start(item.nodeid)
        try:
            result = yield
        finally:
            self._tracer.stop()
        self._seconds[item.nodeid] = time.monotonic() - begin  # not reached where the test raises
        return result

    def pytest_collection_finish(self) -> None:
        """Empty the caches of the project's functions: importing the tests may have filled them."""
        for cached in gc.get_objects():
            if type(cached) is type(functools.cache(len)) and self._tracer.is_of(
                cached.__wrapped__
            ):
                cached.cache_clear()

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        unused = [item.nodeid for item in session.items if item.nodeid not in self._seconds]
        record = {"seconds": self._seconds, "unused": unused}
        (self._folder / TESTS).write_text(json.dumps(record))


def pytest_configure(config: pytest.Config) -> None:
    """Trace the session's tests."""
    config.pluginmanager.register(Traced(Path(os.environ[FOLDER])))
