"""The README and its tables are true: its codec runs by following it alone, its commands exist."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.console import agree
from support.files.noise import effect_noise
from support.rows.bundled_results import copy_bundled_results
from tools import field_table, results_table

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
MOST_LINES = 90


@pytest.mark.parametrize(
    ("page", "makers"),
    [
        ("README.md", (results_table.lines, field_table.short_lines)),
        ("docs/field.md", (field_table.lines,)),
    ],
)
def test_the_results_are_those_of_the_bundled_rows(page, makers, tmp_path):
    tables = re.findall(r"^\| Kodak, .*\n(?:\|.*\n)+", (ROOT / page).read_text(), re.MULTILINE)
    kodak = copy_bundled_results(tmp_path / "results") / "kodak"
    for table, make in zip(tables, makers, strict=True):
        made = list(make(kodak))
        assert len(table.splitlines()) == len(made)
        for shown, line in zip(table.splitlines(), made, strict=True):
            assert agree(shown, line), f"print the new one: {make.__module__}"


def test_the_readme_is_a_screen():
    assert len(README.splitlines()) <= MOST_LINES


def test_the_codec_of_the_documentation_runs_as_written(tmp_path):
    page = (ROOT / "docs" / "your-own.md").read_text()
    source = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]
    assert len(source.splitlines()) <= 35
    (tmp_path / "quantise.py").write_text(source)
    (tmp_path / "photos").mkdir()
    effect_noise((70, 50), 40).convert("RGB").save(tmp_path / "photos" / "noise.png")
    words = "run --codecs ./quantise.py:Quantise,jpeg --dataset photos --metrics psnr --json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmark", *words.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    points = json.loads(done.stdout)["summary"]
    mine = [point["psnr_db"] for point in points if "Quantise" in point["codec"]]
    assert mine == sorted(mine)
    assert len(mine) == 5


def test_every_command_the_readme_names_exists():
    named = set(re.findall(r"\bbench ([a-z]+)\b", README))
    done = subprocess.run(
        [sys.executable, "-m", "benchmark", "--help"],
        capture_output=True,
        text=True,
        timeout=900,
        check=True,
    )
    missing = {name for name in named if name not in done.stdout}
    assert missing == set()
