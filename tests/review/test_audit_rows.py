"""The audit of stored rows: what is equal is counted, what differs is told, other builds may."""

import json
import re
import shutil

import polars as pl
import pytest

from benchmark.review.audit import compare_rows
from benchmark.rows.shard import schema_of, write_shard
from support.bench.command import bench
from support.files.noise import noise_images
from support.rows.measured import row, table


def rows(**columns):
    return [row("jpeg", quality, "a.png", **columns) for quality in (10, 30)]


def compared(stored, again):
    ((counts,), wrong) = compare_rows(table(stored), table(again), ["psnr"])
    return counts, wrong


DIGESTS = {"stream_sha256": "1" * 64, "decoded_sha256": "2" * 64, "psnr_db": 30.0}


def test_what_agrees_is_counted():
    counts, wrong = compared(rows(**DIGESTS), rows(**DIGESTS))
    names = ("rows", "measured_again", "bytes_equal", "pixels_equal", "values", "values_equal")
    assert [counts[name] for name in (*names, "wrong", "missing")] == [2] * 6 + [0, 0]
    assert wrong == []


@pytest.mark.parametrize(("changed", "reported"), [
    ({"stream_sha256": "3" * 64}, "the stream differs"), ({"num_bytes": 7}, "7 now"),
    ({"decoded_sha256": "3" * 64, "psnr_db": None}, " other "),
    ({"psnr_db": 1.0}, "psnr_db is 1.0, not"),
])  # fmt: skip
def test_every_kind_of_difference_is_told(changed, reported):
    counts, wrong = compared(rows(**DIGESTS), rows(**DIGESTS | changed))
    assert [reported in difference.why for difference in wrong] == [True, True], wrong
    assert counts["wrong"] == 2


@pytest.mark.parametrize(("change", "rounded"), [
    ({"psnr_db": 30.00009}, 2), ({"psnr_db": 30.0002}, 0),
    ({"psnr_db": 30.0009, "stream_sha256": "4" * 64}, 2),
])  # fmt: skip
def test_pixels_of_another_processor_are_float_rounding_and_not_wrong(change, rounded):
    again = rows(**DIGESTS | change | {"decoded_sha256": "3" * 64})
    counts, wrong = compared(rows(**DIGESTS), again)
    assert (counts["pixels_equal"], counts["rounded"], bool(wrong)) == (0, rounded, not rounded)


def test_rows_of_another_build_are_counted_and_may_differ():
    record, wrong = compared(rows(), rows(fingerprint="e" * 64, num_bytes=7))
    names = "measured_again", "other_build", "bytes_equal", "other_processor"
    assert ([record[name] for name in names], wrong) == ([2, 2, 0, 0], [])


def test_rows_without_another_are_missing():
    record, wrong = compared(rows(), rows()[:1])
    assert (record["rows"], record["measured_again"], record["missing"], wrong) == (2, 1, 1, [])


@pytest.mark.parametrize(("changed", "is_allowed"), [
    ({}, True),
    ({"machine": "EPYC, 4 cores, AVX-512, speed 50"}, False),
    ({"machine": "EPYC, 2 cores, AVX-512, speed 44", "device": "cuda"}, True),
    ({"parameters": None}, False),
    ({"num_bytes": 1021}, False),
    ({"psnr_db": 30.06}, False),
    ({"psnr_db": None}, False),
    ({"stream_sha256": "1" * 64}, False),
])  # fmt: skip
def test_streams_of_a_network_may_differ_a_little_on_another_kind_of_processor(changed, is_allowed):
    machine = "EPYC, 2 cores, AVX-512, speed 44"
    old_fields = DIGESTS | {"parameters": 9, "machine": machine, "num_bytes": 1000}
    new_fields = old_fields | {
        "machine": "EPYC, 2 cores, AVX2, speed 42", "num_bytes": 1020, "psnr_db": 30.04,
        "stream_sha256": "3" * 64, "decoded_sha256": "4" * 64,
    } | changed  # fmt: skip
    old_fields["parameters"] = new_fields["parameters"]
    record, wrong = compared(rows(**old_fields), rows(**new_fields))
    assert (record["other_processor"], bool(wrong)) == (2 * is_allowed, not is_allowed)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured")
    words = "--codecs jpeg,webp --dataset sample --limit 1 --metrics psnr --no-table"
    points = ["--points", "jpeg.quality=30,60", "--points", "webp.quality=50"]
    bench("run", *words.split(), *points, "--results", folder / "results", code=0)
    return folder


def audit(folder, results="results", *options):
    words = ["audit", "rows", folder / results, "--dataset", "sample", "--limit", 1]
    return bench(*words, "--out", folder / f"again-{results}", *options)


def test_rows_measured_on_this_machine_are_found_again_to_the_last_byte(measured):
    result = audit(measured, "results", "--json")
    assert result.returncode == 0, result.stderr
    message = json.loads(result.stdout)
    counts = {record["codec"]: record for record in message["records"]}
    assert counts["jpeg"]["rows"] == counts["jpeg"]["bytes_equal"] == 2
    assert counts["webp"]["pixels_equal"] == counts["webp"]["values_equal"] == 1
    assert message["wrong"] == []
    assert "0 to do" in audit(measured).stderr  # what is measured again is kept


def test_a_row_that_was_changed_is_named_with_exit_code_1(measured):
    shutil.copytree(measured / "results", measured / "forged")
    (shard,) = (measured / "forged" / "sample" / "per_image").glob("*.parquet")
    read = pl.read_parquet(shard)
    changed = read.with_columns(num_bytes=pl.col("num_bytes") + (pl.int_range(pl.len()) == 0))
    assert {*changed.columns} <= {*schema_of()}
    shard.unlink()
    write_shard(shard.parent, changed)
    result = audit(measured, "forged")
    assert result.returncode == 1
    assert re.search(r"\w+ quality=\d+ \w+.png: the stream differs", result.stdout)


def test_rows_of_a_folder_are_measured_again_where_it_is_known_else_it_is_asked_for(tmp_path):
    photos, results = noise_images(tmp_path / "photos", [(64, 48)]), tmp_path / "results"
    of_both = f"{photos},sample"
    words = "run", "--codecs", "raw", "--dataset", of_both, "--limit", 1, "--metrics", "psnr"
    assert bench(*words, "--results", results).returncode == 0
    command = "audit", "rows", results, "--out", tmp_path / "again"
    for options in ((), ("--dataset", of_both)):
        result = bench(*command, "--codecs", "raw", *options, "--json", "--limit", 1)
        counts = [record["pixels_equal"] for record in json.loads(result.stdout)["records"]]
        assert (result.returncode, counts) == (0, [1, 1])
    photos.rename(tmp_path / "elsewhere")
    (name,) = (path.name for path in results.glob("photos-*"))
    for words in (command, ("rescore", "--metrics", "psnr_y", "--results", results)):
        result = bench(*words, "--dataset", name)
        assert "--dataset path/" in result.stderr
