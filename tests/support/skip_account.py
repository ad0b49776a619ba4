"""Pytest plugin: fail for skips that tests/expected_skips.txt does not list; end with the count.

Loaded by `./run_all.sh test` with `-p tests.skip_account`. A skip that is not expected fails the
session, so that a test cannot silently stop running where it used to run.
"""

from collections import Counter
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import pytest

EXPECTED = Path("tests") / "expected_skips.txt"


class Expected(NamedTuple):
    """Kind of skip that is allowed."""

    test: str  # node id, with or without parameters; * and ? as in file names
    reason: str  # stands somewhere in the reason that the test gives
    why: str  # for whoever reads the file


class Skip(NamedTuple):
    """Skip that happened."""

    test: str
    reason: str


def read_expected(text: str) -> list[Expected]:
    """Parse lines of `test | reason | why it is allowed`; empty lines and comments are left out.

    >>> read_expected("# why not\\ntests/test_a.py::* | needs a GPU | few machines have one")
    [Expected(test='tests/test_a.py::*', reason='needs a GPU', why='few machines have one')]
    """
    expected = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = [part.strip() for part in line.split("|")]
        if len(parts) != len(Expected._fields) or not all(parts):
            raise ValueError(f"{EXPECTED}, line {number}: not `test | reason | why`: {line!r}")
        expected.append(Expected(*parts))
    return expected


def unexpected(skips: Iterable[Skip], expected: Iterable[Expected]) -> list[Skip]:
    """Return the skips that no line allows, in the order in which they happened."""
    lines = list(expected)
    return [skip for skip in skips if not any(_allows(line, skip) for line in lines)]


def _allows(line: Expected, skip: Skip) -> bool:
    # A parameter's brackets would be a set of characters to fnmatch: the pattern is tried without.
    names = (skip.test, skip.test.partition("[")[0])
    matches = skip.test == line.test or any(fnmatchcase(name, line.test) for name in names)
    return matches and line.reason in skip.reason


class Account:
    """Count of outcomes, printed at the end of the session."""

    def __init__(self, expected: list[Expected]) -> None:
        self.expected = expected
        self.counts: Counter[str] = Counter()
        self.skips: list[Skip] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count an outcome: a test passes by its call; it can fail or skip around it."""
        if report.skipped and not hasattr(report, "wasxfail"):
            self._skip(report)
        elif report.failed:
            self.counts["failed"] += 1
        elif report.when == "call":
            self.counts["expected to fail" if report.skipped else "passed"] += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Count a file that skips or fails before its tests are known."""
        if report.skipped:
            self._skip(report)
        elif report.failed:
            self.counts["failed"] += 1

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Count tests that `-m` or `-k` leaves out."""
        self.counts["not selected"] += len(items)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a session that would have passed for a skip that is not expected."""
        if unexpected(self.skips, self.expected) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """Print the last lines of the run, after pytest's own summary."""
        writer = config.get_terminal_writer()
        strangers = unexpected(self.skips, self.expected)
        for skip in strangers:
            writer.line(f"unexpected skip: {skip.test} | {skip.reason}", red=True)
        if strangers:
            writer.line(f"A skip that is meant is added to {EXPECTED}.", red=True)
        verdict = f"{len(strangers)} unexpected" if strangers else "all expected"
        counts = [f"{self.counts['passed']} passed", f"{len(self.skips)} skipped ({verdict})"]
        counts += [f"{n} {what}" for what, n in self.counts.items() if n and what != "passed"]
        writer.line(", ".join(counts))

    def _skip(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        skip = Skip(report.nodeid, reason.removeprefix("Skipped: "))
        if skip not in self.skips:  # several processes collect the same file
            self.skips.append(skip)


def pytest_configure(config: pytest.Config) -> None:
    """Start counting, unless the tests are only listed, or others in another process count."""
    if config.option.collectonly or hasattr(config, "workerinput"):
        return
    file = config.rootpath / EXPECTED
    expected = read_expected(file.read_text()) if file.exists() else []
    config.pluginmanager.register(Account(expected), "skip-account")
