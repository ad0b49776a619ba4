"""Editions of codecs: titles, labels and facts, and which is shown, yours or the bundled one."""

from dataclasses import replace

import numpy as np
import pytest

import benchmark
from benchmark.metrics.metric import Metric
from benchmark.registry import CODECS, metric_class
from benchmark.rows.comparable import ComparableRows, add_same_builds
from benchmark.rows.edition import (
    CATALOGUE,
    Edition,
    RunFacts,
    label_of,
    labels,
    measured_titles,
    titles,
)
from benchmark.rows.means import summarise
from benchmark.rows.store import Store
from benchmark.rows.versions import BUNDLED
from benchmark.spec import CodecSpec, load_codec, parse_codec, resolve
from support.rows.by_label import curves
from support.rows.measured import failed, row, sweep, table

PSNR, LPIPS = Metric.named("psnr"), Metric.named("lpips")
WHOLE = tuple("abcdef")


def rows_of(codec, images, build="1", bundled=False, **columns):
    return [
        row(codec, quality, image, fingerprint=build, bundled=bundled, run=f"202{build}", **columns)
        for quality in (10, 30) for image in images
    ]  # fmt: skip


def shown_editions(*rows):
    """Return origin, build and number of images of each codec's shown edition."""
    comparable = ComparableRows(table([record for group in rows for record in group]))
    result = {}
    for point in comparable.point_table.filter("shown").rows(named=True):
        images = set(comparable.image[comparable.edition == point["edition"]].tolist())
        origin = "bundled" if point["bundled"] else "yours"
        result[point["codec"]] = (origin, point["fingerprint"], len(images))
    return result


def test_yours_is_shown_where_it_has_every_image_that_is_compared():
    bundled = rows_of("vtm", WHOLE, bundled=True)
    few, all_rows = rows_of("vtm", "ab"), rows_of("vtm", WHOLE, "2")
    assert shown_editions(bundled) == {"vtm": ("bundled", "1", 6)}
    assert shown_editions(bundled, few) == {"vtm": ("bundled", "1", 6)}
    assert shown_editions(bundled, all_rows) == {"vtm": ("yours", "2", 6)}
    assert shown_editions(bundled, rows_of("vtm", WHOLE)) == {"vtm": ("yours", "1", 6)}


def test_the_compared_images_are_those_of_codecs_that_only_you_have():
    bundled = [*rows_of("vtm", WHOLE, bundled=True), *rows_of("bpg", WHOLE, bundled=True)]
    user_rows, few = rows_of("mine", "ab"), rows_of("vtm", "ab")
    both = dict.fromkeys(("vtm", "bpg"), ("bundled", "1", 2))
    assert shown_editions(bundled, user_rows) == {**both, "mine": ("yours", "1", 2)}
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
    shown = shown_editions(bundled, rows_of("vtm", "abcde"), [broken | {"fingerprint": "1"}])
    assert shown["vtm"][0] == "yours"


def add_hashes(rows, pixels="d"):
    places = [f"{record['setting_value']}{record['image']}" for record in rows]
    hashes = ({"stream_sha256": f"s{p}", "decoded_sha256": f"{pixels}{p}"} for p in places)
    return [record | columns for record, columns in zip(rows, hashes, strict=True)]


@pytest.fixture
def store(tmp_path):
    result, features = Store(tmp_path / "set"), metric_class("squeeze256")
    columns = {features.column: 9, f"{features.column}_protocol": features.protocol}
    result.write_bundled("rows", table(add_hashes(sweep("ours", variant="beta=0", **columns))))
    return result


def round_differently(rows):
    """Return the rows as another processor makes them: other pixels, no LPIPS, no features."""
    changes = {"run": "2027", "lpips_alex": None, "lpips_alex_protocol": None}
    return [row | changes | {"psnr_db": row["psnr_db"] + 1e-5} for row in add_hashes(rows, "e")]


