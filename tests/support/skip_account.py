"""Pytest plugin: fail for skips that tests/expected_skips.txt does not list; end with the count.

Loaded by `./run_all.sh test`, so that a test cannot silently stop running where it used to run.
"""

from collections import Counter
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


class Skip(NamedTuple):
    test: str
    reason: str


def read_expected(text: str) -> list[Expected]:
    """Parse lines of `test | reason | why it is allowed`, behind it perhaps `| remedy`.

    Empty lines and comments are left out.
    """
    expected = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            parts = [part.strip() for part in line.split("|")]
            if len(parts) not in (3, 4) or not all(parts):
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
        self.counts: Counter[str] = Counter(passed=0)
        self.skips: dict[Skip, None] = {}  # each once: several processes collect the same file

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count an outcome: a test passes by its call; it can fail or skip around it."""
        if hasattr(report, "wasxfail"):
            self.counts["expected to fail"] += report.skipped
        elif report.skipped or report.failed:
            self.pytest_collectreport(report)
        elif report.when == "call":
            self.counts["passed"] += 1

    def pytest_collectreport(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped:
            reported = report.longrepr
            reason = reported[2] if isinstance(reported, tuple) else str(reported)
            self.skips[Skip(report.nodeid, reason.removeprefix("Skipped: "))] = None
        self.counts["failed"] += report.failed

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        self.counts["not selected"] += len(items)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a session that would have passed for a skip that is not expected."""
        if unexpected(self.skips, self.expected) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self, config: pytest.Config) -> None:
        writer = config.get_terminal_writer()
        strangers = unexpected(self.skips, self.expected)
        for skip in strangers:
            writer.line(f"unexpected skip: {skip.test} | {skip.reason}", red=True)
        if strangers:
            writer.line(f"A skip that is meant is added to {EXPECTED}.", red=True)
        for line in filter(lambda line: line.remedy, self.expected):
            if number := sum(_allows(line, skip) for skip in self.skips):
                writer.line(f"{number} skipped, {line.reason}: {line.remedy}")
        verdict = f"{len(strangers)} unexpected" if strangers else "all expected"
        counts = [f"{self.counts.pop('passed')} passed", f"{len(self.skips)} skipped ({verdict})"]
        counts += [f"{number} {what}" for what, number in self.counts.items() if number]
        writer.line(", ".join(counts))


def pytest_configure(config: pytest.Config) -> None:
    """Start counting, unless the tests are only listed, or others in another process count."""
    if not config.option.collectonly and not hasattr(config, "workerinput"):
        file = config.rootpath / EXPECTED
        expected = read_expected(file.read_text()) if file.exists() else []
        config.pluginmanager.register(Account(expected), "skip-account")
