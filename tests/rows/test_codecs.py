"""Chroma format and tuning of stored rows, with columns for them or older."""

import re

import pytest

from benchmark.codec import CodecInfo
from benchmark.rows.codecs import NamedCodecs, explain_refusal
from benchmark.rows.comparable import newest_rows
from benchmark.rows.means import summarise
from benchmark.rows.schema import info_columns, info_of
from benchmark.rows.store import Store
from benchmark.spec import CodecSpec
from support.rows import measured
from support.rows.bundled_results import bundled_results

CHROMA = {"4:2:0": r"4:2:0|\b420\b|yuv420", "4:4:4": r"4:4:4|\b444\b|yuv444"}


def stated_facts(row):
    rows = measured.table([measured.row("x", 5, "a") | row])
    run_facts = summarise(rows).points[0].edition.run_facts
    return run_facts.chroma, run_facts.tuned_for


def test_the_chroma_format_of_bundled_rows_is_that_of_their_commands():
    table = Store(bundled_results() / "kodak").table()
    columns = ["codec", "variant", "command", "chroma", "tuned_for"]
    compared = set()
    for row in newest_rows(table).select(columns).unique().rows(named=True):
        chroma_formats = [name for name, text in CHROMA.items() if re.search(text, row["command"])]
        if chroma_formats:
            assert [stated_facts(row)[0]] == chroma_formats, row["codec"]
            compared.add(row["codec"])
    assert {"jpeg", "webp", "avif", "x265", "vvenc", "vtm"} <= compared


def test_what_a_row_says_of_its_codec_is_what_the_codec_said():
    info = CodecInfo("1", "enc; dec", "MIT", "f" * 64, 3, "all", chroma="4:2:0")
    assert info_columns(info)["tuned_for"] is None
    assert info_of(info_columns(info), "MIT") == info


@pytest.mark.parametrize(("codec", "variant", "expected"), [
    ("jpeg", "optimize=1", ("4:2:0", "")), ("jpeg", "subsampling=422", ("4:2:2", "")),
    ("avif", "", ("4:4:4", "SSIM")), ("ours", "beta=0", ("4:4:4", "PSNR")),
    ("ours", "beta=0:checkpoint=new.safetensors", ("4:4:4", "PSNR")),
    ("ours", "beta=3.84", ("4:4:4", "perceptual quality")),
    ("compressai", "metric=ms-ssim:model=mbt2018", ("4:4:4", "MS-SSIM")),
    ("./mine.py:Mine", "", ("", "")),
])  # fmt: skip
def test_rows_without_these_columns_take_the_facts_of_the_codec(codec, variant, expected):
    row = {"codec": codec, "variant": variant}
    assert stated_facts(row) == expected
    assert stated_facts(row | {"chroma": "4:2:0", "tuned_for": "VMAF"}) == ("4:2:0", "VMAF")


def test_code_named_by_rows_runs_only_if_its_full_spec_is_given():
    spec, other_spec = "command:decode=rm:encode=cp", "command:decode=mv:encode=cp"
    texts = [spec, other_spec, other_spec, "jpeg", "jpeg:quality=no:such=option"]
    pairs = [text.partition(":")[::2] for text in texts]
    rows = [measured.row(codec, 5, "a", variant=variant) for codec, variant in pairs]
    for names, run, counts in (
        ("all", [False, False, True], {other_spec: 2, spec: 1}), ("jpeg", [False, False, True], {}),
        ("command", [False] * 3, {other_spec: 2, spec: 1}),
        (f"webp,{spec}", [True, False, False], {}),
        (f"all, {spec}", [True, False, True], {other_spec: 2}),
    ):  # fmt: skip
        codecs = NamedCodecs(names)
        assert [codecs.selects_to_run(row) for row in (rows[0], rows[1], rows[3])] == run
        assert list(codecs.count_refused(measured.table(rows)).items()) == list(counts.items())
    assert repr(spec) in explain_refusal(CodecSpec.parse(*pairs[0]))
