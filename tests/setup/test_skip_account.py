"""Skips are counted, and the count ends the run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.skip_account import read_expected

ROOT = Path(__file__).parents[2]
SUITE = """
import pytest

def test_one(): pass
@pytest.mark.parametrize("size", [1, 2])
def test_sized(size): pytest.skip("needs a GPU")
@pytest.mark.xfail(reason="known", strict=True)
def test_known(): assert False
"""
WHOLE_FILE = 'import pytest\npytest.importorskip("no_such_wheel")\n'
IN_TWO = ("-p", "xdist", "-n", "2")
ALL_EXPECTED = "1 passed, 2 skipped (all expected), 1 expected to fail"
NONE_EXPECTED = "1 passed, 2 skipped (2 unexpected), 1 expected to fail"
SIZED = "tests/test_it.py::test_sized"


@pytest.mark.parametrize(
    ("suite", "expected", "options", "code", "last"),
    [
        (SUITE, f"{SIZED} | GPU | few have one", (), 0, ALL_EXPECTED),
        (SUITE, f"{SIZED} | wheel | another reason", IN_TWO, 1, NONE_EXPECTED),
        (SUITE, f"{SIZED} | GPU | few have one | rent it", (), 0, ALL_EXPECTED),
        (WHOLE_FILE, "", (), 5, "0 passed, 1 skipped (1 unexpected)"),
    ],
)
def test_only_expected_skips_pass(tmp_path, suite, expected, options, code, last):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_it.py").write_text(suite)
    (tmp_path / "tests" / "expected_skips.txt").write_text(expected)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    plugins = ("-p", "tests.support.skip_account", "-p", "no:cacheprovider")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert (done.returncode, lines[-1]) == (code, last)
    assert ("2 skipped, GPU: rent it" in lines) == ("rent it" in expected)
    named = [line for line in lines if line.startswith("unexpected skip: ")]
    assert len(named) == int("2 unexpected" in last) * 2 + int("1 unexpected" in last)
    assert last != NONE_EXPECTED or f"unexpected skip: {SIZED}[1] | needs a GPU" in named


def test_a_list_is_read_whole_or_refused_with_the_line():
    assert read_expected((ROOT / "tests" / "expected_skips.txt").read_text())
    with pytest.raises(ValueError, match="line 2"):
        read_expected("# skips\ntests/a.py::test_b | needs a GPU")
