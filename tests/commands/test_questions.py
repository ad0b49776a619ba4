"""A question asked on the command line and in Python has one answer: the same records."""

import json
import math
import re

import pandas as pd
import pytest

import benchmark
from benchmark.check import verb as checks
from benchmark.commands import inventory
from benchmark.commands.run import plan
from benchmark.option import flat
from benchmark.published import verb as curves
from benchmark.published.explain import explain
from support.bench.command import output_of
from support.bench.verbs import every_verb
from support.rows.bundled_results import bundled_results

RESULTS = bundled_results()
KODAK, SAMPLE = RESULTS / "kodak", RESULTS / "sample"
HERE = f"--results {RESULTS}"
QUESTIONS = {  # of rows: functions of `benchmark`, which return data frames
    "rank --at bpp=.3 --at psnr=32 --codecs ours,vtm,jpegli": lambda: benchmark.rank(
        KODAK, ["bpp=.3", "psnr=32"], codecs=["ours", "vtm", "jpegli"]
    ),
    "match vtm avif --metric ms_ssim --tolerance 1%": lambda: benchmark.match(
        KODAK, "vtm", "avif", "ms_ssim", tolerance="1%"
    ),
    "match vtm avif --each-pair": lambda: benchmark.match(KODAK, "vtm", "avif", each_pair=True),
    "tradeoff ours vtm --realism lpips_squeeze": lambda: benchmark.tradeoff(
        KODAK, "ours", "vtm", realism="lpips_squeeze"
    ),
}
OTHERS = {  # the functions themselves
    f"published list --dataset kodak {HERE}": lambda: flat(curves.list_all)("kodak", RESULTS),
    f"published show tcm {HERE}": lambda: flat(curves.show)(["tcm"], results=RESULTS),
    f"published compare doubtful:vtm tcm {HERE}": lambda: flat(curves.compare)(
        ["doubtful:vtm", "tcm"], results=RESULTS
    ),
    f"bd VTM:CompressAI tcm --metrics psnr {HERE}": lambda: flat(curves.bd)(
        "VTM:CompressAI", "tcm", ["psnr"], results=RESULTS
    ),
    f"explain tcm --against VTM:CompressAI {HERE}": lambda: flat(explain)(
        "tcm", against="VTM:CompressAI", results=RESULTS
    ),
    f"check {SAMPLE} {SAMPLE} --codec jpeg --metrics psnr --common": lambda: flat(checks.check)(
        rows=[str(SAMPLE), str(SAMPLE)], codec="jpeg", metrics="psnr", common=True
    ),
    f"baseline list {HERE}": lambda: flat(checks.list_all)(RESULTS),
    "list avif vtm": lambda: flat(inventory.list_)(["avif", "vtm"]),
    f"doctor {RESULTS}": lambda: flat(inventory.doctor)(results=RESULTS),
    "plan --codecs jpeg --dataset sample --limit 1": lambda: flat(plan)(
        codecs=["jpeg"], dataset="sample", limit=1
    ),
}
# Those that measure, decode or write: what they print is tried in their rooms.
ELSEWHERE = {
    "history", "baseline save", "rescore", "merge", "pack export", "pack import", "review", "site",
    "study read", "audit decode", "audit pack", "audit rows", "export images",
}  # fmt: skip


def plain(value):
    """Return a value as JSON has it: None where there is none."""
    if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value


@pytest.mark.parametrize("words", QUESTIONS)
def test_the_command_and_the_call_give_the_same_records(words):
    said = json.loads(
        output_of(*words.split(), "--json", "--dataset", "kodak", "--results", KODAK.parent)
    )
    frame = QUESTIONS[words]()
    records = [{k: plain(v) for k, v in row.items()} for row in frame.to_dict("records")]
    assert records == said["records"]
    assert frame.attrs["summary"] == said["summary"]
    assert frame.attrs["absent"] == said["absent"]
    assert frame.attrs["protocols"] == said["protocols"]


@pytest.mark.parametrize("words", OTHERS, ids=lambda words: re.sub(r" \S*/\S*", "", words))
def test_the_command_prints_the_answer_of_the_function(words):
    said, made = json.loads(output_of(*words.split(), "--json")), OTHERS[words]()
    answers = made if isinstance(made, list) else [made]
    for of, answer in zip(said if isinstance(said, list) else [said], answers, strict=True):
        expected = json.loads(json.dumps([*answer.records], default=str))
        assert of["records"] == expected
        first, same = (text.splitlines()[:1] for text in (of["summary"], answer.summary))
        assert (first, len(of["absent"])) == (same, len(answer.absent))
        assert answer.facts.keys() <= of.keys()


def test_every_question_is_asked_here_or_in_its_room():
    asked = {words.partition(" --")[0] for words in {**QUESTIONS, **OTHERS}}
    flags = {path: [flag for of in verb.params for flag in of.opts] for path, verb in every_verb()}
    verbs = {path for path, of_verb in flags.items() if "--csv" in of_verb}
    assert {path for path in verbs if not any(of.startswith(path) for of in asked)} == ELSEWHERE
