"""Pytest plugin: fail for skips that tests/expected_skips.txt does not list.

Loaded by `./run_all.sh test`, so that a test cannot silently stop running where it used to run.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import pytest

EXPECTED = Path("tests") / "expected_skips.txt"


class Expected(NamedTuple):
    test: str  # node id, with or without parameters; * and ? as in file names
    reason: str  # part of the reason that the test gives
    why: str  # for whoever reads the file
    remedy: str = ""  # what makes the test run, said at the end if it was skipped

    def allows(self, test: str, reason: str) -> bool:
        # A parameter's brackets would be a set of characters to fnmatch: they are left out.
        names = (test, test.partition("[")[0])
        matches = test == self.test or any(fnmatchcase(name, self.test) for name in names)
        return matches and self.reason in reason


def read_expected(text: str) -> list[Expected]:
    """Parse lines of `test | reason | why it is allowed`, behind it perhaps `| remedy`."""
    expected = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            parts = [part.strip() for part in line.split("|")]
            if len(parts) not in (3, 4) or not all(parts):
                raise ValueError(f"{EXPECTED}, line {number}: not `test | reason | why`: {line!r}")
            expected.append(Expected(*parts))
    return expected


class Account:
    """Skips of a session."""

    def __init__(self, expected: Iterable[Expected]) -> None:
        self._expected = list(expected)
        self._skips: dict[tuple[str, str], None] = {}  # several processes collect the same file

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not hasattr(report, "wasxfail"):
            self.pytest_collectreport(report)

    def pytest_collectreport(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped:
            reported = report.longrepr
            reason = reported[2] if isinstance(reported, tuple) else str(reported)
            self._skips[report.nodeid, reason.removeprefix("Skipped: ")] = None

    def _unexpected(self) -> list[tuple[str, str]]:
        return [one for one in self._skips if not any(of.allows(*one) for of in self._expected)]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a session that would have passed for a skip that is not expected."""
        if self._unexpected() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for test, reason in self._unexpected():
            terminalreporter.line(f"unexpected skip: {test} | {reason}", red=True)
        for line in filter(lambda line: line.remedy, self._expected):
            if number := sum(line.allows(*skip) for skip in self._skips):
                terminalreporter.line(f"{number} skipped, {line.reason}: {line.remedy}")


def pytest_configure(config: pytest.Config) -> None:
    """Start counting, unless the tests are only listed, or others in another process count."""
    if not config.option.collectonly and not hasattr(config, "workerinput"):
        file = config.rootpath / EXPECTED
        expected = read_expected(file.read_text()) if file.exists() else []
        config.pluginmanager.register(Account(expected), "skip-account")
