"""A question asked on the command line and in Python has one answer: the same records."""

import json
import math

import pandas as pd
import pytest

import benchmark
from support.bench.invoked import bench
from support.rows.bundled_results import bundled_results

KODAK = bundled_results() / "kodak"
QUESTIONS = {
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


def plain(value):
    """Return a value as JSON has it: None where there is none."""
    if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value


@pytest.mark.parametrize("words", QUESTIONS)
def test_the_command_and_the_call_give_the_same_records(words):
    said = json.loads(
        bench(*words.split(), "--json", "--dataset", "kodak", "--results", KODAK.parent)
    )
    frame = QUESTIONS[words]()
    records = [{k: plain(v) for k, v in row.items()} for row in frame.to_dict("records")]
    assert records == said["records"]
    assert frame.attrs["summary"] == said["summary"]
    assert frame.attrs["absent"] == said["absent"]
    assert frame.attrs["protocols"] == said["protocols"]
