"""A decoder that gives other pixels for the same bytes is found, one stream per codec variant."""

import json

import pytest

from support.bench.command import bench
from support.codecs.files import MINE


def run(kind, *more):
    words = ("--dataset", "photos", "--metrics", "psnr", "--results", "r", "--json", *more)
    done = bench("run", "--codecs", f"{MINE}:{kind}", *words)
    return done.returncode, json.loads(done.stdout)


def record_of(folder):
    (path,) = folder.glob("r/*/runs/*.json")
    return json.loads(path.read_text())


@pytest.mark.parametrize(
    ("kind", "samples"),
    [("DiffersByCall", 1), ("DiffersByInstance", 3)],
    ids=["calls", "instances"],
)
def test_a_decoder_that_is_not_deterministic_fails_one_cell(kind, samples, photos):
    code, reported = run(kind)
    (failed,) = reported["failed"]
    assert (code, failed["stage"]) == (1, "decode")
    assert failed["cell"] == f"mine.py:{kind} step=1 1.png"
    assert failed["reason"].startswith(
        f"not deterministic: two decodes of the same bytes differ in {samples} of 3600 samples"
    )
    assert "decoded_twice" not in record_of(photos)


def test_one_stream_of_each_variant_is_decoded_twice_by_two_instances(photos):
    log = photos / "log"
    code, _ = run(f"CountsDecodes:log={log}", "--jobs", "1")
    lines = [line.split() for line in log.read_text().splitlines()]
    assert (code, len(lines)) == (0, 6 + 1)
    of_smallest = [instance for size, instance in lines if size == "3600"]
    assert len(of_smallest) == 3  # two settings, the first of them twice
    assert len(set(of_smallest)) == 2
    (cell,) = record_of(photos)["decoded_twice"].values()
    assert cell == "step=1 1.png"
