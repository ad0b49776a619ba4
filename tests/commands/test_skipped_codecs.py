"""Skipped codecs on the terminal: one line for those that lack the same, nobody forgotten."""

import json

from benchmark.commands.outcome import skipped_codecs
from benchmark.errors import Reason
from benchmark.plan.select import Skipped
from support.bench.command import bench


def test_codecs_whose_weights_are_absent_share_a_line_and_json_has_every_reason(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("BENCH_WEIGHTS", raising=False)
    models = "bmshj2018-hyperprior", "mbt2018-mean"
    codecs = ["hyperprior", "compressai:model=mbt2018-mean"]
    words = ("plan", "--codecs", ",".join(["raw", *codecs]), "--skip-missing", "--limit", "1")
    words = (*words, "--results", tmp_path / "results")
    done = bench(*words)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("skipped")]
    assert line.startswith(f"skipped  {', '.join(codecs)}: ")
    assert all(f"`bench fetch compressai:model={model}:metric=mse`" in line for model in models)
    reasons = json.loads(bench(*words, "--json").stdout)["skipped"]
    assert list(reasons) == codecs
    for codec, model in zip(codecs, models, strict=True):
        assert f"{model}-1-" in reasons[codec]


def test_codecs_that_lack_the_same_kind_of_thing_share_a_line():
    train = "bench train --suite field"
    skipped = [
        Skipped("ivr", "no file ivr.pt", Reason("weights", "ivr.pt", f"{train} --members ivr")),
        Skipped("hific", "no file hific.pt", Reason("weights", "hific.pt", train)),
        Skipped("bpg", "no program"), Skipped("bpg:depth=10", "no program"),
        Skipped("webp", "webp needs imagecodecs", Reason("package", "imagecodecs")),
        Skipped("jpegxl", "jpegxl needs imagecodecs", Reason("package", "imagecodecs")),
        Skipped("mine", "a licence"), Skipped("mine", "no stream"), Skipped("mine", "no stream"),
    ]  # fmt: skip
    lines = skipped_codecs(skipped)
    assert [line.partition(":")[0] for line in lines] == [
        "ivr, hific", "bpg, bpg", "webp, jpegxl", "mine", "mine",
    ]  # fmt: skip
    assert f"`{train} --members ivr`, `{train}`" in lines[0]
    assert "imagecodecs" in lines[2]
    details = skipped_codecs(skipped, details=True)
    assert details == [f"{one.codec}: {one.why}" for one in dict.fromkeys(skipped)]
