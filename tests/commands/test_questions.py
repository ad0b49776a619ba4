"""A question asked on the command line and in Python has one answer; `--json` prints it alone."""

import json
import math
import re
import shutil

import pandas as pd
import pytest

import benchmark
from benchmark.check import verb as checks
from benchmark.commands import inventory
from benchmark.commands import published as curves
from benchmark.commands.run import plan
from benchmark.option import flatten
from benchmark.published.explain import explain
from conftest import ROOT
from support.bench.command import bench, output_of
from support.bench.verbs import every_verb
from support.rows.bundled_results import bundled_results

RESULTS = bundled_results()
KODAK, SAMPLE = RESULTS / "kodak", RESULTS / "sample"
HERE = f"--results {RESULTS}"
QUESTIONS = {  # about rows: functions of `benchmark` that return data frames
    "rank --at bpp=.3 --at psnr=32 --codecs ours,vtm,jpegli":
        lambda: benchmark.rank(KODAK, ["bpp=.3", "psnr=32"], codecs=["ours", "vtm", "jpegli"]),
    "match vtm avif --metric ms_ssim --tolerance 1%":
        lambda: benchmark.match(KODAK, "vtm", "avif", "ms_ssim", tolerance="1%"),
    "match vtm avif --each-pair": lambda: benchmark.match(KODAK, "vtm", "avif", each_pair=True),
    "tradeoff ours vtm --realism lpips_squeeze":
        lambda: benchmark.tradeoff(KODAK, "ours", "vtm", realism="lpips_squeeze"),
}  # fmt: skip
OTHER_QUESTIONS = {  # the functions themselves
    f"published list --dataset kodak {HERE}":
        lambda: flatten(curves.list_all)(dataset="kodak", results=RESULTS),
    f"published show tcm {HERE}": lambda: flatten(curves.show)(["tcm"], results=RESULTS),
    f"published compare doubtful:vtm tcm {HERE}":
        lambda: flatten(curves.compare)(["doubtful:vtm", "tcm"], results=RESULTS),
    f"bd VTM:CompressAI tcm --metrics psnr {HERE}":
        lambda: flatten(curves.bd)("VTM:CompressAI", "tcm", ["psnr"], results=RESULTS),
    f"explain tcm --against VTM:CompressAI {HERE}":
        lambda: flatten(explain)("tcm", against="VTM:CompressAI", results=RESULTS),
    f"check {SAMPLE} {SAMPLE} --codec jpeg --metrics psnr --common":
        lambda: flatten(checks.check)(
            rows=[str(SAMPLE)] * 2, codec="jpeg", metrics="psnr", common=True),
    f"baseline list {HERE}": lambda: flatten(checks.list_all)(RESULTS),
    "list avif vtm": lambda: flatten(inventory.list_)(["avif", "vtm"]),
    f"doctor {RESULTS}": lambda: flatten(inventory.doctor)(results=RESULTS),
    "plan --codecs jpeg --dataset sample --limit 1":
        lambda: flatten(plan)(codecs=["jpeg"], dataset="sample", limit=1),
}  # fmt: skip
MEASURED = "--codecs jpeg --dataset sample --limit 1 --points jpeg.quality=30,60 --results measured"
ELIC = ROOT / "baselines" / "checkpoints" / "elic-3.safetensors.xz"
# Commands that measure, decode or write, and keys that their JSON must have.
WORK_COMMANDS = {
    f"run {MEASURED} --metrics psnr": ("measured", "summary", "failed"),
    "rescore --dataset sample --limit 1 --metrics ssim --results measured": ("rows", "tried"),
    "report --results measured --metrics psnr --page": ("bd_rates", "files", "summary"),
    "check --codec jpeg --against measured --metrics psnr --limit 1 --results again "
    "--points jpeg.quality=30,60": ("verdict", "exit_code"),
    "merge results --into merged": ("rows", "conflicts"),
    "export images --dataset sample --limit 1 --results measured --to out": ("images", "absent"),
    "audit decode measured": ("records", "wrong"),
    "audit rows measured --limit 1": ("bytes_equal", "wrong"),
    "audit pack measured.tar --metrics psnr": ("decoded", "wrong"),
    "review measured.tar --metrics psnr --dataset sample": ("answers", "verdict", "wrong"),
    "site --submissions packs --metrics psnr --out board": ("pack", "audited"),
    f"checkpoint info {ELIC}": ("architecture", "config", "macs_per_pixel", "training_data"),
}
TESTED_ELSEWHERE = {"study read", "history", "baseline save", "pack export", "pack import"}


