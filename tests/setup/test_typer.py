"""The command line is the same with the oldest and the newest typer and rich that are allowed."""

import os
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement

from benchmark.cli import NAMES
from conftest import ROOT

DEPENDENCIES = map(
    Requirement, tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
)
ALLOWED = [str(one) for one in DEPENDENCIES if one.name in ("typer", "rich")]
ENDS = {
    "oldest": [one.partition(",")[0].replace(">=", "==") for one in sorted(ALLOWED)],
    "newest": ALLOWED,
}
MISTAKES = {  # words, and the sentence about them
    "runn": "no such command 'runn'. Did you mean 'run'? See `bench --help`",
    "run --limits 3": "no such option: --limits. Did you mean '--limit'? See `bench run --help`",
    "run --limit": "option '--limit' requires an argument; see `bench run --help`",
    "match jpeg": "missing argument 'AGAINST'; see `bench match --help`",
}


@pytest.fixture(scope="module", params=ENDS)
def bench(request, tmp_path_factory):
    """Return a function that runs the command with the packages of one end of what is allowed."""
    folder = tmp_path_factory.mktemp(request.param)
    install = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder)
    if subprocess.run([*install, *ENDS[request.param]], check=False).returncode:
        pytest.skip("no package index")

    def run(*words, **variables):
        return subprocess.run(
            [sys.executable, "-m", "benchmark", *words], cwd=folder, text=True, check=False,
            env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", **variables},
            capture_output=True,
        )  # fmt: skip

    return run


@pytest.mark.slow
def test_help_lists_verbs_panels_and_examples(bench):
    shown = bench("--help").stdout
    assert all(f" {name} " in shown for name in NAMES)
    shown = bench("run", "--help", COLUMNS="80").stdout
    assert "What to measure" in shown
    assert "--limit               N [x>=1]    Only the first N images" in shown
    assert "\n   bench run " in shown
    assert "--help" not in shown
    assert bench("pack").returncode == 2


@pytest.mark.slow
def test_a_shell_completes_verbs_options_and_names(bench):
    def completed(*words):
        asked = {"COMP_WORDS": "\n".join(["bench", *words]), "COMP_CWORD": str(len(words))}
        done = bench(_BENCH_COMPLETE="complete_bash", **asked)
        return done.stdout.split()

    assert completed("resc") == ["rescore"]
    assert completed("run", "--code") == ["--codecs"]
    assert completed("run", "--codecs", "jpeg,we") == ["jpeg,webp"]
    assert completed("pack", "im") == ["import"]


@pytest.mark.slow
def test_a_mistake_is_one_sentence(bench):
    for words, sentence in MISTAKES.items():
        done = bench(*words.split())
        assert (done.returncode, done.stderr) == (2, f"bench: {sentence}\n")
    done = bench("run", "--limit", "0")
    assert done.returncode == 2
    assert done.stderr.startswith("bench: invalid value for '--limit'")


@pytest.mark.slow
def test_a_run_measures_and_takes_both_spellings(bench):
    words = "--codec jpeg --points jpeg.quality=10 --metric psnr --datasets sample --limit 1"
    done = bench("run", *words.split())
    assert done.returncode == 0, done.stderr
    assert "jpeg   quality=10" in done.stdout
