"""Skipped codecs on the terminal: one line for those that lack the same, nobody forgotten."""

import json

import pytest

from benchmark.commands.skipped_codecs import skipped_codecs
from benchmark.errors import Unavailable
from benchmark.system.weights import find_weights
from support.bench.command import bench

WHERE = "in --weights-dir or torch's cache"


def test_codecs_whose_weights_are_absent_share_a_line_and_json_has_every_reason(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("BENCH_WEIGHTS", raising=False)
    models = "bmshj2018-hyperprior", "mbt2018-mean"
    codecs = ["hyperprior", "compressai:model=mbt2018-mean"]
    words = ("plan", "--codecs", ",".join(["raw", *codecs]), "--skip-missing", "--limit", "1")
    words = (*words, "--results", tmp_path / "results")
    told = bench(*words)
    assert told.returncode == 0, told.stderr
    commands = ", ".join(f"`bench fetch compressai:model={model}:metric=mse`" for model in models)
    lines = [line for line in told.stdout.splitlines() if line.startswith("skipped")]
    assert lines == [f"skipped  {', '.join(codecs)}: no weight files {WHERE}: run {commands}"]
    reasons = json.loads(bench(*words, "--json").stdout)["skipped"]
    assert list(reasons) == codecs
    for codec, model in zip(codecs, models, strict=True):
        assert reasons[codec].startswith(f"no weight file {model}-1-")


def why(file, remedy):
    with pytest.raises(Unavailable) as raised:
        find_weights([file], remedy)
    return str(raised.value)


def test_each_suite_that_trains_what_is_absent_has_a_line_with_its_commands():
    train = "bench train --suite"
    skipped = [
        ("ivr", why("ivr-absent.pt", f"train it with `{train} field --members ivr`")),
        ("hific", why("hific-absent.pt", f"train one with `{train} field`, or name one")),
        ("pqmim", why("pqmim-absent.pt", f"train one with `{train} generative`, or name one")),
    ]
    assert skipped_codecs(skipped) == [
        f"ivr, hific: no weight files {WHERE}: run `{train} field --members ivr`, `{train} field`",
        f"pqmim: {skipped[2][1]}",
    ]
    assert skipped_codecs(skipped, details=True) == [f"{name}: {told}" for name, told in skipped]


def test_equal_programs_and_packages_share_a_line_and_other_reasons_do_not():
    bpg = "the program 'bpgdec' is not on the PATH: build it"
    package = "needs the Python package imagecodecs: install it"
    skipped = [
        ("bpg", bpg), ("webp", f"webp {package}"), ("jpegxl", f"jpegxl {package}"),
        ("bpg:depth=10", bpg), ("mine", "mine needs a licence: ask"), ("mine", "no stream"),
    ]  # fmt: skip
    assert skipped_codecs(skipped) == [
        f"bpg, bpg:depth=10: {bpg}",
        "webp, jpegxl: need the Python package imagecodecs: install it",
        "mine: mine needs a licence: ask",
        "mine: no stream",
    ]
