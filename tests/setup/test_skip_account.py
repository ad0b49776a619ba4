"""A skip that no line expects fails the run."""

import sys

import pytest

from conftest import ROOT
from support.processes import ran

SUITE = """
import pytest

def test_one(): pass
@pytest.mark.parametrize("size", [1, 2])
def test_sized(size): pytest.skip("needs a GPU")
@pytest.mark.xfail(reason="known", strict=True)
def test_known(): assert False
"""
WHOLE_FILE = 'import pytest\npytest.importorskip("no_such_wheel")\n'
SIZED = "tests/test_it.py::test_sized"


@pytest.mark.parametrize(("suite", "expected", "options", "code", "unexpected"), [
    (SUITE, f"{SIZED} | GPU | few have one | rent it", (), 0, 0),
    (SUITE, f"{SIZED} | wheel | another reason", ("-p", "xdist", "-n", "1"), 1, 2),
    (WHOLE_FILE, "", (), 5, 1),
])  # fmt: skip
def test_only_expected_skips_pass(tmp_path, suite, expected, options, code, unexpected):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_it.py").write_text(suite)
    (tmp_path / "tests" / "expected_skips.txt").write_text(expected)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    plugins = ("-p", "tests.support.skip_account", "-p", "no:cacheprovider")
    variables = {"PYTHONPATH": ROOT, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": 1}
    words = (sys.executable, "-m", "pytest", *plugins, *options)
    result = ran(*words, folder=tmp_path, **variables)
    lines = result.stdout.splitlines()
    assert result.returncode == code
    assert ("2 skipped, GPU: rent it" in lines) == ("rent it" in expected)
    assert len([line for line in lines if line.startswith("unexpected skip: ")]) == unexpected
    assert (f"unexpected skip: {SIZED}[1] | needs a GPU" in lines) == (unexpected == 2)
