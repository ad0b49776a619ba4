"""Mutation testing itself: a small project whose killed and surviving mutants are known."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from conftest import ROOT
from support.mutation.mutants import mutants_of
from support.mutation.mutate import changed_lines, copy_project, main, read_equivalents

SOURCE = '''"""Numbers."""

from functools import cache

LIMIT = 3


def half(number: int = 0) -> float:
    return number / 2


@cache
def larger(first: float, second: float) -> bool:
    return first > second


class Least:
    def __init__(self, numbers):
        super().__init__()
        self.least = min(numbers)

    def never(self) -> int:
        return 7
'''
TESTS = '''"""Tests that leave a defect or two unnoticed."""

import subprocess
import sys

import pytest

from benchmark.metrics import numbers as module
from benchmark.metrics.numbers import LIMIT, Least, half, larger


ORDERS = larger(2, 1), larger(1, 2)  # kept by the cache before there is a mutant


@pytest.fixture(scope="module")
def least():
    return Least([2, 1])


def test_half():
    assert half(3) == 1.5


def test_limit():
    assert LIMIT == 3


def test_larger():
    assert larger(2, 1)
    assert not larger(1, 2)


def test_nothing(least):
    pass


def test_least(least):
    assert least.least == 1


def test_that_fails():
    assert half() == 1
'''
VERDICTS = {
    "3 => 4": "killed",  # seen at import alone
    "0 => 1": "survived",
    "number / 2 => number * 2": "killed",
    "2 => 3": "killed",
    "return number / 2 => return None": "killed",
    "first > second => first >= second": "survived",
    "return first > second => return None": "killed",
    "super().__init__() => pass": "survived",
    "min(numbers) => max(numbers)": "killed",  # by a test that does not come first to it
    "7 => 8": "not executed",
    "return 7 => return None": "not executed",
}


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    files = {
        "benchmark/__init__.py": "",
        "benchmark/metrics/numbers.py": SOURCE,
        "tests/metrics/test_numbers.py": TESTS,
        "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '--import-mode=importlib'\n"
        "markers = ['slow: minutes']\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "First")
    return folder


def git(folder, *words):
    subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)


@pytest.mark.slow
def test_known_mutants_are_killed_or_survive_and_verdicts_are_kept(project, tmp_path, capfd):
    words = ["benchmark/metrics", "--out", str(tmp_path / "verdicts.jsonl")]
    assert main(words, project) == 1
    shown = capfd.readouterr().out
    rows = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").read_text().splitlines()]
    reported = {row["name"].rpartition(": ")[2]: row for row in rows}
    assert {change: row["verdict"] for change, row in reported.items()} == VERDICTS
    assert "| benchmark/metrics | 11 | 6 | 0 | 5 | 54.5 % (23 to 83) |" in shown
    assert re.search(r"of \d+ tests, 1 not used: skipped, or failed without a mutant", shown)
    assert "tests/metrics/test_numbers.py::test_that_fails" in shown, "it is named and not used"
    assert "numbers.py:14: survived: first > second => first >= second" in shown
    assert (project / "benchmark/metrics/numbers.py").read_text() == SOURCE
    (project / "tests" / "equivalent_mutants.txt").write_text(
        "".join(f"{row['name']}  # so wanted\n" for row in rows if row["verdict"] != "killed")
    )
    assert main(words, project) == 0, "the rest is equivalent"
    assert "| 11 | 6 | 5 | 0 | 100.0 %" in capfd.readouterr().out
    assert len((tmp_path / "verdicts.jsonl").read_text().splitlines()) == 11, "nothing ran again"


def test_a_copy_has_the_links_of_the_project(project, tmp_path):
    (project / "data").mkdir()
    (project / "data" / "a.txt").write_text("a")
    (project / "benchmark" / "linked").symlink_to("../data")
    (project / "benchmark" / "gone").symlink_to("nowhere")
    copy_project(project, tmp_path / "copy")
    assert (tmp_path / "copy" / "benchmark" / "linked" / "a.txt").read_text() == "a"
    assert (tmp_path / "copy" / "benchmark" / "linked").readlink() == Path("../data")
    assert (tmp_path / "copy" / "benchmark" / "gone").is_symlink()


def test_only_changed_lines_are_mutated(project, tmp_path, capfd):
    source = project / "benchmark" / "metrics" / "numbers.py"
    source.write_text(SOURCE.replace("return 7", "return 9"))
    (project / "tests" / "metrics" / "test_numbers.py").write_text(TESTS + "\n\n# changed\n")
    assert changed_lines(project, "HEAD") == {"benchmark/metrics/numbers.py": {23}}
    assert main(["--changed", "HEAD", "--out", str(tmp_path / "one.jsonl")], project) == 1
    shown = capfd.readouterr().out
    assert "9 => 10" in shown
    assert "| benchmark/metrics/numbers.py | 2 | 0 | 0 | 2 |" in shown


def test_a_mutant_is_the_source_with_one_change_that_says_where_and_what():
    source = "def f(x):  # é\n    if x < 1 and x:\n        raise ValueError(x)\n    return -x\n"
    result = {mutant.change: mutant for mutant in mutants_of(source)}
    assert {change: mutant.line for change, mutant in result.items()} == {
        "x < 1 => x <= 1": 2,
        "1 => 2": 2,
        "x < 1 and x => x < 1 or x": 2,
        "raise ValueError(x) => pass": 3,
        "-x => x": 4,
        "return -x => return None": 4,
    }
    assert result["x < 1 => x <= 1"].source == source.replace("x < 1", "(x <= 1)")
    assert result["raise ValueError(x) => pass"].source == source.replace(
        "raise ValueError(x)", "pass"
    )
    assert not any(mutant.at_import for mutant in result.values())


def test_equivalent_mutants_are_of_files_that_exist_and_have_a_reason():
    known = read_equivalents(ROOT)
    assert known
    for name, reason in known.items():
        path, _, change = name.partition(": ")
        assert (ROOT / path).is_file()
        assert " => " in change
        assert reason
