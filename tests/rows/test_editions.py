"""Which edition of a codec is shown: yours or the bundled one, of which build."""

import numpy as np
import pytest

import benchmark
from benchmark.metrics.metric import Metric
from benchmark.registry import metric_class
from benchmark.rows.comparable import ComparableRows, add_same_builds
from benchmark.rows.means import summarise
from benchmark.rows.schema import metric_columns
from benchmark.rows.store import Store
from support.rows.by_label import curves
from support.rows.measured import failed, row, sweep, table

PSNR, LPIPS = Metric.named("psnr"), Metric.named("lpips")
WHOLE = tuple("abcdef")


def rows_of(codec, images, build="1", bundled=False, **columns):
    return [
        row(codec, quality, image, fingerprint=build, bundled=bundled, run=f"202{build}", **columns)
        for quality in (10, 30)
        for image in images
    ]


def shown_editions(*rows):
    """Return origin, build and number of images of each codec's shown edition."""
    comparable = ComparableRows(table([record for group in rows for record in group]))
    points = comparable.point_table.filter("shown")
    result = {}
    for codec, build, bundled, edition in points.select(
        "codec", "fingerprint", "bundled", "edition"
    ).rows():
        images = set(comparable.image[comparable.edition == edition].tolist())
        result[codec] = ("bundled" if bundled else "yours", build, len(images))
    return result


def test_yours_is_shown_where_it_has_every_image_that_is_compared():
    bundled = rows_of("vtm", WHOLE, bundled=True)
    few, all_rows = rows_of("vtm", "ab"), rows_of("vtm", WHOLE, "2")
    assert shown_editions(bundled) == {"vtm": ("bundled", "1", 6)}
    assert shown_editions(bundled, few) == {"vtm": ("bundled", "1", 6)}
    assert shown_editions(bundled, all_rows) == {"vtm": ("yours", "2", 6)}
    assert shown_editions(bundled, rows_of("vtm", WHOLE)) == {"vtm": ("yours", "1", 6)}, (
        "of equal builds"
    )


def test_the_compared_images_are_those_of_codecs_that_only_you_have():
    bundled = [*rows_of("vtm", WHOLE, bundled=True), *rows_of("bpg", WHOLE, bundled=True)]
    user_rows, few = rows_of("mine", "ab"), rows_of("vtm", "ab")
    assert shown_editions(bundled, user_rows) == {
        "vtm": ("bundled", "1", 2), "bpg": ("bundled", "1", 2), "mine": ("yours", "1", 2)
    }  # fmt: skip
    assert shown_editions(bundled, user_rows, few)["vtm"] == ("yours", "1", 2)
    assert shown_editions(bundled, rows_of("mine", "abc"), few)["vtm"] == ("bundled", "1", 3)
    assert shown_editions(bundled, few) == {"vtm": ("bundled", "1", 6), "bpg": ("bundled", "1", 6)}


def test_the_newest_build_with_the_most_images_is_shown_and_failed_images_count():
    old, new = rows_of("mine", "abc", "1"), rows_of("mine", "abc", "2")
    assert shown_editions(old, new) == {"mine": ("yours", "2", 3)}
    assert shown_editions(old, new[:2]) == {"mine": ("yours", "1", 3)}
    broken = failed("mine", 10, "c", "encode", "no") | {"fingerprint": "2", "run": "2022"}
    half = [record for record in new if record["image"] != "c"]
    assert shown_editions(old, half)["mine"][1] == "1"
    assert shown_editions(old, half, [broken]) == {"mine": ("yours", "2", 3)}
    bundled, broken = rows_of("vtm", WHOLE, bundled=True), failed("vtm", 10, "f", "encode", "no")
    assert shown_editions(bundled, rows_of("vtm", "abcde"), [broken | {"fingerprint": "1"}])["vtm"][
        0
    ] == ("yours")


