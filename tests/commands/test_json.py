"""`--json` is a flag of one meaning: the summary as JSON on standard output, and nothing else."""

import json
import shutil
from pathlib import Path

import pytest

from support.bench.command import bench
from support.bench.verbs import every_verb
from support.quick import quick

ELIC = Path(__file__).parents[2] / "baselines" / "checkpoints" / "elic-3.safetensors.xz"
MEASURED = "--codecs jpeg --dataset sample --limit 1 --points jpeg.quality=30,60 --results measured"
# A command for each verb with the option, and words that its JSON has to have.
COMMANDS = {
    f"run {MEASURED} --metrics psnr": ("measured", "summary", "failed"),
    f"plan {MEASURED}": ("cells", "to_do"),
    "list": ("kind", "state", "lacks"),
    "doctor": ("kind", "state", "licence"),
    "rescore --dataset sample --limit 1 --metrics ssim --results measured": ("rows", "tried"),
    "report --results measured --metrics psnr --page": ("bd_rates", "files", "summary"),
    "tradeoff ours vtm --realism fd_squeeze": ("distortion", "records", "absent"),
    "match ours jpeg": ("records", "tolerance"),
    "rank --codecs ours,vtm": ("records", "psnr_db_low"),
    "bd curve.csv curve.csv": ("anchor", "records"),
    "check results other --dataset kodak --codec jpeg --metrics psnr": ("verdict", "exit_code"),
    "baseline list --results measured": ("name", "codecs"),
    "published list --dataset kodak": ("system", "how"),
    "published show tcm": ("reference", "rule", "doubt"),
    "published compare doubtful:vtm": ("source", "bd_rate_percent"),
    "explain curve.csv --against VTM:CompressAI": ("records", "residual_db"),
    "merge results-a --into merged": ("rows", "conflicts"),
    "export images --dataset sample --limit 1 --results measured --to out": ("images", "absent"),
    "audit decode measured": ("records", "wrong"),
    "audit rows measured --limit 1": ("bytes_equal", "wrong"),
    "audit pack measured.tar --metrics psnr": ("decoded", "wrong"),
    "review measured.tar --metrics psnr --dataset sample": ("answers", "verdict", "wrong"),
    "site --submissions packs --metrics psnr --out board": ("pack", "audited"),
    f"checkpoint info {ELIC}": ("architecture", "config", "macs_per_pixel", "training_data"),
}


ELSEWHERE = {"study read", "history", "baseline save", "pack export", "pack import"}


def words_in(value):
    """Every key of a JSON value."""
    if isinstance(value, dict):
        return set(value) | {word for one in value.values() for word in words_in(one)}
    return {word for one in value for word in words_in(one)} if isinstance(value, list) else set()


@pytest.fixture(scope="module")
def stored(place):
    results = place / "measured"
    words = MEASURED.replace("measured", str(results))
    for command in (
        f"run {words} --metrics psnr",
        f"baseline save v1 --results {results}",
        f"pack export {place / 'measured.tar'} --codecs jpeg --results {results}",
    ):
        bench(*command.split(), code=0)
    (place / "packs").mkdir()
    shutil.copy(place / "measured.tar", place / "packs")
    points = "".join(f"{bpp},{30 + bpp}\n" for bpp in (1, 2, 3, 4))
    (place / "curve.csv").write_text(f"bpp,psnr\n{points}")
    return place


@pytest.mark.parametrize("words", quick(COMMANDS, *COMMANDS.keys() - {"list", "doctor"}))
def test_standard_output_is_json_alone(stored, monkeypatch, words):
    monkeypatch.chdir(stored)
    done = bench(*words.split(), "--json")
    contradicted = words.startswith(("site", "review"))  # one of the four photographs is sent
    assert done.returncode == 0 or contradicted, done.stderr
    assert set(COMMANDS[words]) <= words_in(json.loads(done.stdout))


def test_json_is_a_flag_of_every_verb_that_has_it_and_each_is_tried():
    flags = {
        path: param.is_flag
        for path, command in every_verb()
        for param in command.params
        if "--json" in param.opts
    }
    assert all(flags.values())
    tried = {path for path in flags if any(command.startswith(path) for command in COMMANDS)}
    assert flags.keys() - tried == ELSEWHERE


def test_a_check_that_measures_prints_json_alone(stored, monkeypatch):
    monkeypatch.chdir(stored)
    words = "--codec jpeg --against measured --metrics psnr --limit 1 --results again --json"
    done = bench("check", *words.split(), "--points", "jpeg.quality=30,60")
    assert "verdict" in json.loads(done.stdout)
