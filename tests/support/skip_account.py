"""Pytest plugin: fail for skips that tests/expected_skips.txt does not list.

Loaded by `./run_all.sh test`, so that a test cannot silently stop running where it used to run.
"""

from fnmatch import fnmatchcase
from pathlib import Path

import pytest

EXPECTED = Path("tests") / "expected_skips.txt"


def read_expected(text: str) -> list[list[str]]:
    """Parse lines of `test | reason | why it is allowed`, perhaps followed by `| remedy`."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    expected = [[part.strip() for part in line.split("|")] for line in lines]
    for line, parts in zip(lines, expected, strict=True):
        if len(parts) not in (3, 4) or not all(parts):
            raise ValueError(f"{EXPECTED}: not `test | reason | why`: {line!r}")
    return expected


def allows(expected: list[str], test: str, reason: str) -> bool:
    """Return whether a line, in which * and ? are as in file names, expects the skip of a test."""
    # A parameter's brackets would be a set of characters to fnmatch: they are left out.
    names = (test, test.partition("[")[0])
    return any(fnmatchcase(name, expected[0]) for name in names) and expected[1] in reason


class Account:
    def __init__(self, expected: list[list[str]]) -> None:
        self._expected = expected
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
        return [
            skip for skip in self._skips if not any(allows(rule, *skip) for rule in self._expected)
        ]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a session that would have passed for a skip that is not expected."""
        if self._unexpected() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for test, reason in self._unexpected():
            terminalreporter.line(f"unexpected skip: {test} | {reason}", red=True)
        for rule in self._expected:
            if rule[3:] and (number := sum(allows(rule, *skip) for skip in self._skips)):
                terminalreporter.line(f"{number} skipped, {rule[1]}: {rule[3]}")


def pytest_configure(config: pytest.Config) -> None:
    """Start counting, unless the tests are only listed, or others in another process count."""
    if not config.option.collectonly and not hasattr(config, "workerinput"):
        expected = read_expected((config.rootpath / EXPECTED).read_text())
        config.pluginmanager.register(Account(expected), "skip-account")
