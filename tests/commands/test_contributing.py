"""The recipes of CONTRIBUTING.md are true: made in a copy of the project, their commands work."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT
from support.files.noise import effect_noise
from support.quick import quick
from support.rows.bundled_results import copy_bundled_results

TEXT = (ROOT / "CONTRIBUTING.md").read_text().partition("\n## Usual changes\n")[2]
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE))
MEASURED = "run --codecs jpeg --dataset sample --limit 1 --metrics psnr"
BLOCK = r":\n\n```\w+\n(.*?)```"
SHOWN = {  # a file that the commands leave, and what it contains
    "A metric": ("results/sample/report/means.md", "| FD (gradients) |"),
    "A figure": ("results/sample/report/psnr_db.pdf", "DejaVuSansMono"),
    "A dataset": ("results/charts/report/report.md", "# Test charts"),
    "A verb": ("slowest.csv", "dataset,label,image,decode_seconds\n"),
    "A column": ("results/sample/report/details.md", "zero bytes"),
    "A learned codec": ("runs/factorised/factorised.json", '"architecture": "factorised"'),
}


def follow(section, project):
    """Write the files of a section, and put its lines into tables and files."""
    for name, source in re.findall(rf"^`([\w/.]+)`{BLOCK}", section, re.DOTALL | re.MULTILINE):
        path = project / name
        assert not path.exists()
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
    for name, table, line in re.findall(r"^In `([\w/.]+)`, `\[(\w+)\]`: `(.*)`$", section, re.M):
        edit(project / name, rf"^(\[{table}\]\n)", rf"\g<1>{line}\n")
    for name, table, line in re.findall(r"^In `([\w/.]+)`, `(\w+)`: `(.*)`$", section, re.M):
        edit(project / name, rf"(^ *{table}\W.*?(?:\{{[^\n]*|\()\n)", rf"\g<1>    {line}\n")
    pattern = rf"^Above `([^`]+)` in `([\w/.]+)`{BLOCK}"
    for place, name, source in re.findall(pattern, section, re.DOTALL | re.M):
        edit(project / name, rf"^({re.escape(place)})", f"{source}\n\n\\1")


def edit(path, pattern, replacement):
    flags = re.DOTALL | re.MULTILINE
    text, count = re.subn(pattern, replacement, path.read_text(), count=1, flags=flags)
    assert count == 1, f"{path} has no place like {pattern}"
    path.write_text(text)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with every recipe followed, and images for the dataset."""
    project = tmp_path_factory.mktemp("project")
    ignored = shutil.ignore_patterns("__pycache__", "bundled")
    for package in ("benchmark", "baselines"):
        shutil.copytree(ROOT / package, project / package, ignore=ignored)
    copy_bundled_results(project / "benchmark" / "bundled")
    for section in SECTIONS.values():
        follow(section, project)
    network = ROOT / "tests" / "support" / "added" / "factorised.py"
    shutil.copy(network, project / "baselines/neural/factorised/model.py")
    (project / "data" / "charts").mkdir(parents=True)
    for number in range(4):
        noise = effect_noise((90, 80), 20 + 20 * number).convert("RGB")
        noise.save(project / "data" / "charts" / f"{number}.png")
    return project


def run(project, code, *words):
    return subprocess.run(
        [sys.executable, "-c", code, *words], cwd=project, capture_output=True, text=True,
        timeout=900, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (project, ROOT / "tests")))},
    )  # fmt: skip


# One process for all commands of a recipe: they start alike.
IN_TURN = """
import shlex, sys
from support.bench.command import bench
for command in sys.argv[1:]:
    result = bench(*shlex.split(command), code=0)
"""


def test_every_recipe_is_there_and_most_have_commands():
    assert len(SECTIONS) == 8
    assert {name for name, text in SECTIONS.items() if "```sh" in text} == set(SHOWN)


@pytest.mark.parametrize("name", quick(SHOWN, "A verb"))
def test_the_commands_of_a_recipe_show_what_it_added(project, name):
    (block,) = re.findall(r"```sh\n(.*?)```", SECTIONS[name], re.DOTALL)
    programs, commands = zip(*(line.split(" ", 1) for line in block.splitlines()), strict=True)
    assert {*programs} == {"bench"}
    if name == "A figure":  # draws what another recipe measured
        (project / "mono.mplstyle").write_text("font.family: monospace\n")
        commands = MEASURED, *commands
    result = run(project, IN_TURN, *commands)
    assert result.returncode == 0, result.stderr
    file, text = SHOWN[name]
    assert text.encode() in (project / file).read_bytes()


def test_the_loss_of_the_recipe_may_be_that_of_a_variant(project):
    result = run(
        project,
        "from dataclasses import replace\n"
        "from baselines.neural.training.recipe import load_recipe\n"
        "recipe = replace(load_recipe('smoke'), variants={'mine': {'gan_loss': 'lsgan'}})\n"
        "import torch\n"
        "from baselines.neural.training.gan import GAN_LOSSES\n"
        "loss = GAN_LOSSES[recipe.variant_recipes()['mine'].stages[-1].gan_loss]\n"
        "print(float(loss.generator_loss(None, torch.zeros(1, 1, 2, 2))))",
    )  # fmt: skip
    assert result.stdout == "1.0\n", result.stderr


def test_every_file_that_a_recipe_names_is_there():
    names = set(re.findall(r"`((?:benchmark|baselines|tests|docs|tools)/[\w/.]+)`", TEXT))
    names -= {name for name, _ in re.findall(rf"^`([\w/.]+)`{BLOCK}", TEXT, re.DOTALL | re.M)}
    names -= {"baselines/neural/NAME/", "baselines/neural/factorised/model.py"}  # copied
    assert [name for name in names if not (ROOT / name).exists()] == []
