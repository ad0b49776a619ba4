"""Rows that were measured twice: one curve where they agree, a finding with numbers where not."""

import numpy as np
import pytest

import benchmark
from benchmark.metrics.metric import Metric
from benchmark.registry import metric_class
from benchmark.rows.means import summarise
from benchmark.rows.schema import metric_columns
from benchmark.rows.store import Store
from benchmark.rows.summary import curves
from benchmark.rows.valid import ROUNDING_DB, SYMBOL_DB, agreeing
from benchmark.show.means import DIFFERING, counts_of, left_out
from support.rows.measured import failed, row, sweep, table

PSNR, LPIPS = Metric.named("psnr"), Metric.named("lpips")


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"decoded_sha256": "e", "psnr_db": 30 + ROUNDING_DB / 2}, True),
        ({"decoded_sha256": "e", "stream_sha256": "t", "psnr_db": 30 - SYMBOL_DB / 2}, True),
        ({"decoded_sha256": "e", "psnr_db": 30 + 2 * ROUNDING_DB}, False),
        ({"decoded_sha256": "e", "stream_sha256": "t", "psnr_db": 30 - 2 * SYMBOL_DB}, False),
        ({"decoded_sha256": "e", "psnr_db": None}, False),
        ({"decoded_sha256": "e", "psnr_db_protocol": "psnr/0"}, False),
        ({"num_bytes": 99}, False),
        ({"status": "failed"}, False),
    ],
)
def test_rows_agree_at_equal_length_if_pixels_are_equal_or_rounded(change, same):
    record = row("ours", 2, "a", psnr_db=30.0, stream_sha256="s", decoded_sha256="d", num_bytes=100)
    one, other = table([record]), table([record | change])
    assert agreeing(one, other).to_list() == [same]
    assert agreeing(other, one).to_list() == [same]


def test_lossless_and_failed_rows_agree_with_their_like():
    endless = row("raw", 1, "a", psnr_db=np.inf, decoded_sha256="d")
    broken = failed("raw", 1, "a", "encode", "no")
    ones, others = table([endless, broken, endless]), table([endless, broken, broken])
    assert agreeing(ones, others).to_list() == [True, True, False]


def hashed(rows, pixels="d"):
    """Rows with a stream and pixels of their own setting and image."""
    places = (f"{record['setting_value']}{record['image']}" for record in rows)
    return [
        record | {"stream_sha256": f"s{place}", "decoded_sha256": f"{pixels}{place}"}
        for record, place in zip(rows, places, strict=True)
    ]


@pytest.fixture
def store(tmp_path):
    """A folder with bundled rows of one codec."""
    result = Store(tmp_path / "set")
    result.ship("rows", table(hashed(sweep("ours", variant="beta=0", codec_version="theirs"))))
    return result


def rounded(rows, by=1e-5):
    """The rows as another processor makes them: other pixels, at one setting other streams."""
    return [
        record
        | {"run": "2027", "psnr_db": record["psnr_db"] + by}
        | ({"stream_sha256": f"t{record['image']}"} if record["setting_value"] == 20 else {})
        for record in hashed(rows, "e")
    ]


def test_rows_of_another_processor_are_one_curve_with_the_bundled_ones(store):
    mine = rounded(
        [record for record in sweep("ours", variant="beta=0") if record["setting_value"] < 60]
    )
    store.append([record | {"lpips_alex": None, "lpips_alex_protocol": None} for record in mine])
    rows = store.table()
    assert rows.height == 18
    assert sum(not one for one in rows["bundled"].to_list()) == 12
    summary = summarise(rows)
    assert (summary.labels, summary.left_out, summary.replaced) == (("ours:beta=0",), (), ())
    for metric in (PSNR, LPIPS):  # the bundled rows have LPIPS of streams that agree
        assert len(curves(summary, metric)["ours:beta=0"]) == 6
    (mean,) = {p.means["psnr_db"].value for p in summary.points if p.setting.value == 5}
    assert mean == pytest.approx(np.mean([record["psnr_db"] for record in mine[:3]]), abs=1e-12)


def test_a_larger_difference_is_said_once_with_its_size_and_makes_no_second_curve(store):
    mine = rounded(sweep("ours", variant="beta=0"))
    mine[4] |= {"psnr_db": mine[4]["psnr_db"] + 0.25}
    store.append(mine)
    summary = summarise(store.table())
    assert summary.labels == ("ours:beta=0",)
    assert {p.edition.bundled for p in summary.points} == {False}
    (left,) = summary.left_out
    assert (left.rows, left.differ) == (18, True)
    (message,) = [text for text in counts_of(left_out(summary, [PSNR])) if "ours:beta=0" in text]
    assert message.startswith(DIFFERING)
    assert "not equal to the same build here in 1 of 18 rows, PSNR by up to 0.25 dB" in left.why


def test_builds_with_equal_streams_in_all_cells_of_both_are_one(store):
    few = [record for record in sweep("ours", variant="beta=0", fingerprint="new") if
           record["setting_value"] == 5]  # fmt: skip
    store.append([record | {"run": "2027"} for record in hashed(few)])
    summary = summarise(store.table())
    (points,) = curves(summary, PSNR).values()
    assert (len(points), summary.left_out, len(summary.replaced)) == (6, (), 0)
    assert {p.images for p in points} == {3}
    assert len(benchmark.load(store.folder)) == 3  # measured here
    frame = benchmark.load(store.folder, bundled="all")
    assert len(frame) == 18  # the bundled rows of the three cells are not there twice
    assert benchmark.summary(frame)["images"].tolist() == [3] * 6


def test_builds_with_one_other_stream_are_two(store):
    new = hashed(sweep("ours", variant="beta=0", fingerprint="new", run="2027"))
    new[7] |= {"stream_sha256": "another"}
    store.append(new)
    summary = summarise(store.table())
    assert len(summary.points) == len(summary.replaced) == 6
    assert "bundled, of another build" in summary.left_out[0].why
    frame = benchmark.load(store.folder)
    assert (len(frame), frame["bundled"].any()) == (18, False)


def test_equal_streams_of_one_variant_make_the_builds_of_all_variants_one(store):
    store.ship("more", table(hashed(sweep("ours", variant="beta=1"))))
    store.append(hashed(sweep("ours", variant="beta=0", fingerprint="new", run="2027")))
    builds = {point.edition.build for point in summarise(store.table()).points}
    assert len(builds) == 1


def test_features_of_a_bundled_row_that_agrees_count_under_their_own_pixels(tmp_path):
    count, protocol, _ = metric_columns(metric_class("squeeze256").column)
    features = {count: 9, protocol: str(metric_class("squeeze256").protocol)}
    store = Store(tmp_path / "set")
    store.ship("rows", table(hashed(sweep("ours", variant="beta=0", **features))))
    store.append(rounded(sweep("ours", variant="beta=0")))
    for one in store.table().rows(named=True):
        assert one["decoded_sha256"].startswith("e")
        assert (one[count], one["features_of"]) == (9, f"d{one['decoded_sha256'][1:]}")
    store.compact()
    assert store.versions()[count].null_count() == 18  # on the disk each row has its own alone
