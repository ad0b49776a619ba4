"""Tests that a change affects, and copies of the project for mutants."""

import os
import shutil
import subprocess
import sys
from unittest.mock import patch

import pytest

from conftest import ROOT
from support.processes import ran
from tools.mutate import copy_project

FILES = {
    "benchmark/__init__.py": "",
    "benchmark/a.py": (
        "K = 2\n\n\ndef f(x):\n    y = x + K\n    return y\n\n\ndef g(x):\n    return x\n"
    ),
    "benchmark/b.py": "from benchmark.a import K\n\n\ndef h():\n    return K\n",
    "baselines/__init__.py": "",
    "tests/conftest.py": "",
    "tests/test_f.py": "from benchmark.a import f\n\n\ndef test_f():\n    assert f(1) == 3\n",
    "tests/test_g.py": (
        "import subprocess, sys\n\n\ndef test_g():\n"
        "    code = 'import sys; sys.path.insert(0, \".\"); from benchmark.a import g; g(1)'\n"
        "    subprocess.run([sys.executable, '-I', '-c', code], check=True)\n"
    ),
    "tests/test_h.py": "from benchmark.b import h\n\n\ndef test_h():\n    assert h()\n",
    ".gitignore": ".work/\n__pycache__/\n.coverage*\n",
}


def git(folder, *words):
    name = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    subprocess.run(["git", *name, *words], cwd=folder, check=True, capture_output=True)


def affected(folder, *words):
    result = ran(sys.executable, "-m", "tools.affected", *words, folder=folder)
    assert result.returncode == 0, result.stdout + result.stderr
    return {line.removeprefix("tests/test_") for line in result.stdout.split()}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    (folder / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "affected.py", folder / "tools")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "All of it")
    with patch.dict(os.environ, COVERAGE_FILE="elsewhere"):  # does not move the map's data
        affected(folder, "--record", "tests")
    return folder


@pytest.fixture
def project(recorded, tmp_path):
    return shutil.copytree(recorded, tmp_path / "copy")


def replace(path, old, new):
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(("old", "new", "tests"), [
    ("y = x + K", "y = K + x", {"f.py"}),
    ("    return x\n", "    return x + 0\n", {"g.py"}),  # in a process that a test starts
    ("K = 2", "K = 3", {"f.py", "g.py", "h.py"}),  # those that import its file
])  # fmt: skip
def test_a_changed_line_affects_the_tests_that_execute_its_function(project, old, new, tests):
    replace(project / "benchmark/a.py", old, new)
    assert affected(project) == {"benchmark/a.py", *tests}


def test_a_moved_file_is_the_one_that_it_was(project):
    assert affected(project) == set()
    git(project, "mv", "benchmark/a.py", "benchmark/c.py")
    replace(project / "benchmark/c.py", "y = x + K", "y = K + x")
    assert affected(project, "benchmark/c.py") == {"benchmark/c.py", "f.py"}


@pytest.mark.parametrize("name", ["tests/conftest.py", ".gitignore", "benchmark/__init__.py"])
def test_what_may_act_anywhere_affects_every_test(project, name):
    (project / name).write_text("A = 1\n")
    assert affected(project) == {"tests", "benchmark", "baselines"}


def test_without_a_map_every_test_is_affected(project):
    shutil.rmtree(project / ".work")
    assert affected(project) == {"tests", "benchmark", "baselines"}


def test_a_copy_for_mutants_has_every_path_of_the_project(project, tmp_path):
    (project / "results").mkdir()
    (project / "results" / "rows.csv").write_text("1")
    (project / "benchmark" / "bundled").symlink_to("../results")
    (project / "benchmark" / "metrics").mkdir()
    git(project, "add", ".")
    copy = tmp_path / "mutants"
    copy_project(copy, project)
    assert (copy / "benchmark" / "bundled" / "rows.csv").read_text() == "1"
    assert (copy / "tests" / "test_g.py").read_text() == FILES["tests/test_g.py"]
