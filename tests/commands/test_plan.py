"""How long a run takes, in words."""

import json

import pytest

from benchmark.commands.run import time_sentence
from support.bench.command import bench
from support.files.noise import noise_images


def test_a_long_run_says_days_the_slowest_codec_and_what_is_shorter():
    sentence = time_sentence({"vtm": 820_000.0, "ours": 14_358.0}, 39_000.0, 2)
    assert sentence == (
        "coding takes about 4.8 days, 2 cells at a time, without metrics; 4.7 days of that for "
        "vtm. To finish sooner: `--part I/116` on 116 such machines, an hour each; "
        "`--limit 20`, 5.4 h"
    )
    assert time_sentence({"vtm": 80_000.0}, None, 1).endswith("such machines, an hour each")


def test_a_plan_estimates_seconds_by_the_typical_times_of_its_codecs(tmp_path, monkeypatch):
    """libjpeg at quality 50 takes 9 ms a megapixel, AVIF at crf 34 and speed 1 11.07 s."""
    monkeypatch.chdir(tmp_path)
    noise_images(tmp_path / "photos", [(1000, 1000), (1000, 1001), (1000, 1002)])
    points = "--points", "jpeg.quality=50,avif:speed=1.crf=34"
    result = bench("plan", "--codecs", "jpeg,avif:speed=1", *points, "--dataset", "photos",
                 "--jobs", 1, code=0)  # fmt: skip
    seconds = "coding takes about 33 s, 1 cell at a time, without metrics"
    assert f"{seconds}; 33 s of that for avif:speed=1" in result.stdout
    assert "6 cells estimated from typical times" in result.stdout


def test_a_known_dataset_is_planned_without_its_images_and_the_program(tmp_path, monkeypatch):
    """VTM takes 660 s a megapixel at six QPs together; JPEG's seconds are negligible."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    words = "plan", "--dataset", "clic2020", "--data-dir", tmp_path, "--jobs", 2
    record = json.loads(bench(*words, "--codecs", "vtm,jpeg", "--json").stdout)
    pixels = 22_540_456 * 8 / 0.15  # the challenge's limit of bytes is .15 bits per pixel
    seconds = {entry["codec"]: entry["seconds"] for entry in record["records"]}
    assert seconds["vtm"] == pytest.approx(330e-6 * pixels, rel=1e-6)
    output = bench(*words, "--codecs", "vtm,jpeg", "--points", "vtm.qp=47").stdout
    assert "clic2020: 428 images, not downloaded yet" in output
    assert "coding takes about 2.5 h" in output
    result = bench("plan", "--dataset", "flickr2k", "--data-dir", tmp_path, "--codecs", "jpeg")
    assert (result.returncode, "was not found" in result.stderr) == (2, True)
