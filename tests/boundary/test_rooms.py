"""A room that holds all of a feature can be removed: its folder, its verbs, its page."""

import re
import shutil
import sys

import pytest

from conftest import ROOT
from support.processes import ran

# Folder of `benchmark/`: its page of docs/, or the section of one
ROOMS = {"check": "check.md", "study": "reading-rows.md#study", "review": "review.md"}
LINE = r'(?m)^\w+ = \["benchmark\.{}\..*\n'  # of verbs.toml
EVERYTHING = """
from importlib import import_module
from pkgutil import walk_packages
import benchmark, baselines
for package in (benchmark, baselines):
    for module in walk_packages(package.__path__, f"{package.__name__}."):
        if module.name.rpartition(".")[2] not in ("__main__", "rdrbench_worker"):
            import_module(module.name)
from benchmark.cli import NAMES, program
program(NAMES)
print(benchmark.__file__)
"""


def python(copy, *words):
    result = ran(sys.executable, *words, folder=copy, PYTHONPATH=copy)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_without_the_rooms_all_else_is_imported_and_measures(tmp_path):
    leave_out = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.png", *ROOMS)
    for folder in ("benchmark", "baselines"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=leave_out)
    verbs = tmp_path / "benchmark" / "verbs.toml"
    text, count = re.subn(LINE.format(f"({'|'.join(ROOMS)})"), "", verbs.read_text())
    assert count >= len(ROOMS)
    verbs.write_text(text)
    assert str(tmp_path) in python(tmp_path, "-c", EVERYTHING)
    words = ("run", "--codecs", "jpeg", "--dataset", "sample", "--limit", "1", "--metrics", "psnr")
    python(tmp_path, "-m", "benchmark", *words, "--results", "out")
    assert "jpeg" in python(tmp_path, "-m", "benchmark", "report", "--results", "out", "--json")


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_but_its_verbs_names_a_room(room):
    mention = re.compile(rf"benchmark(\.|/| import ){room}\b")
    files = {*ROOT.glob("b*/**/*.py"), *ROOT.glob("b*/**/*.toml")}
    files -= {*(ROOT / "benchmark" / room).rglob("*")}
    assert {path.name for path in files if mention.search(path.read_text())} == {"verbs.toml"}
    linked = {path.name for path in (ROOT / "docs").glob("*.md") if ROOMS[room] in path.read_text()}
    # Its own page, the index, and where packs and checkpoints are made
    assert linked <= {ROOMS[room], "README.md", "reading-rows.md", "training.md"}
