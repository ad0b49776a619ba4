"""The tests of the command line pass with the oldest and the newest typer and rich allowed."""

import os
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement

from conftest import ROOT

DEPENDENCIES = map(
    Requirement, tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
)
ALLOWED = [one for one in DEPENDENCIES if one.name in ("typer", "rich")]
ENDS = {
    "oldest": [
        f"{one.name}=={bound.version}"
        for one in ALLOWED for bound in one.specifier if bound.operator == ">="
    ],
    "newest": [*map(str, ALLOWED)],
}  # fmt: skip
TESTS = ["tests/commands/test_help.py", "tests/commands/test_mistakes.py"]


@pytest.mark.slow
@pytest.mark.parametrize("end", ENDS)
def test_the_command_line_is_the_same_at_both_ends_of_what_is_allowed(end, tmp_path):
    install = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", tmp_path)
    if subprocess.run([*install, *ENDS[end]], check=False).returncode:
        pytest.skip("no package index")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *TESTS],
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, cwd=ROOT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
