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


@pytest.mark.parametrize(
    ("page", "tool"), [("README.md", results_table), ("docs/field.md", field_table)]
)
def test_the_results_are_those_of_the_bundled_rows(page, tool, tmp_path):
    (table,) = re.findall(r"^\| Kodak, .*\n(?:\|.*\n)+", (ROOT / page).read_text(), re.MULTILINE)
    made = list(tool.lines(copy_bundled_results(tmp_path / "results") / "kodak"))
    assert len(table.splitlines()) == len(made)
    for shown, line in zip(table.splitlines(), made, strict=True):
        assert agree(shown, line), f"print the new one: python -m {tool.__name__}"


def test_the_codec_of_the_readme_runs_as_written(tmp_path):
    (source,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
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


def test_the_lines_that_build_vtm_are_those_that_were_tried():
    (lines_of_build,) = re.findall(r"```sh\n(git clone --depth.*?)```", README, re.DOTALL)
    anchors = (ROOT / "docs" / "anchors.md").read_text()
    assert f"```\n{lines_of_build}```" in anchors
