"""Lines below a ranking: what failed, was refused, skipped or is unread, five at most."""

import json

from benchmark.answer import Absent
from benchmark.commands.outcome import absences
from benchmark.commands.output import SHOWN_LINES, print_lines
from benchmark.measure.record import Failure
from benchmark.metrics.metric import Metric
from benchmark.rows.store import Store
from benchmark.show.absences import absent_lines
from benchmark.show.sections import scale_sentences
from support.bench.command import bench
from support.rows.bundled_results import copy_bundled_results
from support.rows.measured import sweep


def test_images_refused_for_one_reason_share_a_line():
    images = [
        Absent("a.png", "is CMYK"),
        Absent("b.png", "is empty"),
        Absent("c.png", "is CMYK"),
    ]
    assert absent_lines(absences(refused_images=images)) == [
        "a.png, c.png: refused: is CMYK", "b.png: refused: is empty"
    ]  # fmt: skip


def test_files_of_a_folder_that_are_no_pictures_are_counted_by_suffix_in_one_line():
    (line,) = absent_lines(absences(unread_files=("IMG_1.HEIC", "IMG_2.heic", "notes.txt")))
    assert line.startswith("2 .heic, 1 .txt: ")
    assert absences() == []


def test_values_that_are_absent_are_counted_by_column_with_the_command():
    missing_values = [{"column": "vif", "cells": 3, "reason": "not computed (`bench rescore`)"}]
    assert absent_lines(absences(missing_values=missing_values)) == [
        "vif of 3 cells: no value: not computed (`bench rescore`)"
    ]


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


def test_codecs_whose_weights_are_absent_share_a_line_and_json_has_every_reason(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("BENCH_WEIGHTS", raising=False)
    models = "bmshj2018-hyperprior", "mbt2018-mean"
    codecs = ["hyperprior", "compressai:model=mbt2018-mean"]
    words = ("plan", "--codecs", ",".join(["raw", *codecs]), "--skip-missing", "--limit", "1")
    words = (*words, "--results", tmp_path / "results")
    result = bench(*words, code=0)
    (line,) = [line for line in result.stdout.splitlines() if ": skipped: " in line]
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


def test_a_metric_that_bundled_rows_of_the_same_pixels_have_is_attributed_to_them(
    tmp_path, monkeypatch
):
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
    random_rows = [{**record, "caveat": "random weights"} for record in sweep("webp")]
    Store(tmp_path / "set").append([*sweep("jpeg"), *random_rows])
    options = "--results", tmp_path, "--dataset", "set"
    for words in (
        ("rank", "--at", "bpp=0.5", "--metric", "psnr"),
        ("match", "webp", "jpeg", "--metric", "psnr"),
        ("tradeoff", "webp", "jpeg", "--distortion", "psnr", "--realism", "ms_ssim"),
        ("table", "--metrics", "psnr", "--anchor", "jpeg"),
    ):
        output = bench(*words, *options).stdout
        assert "andom weights" in output, (words[0], output)