def json_value(value):
    if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value


@pytest.mark.parametrize("words", QUESTIONS)
def test_the_command_and_the_call_give_the_same_records(words):
    words_of_rows = *words.split(), "--dataset", "kodak", "--results", KODAK.parent
    output = json.loads(output_of(*words_of_rows, "--json"))
    frame = QUESTIONS[words]()
    records = [{k: json_value(v) for k, v in row.items()} for row in frame.to_dict("records")]
    assert records == output["records"]
    assert frame.attrs["summary"] == output["summary"]
    assert frame.attrs["absent"] == output["absent"]
    assert frame.attrs["protocols"] == output["protocols"]


@pytest.mark.parametrize("words", OTHER_QUESTIONS, ids=lambda words: re.sub(r" \S*/\S*", "", words))
def test_the_command_prints_the_answer_of_the_function(words):
    replies, answers = json.loads(output_of(*words.split(), "--json")), OTHER_QUESTIONS[words]()
    replies, answers = (v if isinstance(v, list) else [v] for v in (replies, answers))
    for reply, answer in zip(replies, answers, strict=True):
        assert reply["records"] == json.loads(json.dumps([*answer.records], default=str))
        first, answer_line = (text.splitlines()[:1] for text in (reply["summary"], answer.summary))
        assert (first, len(reply["absent"])) == (answer_line, len(answer.absent))
        assert answer.facts.keys() <= reply.keys()


@pytest.fixture(scope="module")
def work_folder(tmp_path_factory):
    """A folder with results of a photograph, a pack of these, and the bundled results."""
    place = tmp_path_factory.mktemp("stored")
    shutil.copytree(SAMPLE, place / "results" / "sample")
    results = place / "measured"
    bench(*f"run {MEASURED.replace('measured', str(results))} --metrics psnr".split(), code=0)
    pack = "pack", "export", place / "measured.tar", "--codecs", "jpeg"
    bench(*pack, "--results", results, code=0)
    (place / "packs").mkdir()
    shutil.copy(place / "measured.tar", place / "packs")
    return place


def words_in(value):
    if isinstance(value, dict):
        return set(value) | {word for item in value.values() for word in words_in(item)}
    return {word for item in value for word in words_in(item)} if isinstance(value, list) else set()


@pytest.mark.parametrize("words", WORK_COMMANDS)
def test_a_verb_that_works_prints_json_alone(work_folder, monkeypatch, words):
    monkeypatch.chdir(work_folder)
    result = bench(*words.split(), "--json")
    has_one_photograph = words.startswith(("site", "review", "check"))  # too few for a verdict
    assert result.returncode == 0 or has_one_photograph, result.stderr
    assert set(WORK_COMMANDS[words]) <= words_in(json.loads(result.stdout))


def test_json_is_a_flag_of_every_verb_that_has_it_and_each_is_tried():
    flags = set()
    for path, command in every_verb():
        for param in (param for param in command.params if "--json" in param.opts):
            assert param.is_flag
            flags.add(path)
    examples = [*QUESTIONS, *OTHER_QUESTIONS, *WORK_COMMANDS]
    untried = {path for path in flags if not any(words.startswith(path) for words in examples)}
    assert untried == TESTED_ELSEWHERE
