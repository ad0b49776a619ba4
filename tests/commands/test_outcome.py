"""What a run says: how long it takes; below a ranking, what failed, was refused or skipped."""

import json
import re

import pytest

from benchmark.answer import Absent
from benchmark.commands.outcome import absences
from benchmark.commands.output import SHOWN_LINES, print_lines
from benchmark.commands.run import time_sentence
from benchmark.measure.record import Failure
from benchmark.metrics.metric import Metric
from benchmark.rows.store import Store
from benchmark.show.absences import absent_lines
from benchmark.show.sections import scale_sentences
from support.bench.command import bench
from support.files.noise import noise_images
from support.rows.bundled_results import copy_bundled_results
from support.rows.measured import sweep


def test_absences_of_one_reason_share_a_line():
    reasons = {"a.png": "is CMYK", "b.png": "is empty", "c.png": "is CMYK"}
    lines = absent_lines(absences(refused_images=[Absent(*pair) for pair in reasons.items()]))
    assert lines == ["a.png, c.png: refused: is CMYK", "b.png: refused: is empty"]
    (line,) = absent_lines(absences(unread_files=("IMG_1.HEIC", "IMG_2.heic", "notes.txt")))
    assert line.startswith("2 .heic, 1 .txt: ")
    missing_values = [{"column": "vif", "cells": 3, "reason": "not computed (`bench rescore`)"}]
    (line,) = absent_lines(absences(missing_values=missing_values))
    assert line == "vif of 3 cells: no value: not computed (`bench rescore`)"
    assert absences() == []


def test_five_lines_are_shown_and_the_number_of_the_others_unless_all_are_asked_for(capsys):
    failures = [Failure(f"jpeg quality=5 {n}.png", "encode", f"boom {n}") for n in range(8)]
    lines = absent_lines(absences(failures))
    assert lines[0] == "jpeg quality=5 0.png: failed: encode: boom 0"
    print_lines(lines, details=False)
    output_lines = capsys.readouterr().out.splitlines()
    assert output_lines[:SHOWN_LINES] == lines[:SHOWN_LINES]
    assert output_lines[SHOWN_LINES:] == ["and 3 more: -v shows them"]
    print_lines(lines, details=True)
    assert capsys.readouterr().out.splitlines() == lines


def test_codecs_without_weights_share_a_line_and_json_has_every_reason(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("BENCH_WEIGHTS", raising=False)
    models = "bmshj2018-hyperprior", "mbt2018-mean"
    codecs = ["hyperprior", "compressai:model=mbt2018-mean"]
    words = ("plan", "--codecs", ",".join(["raw", *codecs]), "--skip-missing", "--limit", "1")
    words = (*words, "--results", tmp_path / "results")
    (line,) = [line for line in bench(*words, code=0).stdout.splitlines() if ": skipped: " in line]
    assert line.startswith(f"{', '.join(codecs)}: ")
    assert all(f"`bench fetch compressai:model={m}:metric=mse`" in line for m in models), line
    absent = json.loads(bench(*words, "--json").stdout)["absent"]
    assert [record["what"] for record in absent] == codecs
    for record, model in zip(absent, models, strict=True):
        assert model in record["remedy"]


def test_metrics_that_were_asked_for_are_in_the_table_of_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = bench(
        "run", "--codecs", "jpeg", "--points", "jpeg.quality=10", "--dataset", "sample", "--limit",
        "1", "--metrics", "psnr,psnr_y,ssim", "--results", "results", "--jobs", "1", code=0,
    )  # fmt: skip
    (header,) = [line for line in result.stdout.splitlines() if line.startswith("codec")]
    assert all(Metric.named(name).label in header for name in ("psnr", "psnr_y", "ssim"))


def test_a_caption_names_the_metrics_that_are_drawn_in_decibels():
    ssim, metrics = ([*map(Metric.named, names)] for names in (["ssim"], ["ms_ssim", "ssim"]))
    assert scale_sentences(ssim) == ["SSIM is drawn as -10 log10(1 - mean)."]
    assert scale_sentences(metrics) == ["MS-SSIM and SSIM are drawn as -10 log10(1 - mean)."]


def test_a_metric_that_bundled_rows_have_is_attributed_to_them(tmp_path, monkeypatch):
    for name in ("BENCH_WEIGHTS", "TORCH_HOME", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "empty"))
    results = copy_bundled_results(tmp_path / "results")
    words = "run", "--codecs", "jpeg", "--dataset", "sample", "--results", results
    result = bench(*words, "--points", "jpeg.quality=10,30,50,70,90", code=0)
    line = "LPIPS (SqueezeNet): values come from bundled rows"
    assert (line in result.stdout) == ("LPIPS" in result.stdout.splitlines()[1])
    assert line in result.stdout
    report = bench("report", "--dataset", "sample", "--results", results, "--codecs", "jpeg,vtm")
    assert line in report.stdout
    assert line in (results / "sample" / "report" / "report.md").read_text()
    other_result = bench(*words[:-1], tmp_path / "none", "--points", "jpeg.quality=10,30,50,70")
    assert line not in other_result.stdout


def test_random_weights_are_named_below_every_table(tmp_path):
    Store(tmp_path / "set").append([*sweep("jpeg"), *sweep("webp", caveat="random weights")])
    options = "--results", tmp_path, "--dataset", "set"
    for words in (
        ("rank", "--at", "bpp=0.5", "--metric", "psnr"),
        ("match", "webp", "jpeg", "--metric", "psnr"),
        ("tradeoff", "webp", "jpeg", "--distortion", "psnr", "--realism", "ms_ssim"),
        ("table", "--metrics", "psnr", "--anchor", "jpeg"),
    ):
        output = bench(*words, *options).stdout
        assert "andom weights" in output, (words[0], output)


def test_a_long_run_says_days_the_slowest_codec_and_what_is_shorter():
    sentence = time_sentence({"vtm": 820_000.0, "ours": 14_358.0}, 39_000.0, 2)
    assert sentence == (
        "coding takes about 4.8 days, 2 cells at a time, without metrics; 4.7 days of that for "
        "vtm. To finish sooner: `--part I/116` on 116 such machines, an hour each; "
        "`--limit 20`, 5.4 h"
    )
    assert time_sentence({"vtm": 80_000.0}, None, 1).count("--") == 1


def test_a_plan_estimates_seconds_by_the_typical_times_of_its_codecs(tmp_path, monkeypatch):
    """libjpeg at quality 50 takes 9 ms a megapixel, AVIF at crf 34 and speed 1 11.07 s."""
    monkeypatch.chdir(tmp_path)
    noise_images(tmp_path / "photos", [(1000, 1000), (1000, 1001), (1000, 1002)])
    points = "--points", "jpeg.quality=50,avif:speed=1.crf=34"
    result = bench("plan", "--codecs", "jpeg,avif:speed=1", *points, "--dataset", "photos",
                 "--jobs", 1, code=0)  # fmt: skip
    assert re.search(r"about 33 s, 1 cell .*; 33 s .* avif:speed=1\b", result.stdout)
    assert "6 cells" in result.stdout


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
    assert "clic2020: 428 images, " in output
    assert "about 2.5 h" in output
    result = bench("plan", "--dataset", "flickr2k", "--data-dir", tmp_path, "--codecs", "jpeg")
    assert (result.returncode, "bench fetch flickr2k" in result.stderr) == (2, True)