def test_rows_of_another_processor_are_a_curve_with_values_of_the_same_streams(store):
    local_rows = round_differently(sweep("ours", variant="beta=0")[:12])
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
    for record in store.table().filter(~BUNDLED).rows(named=True):
        assert record["decoded_sha256"].startswith("e")
        assert (record[count], record["features_of"]) == (9, f"d{record['decoded_sha256'][1:]}")
    store.compact()
    assert store.versions()[count].null_count() == 18  # on disk each row has only its own


def test_rows_of_two_editions_are_never_joined(store):
    store.append(add_hashes(sweep("ours", variant="beta=0")[:3]))
    (points,) = curves(summarise(store.table()), PSNR).values()
    (point,) = points
    assert (str(point.setting), point.images, point.edition.bundled) == ("quality=5", 3, False)
    assert len(benchmark.load(store.folder)) == 3
    frame = benchmark.load(store.folder, bundled="ours:beta=0")
    assert (len(frame), set(frame["bundled"])) == (18, {True})
    assert len(benchmark.load(store.folder, every_edition=True)) == 21


def test_pictures_are_of_every_row_of_a_shown_build_here_or_bundled():
    rows = [row("jpeg", 10, image, bundled=True) for image in "ab"]
    rows += [row("jpeg", 15, "a", bundled=False), row("jpeg", 20, "a", fingerprint="e" * 64)]
    all_rows = table([*rows, row("webp", 10, "a", bundled=True)])
    columns = "setting_value", "image", "bundled"
    expected = [(10, "a", True), (10, "b", True), (15, "a", False)]
    assert add_same_builds(all_rows[:2], all_rows).select(columns).rows() == expected
    one_image = add_same_builds(all_rows[2:3], all_rows)
    assert one_image.select(columns).rows() == [expected[2], expected[0]]


def test_measured_codecs_have_the_names_that_figures_show():
    names = measured_titles()
    assert (names["jpeg"], names["webp"], names["vtm"]) == ("JPEG", "WebP", "VTM")
    assert {parse_codec(label).name for label in names} <= CODECS.keys()


def test_a_published_network_is_no_standard_codec_though_no_group_of_the_paper_has_it():
    kinds = {edition.facts.title: edition.facts.kind for edition in CATALOGUE}
    assert kinds["DiffEIC"] == kinds["StableCodec"] == kinds["HiFiC without GAN"] == "learned"
    assert kinds["HM"] == kinds["VTM"] == kinds["JPEG XL"] == "standard"


def test_every_codec_takes_a_name_of_its_own_and_keeps_its_facts():
    labels_of_ours = [spec.label for spec in resolve(parse_codec("ours:name=A"))]
    assert labels_of_ours == ["A beta=0", "A beta=3.84"]
    (spec,) = resolve(parse_codec("jpeg:optimize=1:name=A"))
    edition = Edition.create(spec)
    assert (label_of(spec), edition.title, edition.facts.kind) == ("A", "A", "standard")
    assert load_codec(spec).describe() == load_codec(parse_codec("jpeg:optimize=1")).describe()
    ours = Edition.create(parse_codec("ours:beta=0:name=A"))
    assert (edition.family, ours.family) == ("jpeg", "ours")
    assert ours.facts.trained_on == ("psnr_db", "lpips_alex")


def test_files_of_checkpoints_are_shown_as_they_are_typed_not_as_a_spec_escapes_them():
    def lists(folder):
        options = {"checkpoint": f"{folder}1.pth,{folder}2.pth", "model": "mbt2018", "name": "Mine"}
        return CodecSpec("compressai", tuple(options.items()))

    for specs in ([lists("a/"), lists("b/")], [lists(""), parse_codec("compressai:name=Mine")]):
        texts = labels(specs).values()
        assert all("\\," in label for label in texts if "pth" in label), "--anchor takes"
        assert not any("\\" in name for name in titles(map(Edition.create, specs)).values())


def test_editions_of_one_build_are_one_key_whatever_their_rows_name():
    first = Edition.create(parse_codec("jpeg"))
    assert {first: 1} == {replace(first, run_facts=RunFacts(version="2", caveats=("x",))): 1}
    assert first != replace(first, origin="bundled") != replace(first, build=("other", 0))
