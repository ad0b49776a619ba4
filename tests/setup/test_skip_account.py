"""Skips are counted, and the count ends the run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.skip_account import Expected, Skip, read_expected, unexpected

ROOT = Path(__file__).parents[2]
SUITE = """
import pytest

def test_one(): pass
@pytest.mark.parametrize("size", [1, 2])
def test_sized(size): pytest.skip("needs a GPU")
@pytest.mark.xfail(reason="known", strict=True)
def test_known(): assert False
"""


def run_suite(
    folder: Path, expected: str, suite: str = SUITE, *options: str
) -> tuple[int, list[str]]:
    """Exit code and last lines of a run of the suite under the plugin."""
    (folder / "tests").mkdir()
    (folder / "tests" / "test_it.py").write_text(suite)
    (folder / "tests" / "expected_skips.txt").write_text(expected)
    (folder / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "tests.support.skip_account",
            "-p",
            "no:cacheprovider",
            *options,
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.splitlines()


def test_an_expected_skip_passes_and_is_counted(tmp_path):
    code, lines = run_suite(tmp_path, "tests/test_it.py::test_sized | GPU | few have one")
    assert (code, lines[-1]) == (0, "1 passed, 2 skipped (all expected), 1 expected to fail")


def test_several_processes_are_counted_as_one(tmp_path):
    in_two = ("-p", "xdist", "-n", "2")
    code, lines = run_suite(tmp_path, "", SUITE, *in_two)
    assert code == pytest.ExitCode.TESTS_FAILED
    assert lines[-1] == "1 passed, 2 skipped (2 unexpected), 1 expected to fail"
    assert sum("unexpected skip" in line for line in lines) == 2
    (tmp_path / "whole").mkdir()
    whole = 'import pytest\npytest.importorskip("no_such_wheel")\n'
    code, lines = run_suite(
        tmp_path / "whole", "tests/test_it.py | no_such_wheel | none", whole, *in_two
    )
    assert lines[-1] == "0 passed, 1 skipped (all expected)"


@pytest.mark.parametrize(
    "expected",
    [
        "",
        "tests/test_it.py::test_one | GPU | another test",
        "tests/test_it.py::test_sized | wheel | another reason",
    ],
)
def test_any_other_skip_fails_the_run_and_is_named(tmp_path, expected):
    code, lines = run_suite(tmp_path, expected)
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "unexpected skip: tests/test_it.py::test_sized[1] | needs a GPU" in lines
    assert lines[-1] == "1 passed, 2 skipped (2 unexpected), 1 expected to fail"


def test_a_file_that_skips_as_a_whole_is_seen(tmp_path):
    code, lines = run_suite(tmp_path, "", 'import pytest\npytest.importorskip("no_such_wheel")\n')
    assert code != 0
    assert lines[-1] == "0 passed, 1 skipped (1 unexpected)"


def test_a_failure_stays_a_failure(tmp_path):
    code, lines = run_suite(tmp_path, "", "def test_wrong():\n    assert False\n")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert lines[-1] == "0 passed, 0 skipped (all expected), 1 failed"


def test_one_line_can_allow_one_parameter_only():
    skips = [Skip("tests/a.py::test_b[x]", "no x"), Skip("tests/a.py::test_b[y]", "no x")]
    assert unexpected(skips, [Expected("tests/a.py::test_b[x]", "no", "-")]) == skips[1:]


def test_a_line_without_its_why_is_refused():
    with pytest.raises(ValueError, match=r"line 2.*test \| reason \| why"):
        read_expected("# skips\ntests/a.py::test_b | needs a GPU")


def test_the_projects_own_list_can_be_read():
    assert read_expected((ROOT / "tests" / "expected_skips.txt").read_text())