def add_hashes(rows, pixels="d"):
    """Add hashes of stream and pixels that depend on setting and image."""
    places = (f"{record['setting_value']}{record['image']}" for record in rows)
    return [
        record | {"stream_sha256": f"s{place}", "decoded_sha256": f"{pixels}{place}"}
        for record, place in zip(rows, places, strict=True)
    ]


@pytest.fixture
def store(tmp_path):
    """A folder with bundled rows of one codec."""
    result = Store(tmp_path / "set")
    features, protocol, _ = metric_columns(metric_class("squeeze256").column)
    columns = {features: 9, protocol: str(metric_class("squeeze256").protocol)}
    result.write_bundled("rows", table(add_hashes(sweep("ours", variant="beta=0", **columns))))
    return result


def round_differently(rows):
    """Return the rows as another processor makes them: other pixels, no LPIPS, no features."""
    absent_values = {"run": "2027", "lpips_alex": None, "lpips_alex_protocol": None}
    return [
        record | {"psnr_db": record["psnr_db"] + 1e-5} | absent_values
        for record in add_hashes(rows, "e")
    ]


def test_rows_of_another_processor_are_a_curve_with_values_of_the_same_streams(store):
    local_rows = round_differently(
        [r for r in sweep("ours", variant="beta=0") if r["setting_value"] < 60]
    )
    store.append(local_rows)
    summary = summarise(store.table())
    assert [summary.labels[edition] for edition in summary.editions] == ["ours:beta=0"]
    for metric in (PSNR, LPIPS):
        points = curves(summary, metric)["ours:beta=0"]
        assert (len(points), {p.edition.bundled for p in points}) == (4, {False})
    (mean,) = {p.means["psnr_db"].value for p in summary.points if p.setting.value == 5}
    expected = np.mean([record["psnr_db"] for record in local_rows[:3]])
    assert mean == pytest.approx(expected, abs=1e-12)
    assert {p.edition.bundled for p in summary.replaced} == {True}


def test_features_of_bundled_rows_count_under_their_own_pixels(store):
    count = metric_class("squeeze256").column
    store.append(round_differently(sweep("ours", variant="beta=0")))
    for record in store.table().filter(~benchmark.rows.versions.BUNDLED).rows(named=True):
        assert record["decoded_sha256"].startswith("e")
        assert (record[count], record["features_of"]) == (9, f"d{record['decoded_sha256'][1:]}")
    store.compact()
    assert store.versions()[count].null_count() == 18  # on disk each row has only its own


def test_rows_of_two_editions_are_never_joined(store):
    local_rows = [r for r in sweep("ours", variant="beta=0") if r["setting_value"] == 5]
    store.append(add_hashes(local_rows))
    (points,) = curves(summarise(store.table()), PSNR).values()
    assert [(str(p.setting), p.images, p.edition.bundled) for p in points] == [
        ("quality=5", 3, False)
    ]
    assert len(benchmark.load(store.folder)) == 3
    frame = benchmark.load(store.folder, bundled="ours:beta=0")
    assert (len(frame), set(frame["bundled"])) == (18, {True})
    assert len(benchmark.load(store.folder, every_edition=True)) == 21


def test_pictures_are_of_every_row_of_a_shown_build_here_or_bundled():
    def jpeg_row(setting, image="a", **columns):
        return row("jpeg", setting, image, **columns)

    local, bundled = {"bundled": False}, {"bundled": True}
    rows = [jpeg_row(10, **bundled), jpeg_row(10, "b", **bundled), jpeg_row(15, **local)]
    other_build = jpeg_row(20, fingerprint="e" * 64, **local)
    not_shown = row("webp", 10, "a", **bundled)
    all_rows = table([*rows, other_build, not_shown])
    pictured_rows = add_same_builds(all_rows[:2], all_rows)
    assert pictured_rows["setting_value"].to_list() == [10, 10, 15]
    assert pictured_rows["bundled"].to_list() == [True, True, False]
    one_image = add_same_builds(all_rows[2:3], all_rows)
    assert one_image.select("setting_value", "image").rows() == [(15, "a"), (10, "a")]
