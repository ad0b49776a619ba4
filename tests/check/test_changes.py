"""Pairing of rows and their changes, against planted changes and the jackknife."""

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.interpolate import PchipInterpolator

from benchmark.check.changes import _relative_position, changes
from benchmark.check.limits import parse_margins
from benchmark.check.pairing import NotComparable, RowSet, pair_up
from benchmark.check.verdict import check, default_metrics, judge
from benchmark.compare.rate_quality import RateQuality, bd_quality
from benchmark.compare.rule import USUAL_RULE
from benchmark.errors import UnknownName, UsageError
from benchmark.metrics.metric import Presentation
from benchmark.registry import metric_class
from support.added import metrics as added
from support.rows.measured import change_rows, failed, row, table

IMAGES = ("a", "bb", "ccc", "dddd", "eeeee")
QUALITIES = (5, 10, 20, 40, 60, 80)


def rows_of(rows, name="old"):
    return RowSet(f"results/{name}", Path("nowhere"), table(rows))


def records(codec="jpeg", images=IMAGES, bits=1.0, **changed):
    """Rows whose metrics are lines over log10 of the rate, by which Akima's curves are exact."""
    result = []
    for number, image in enumerate(images):
        for quality in QUALITIES:
            num_bytes = 20_000 * quality + 997 * number
            log_bytes = math.log10(num_bytes)
            values = {
                "num_bytes": round(num_bytes * (bits[number] if np.ndim(bits) else bits)),
                "psnr_db": 10 + 5 * log_bytes + number,
                "lpips_alex": 1.2 - 0.15 * log_bytes - 0.01 * number,
                "ms_ssim": 1 - 10 ** (-0.3 * log_bytes),
            }
            for name, change in changed.items():
                values[name] += change[number] if np.ndim(change) else change
            result.append(row(codec, quality, image, **values))
    return result


def records_with(**columns):
    return change_rows(records(), **columns)


LOST = change_rows(records(), {"image": "ccc"}, psnr_db=None)


def make_pair(old, new, metrics=("psnr", "ms_ssim", "lpips"), **options):
    (pair,), _ = pair_up(rows_of(old), rows_of(new, "new"), metrics, **options)
    return pair


def change_of(old, new, metric="psnr"):
    return changes(make_pair(old, new), metric, USUAL_RULE)


def by_image(change, images=IMAGES):
    values = dict(zip(change.images, change.percent.tolist(), strict=True))
    assert values.keys() == set(images)
    return np.array([values[image] for image in images])


def test_bits_by_image_come_back_as_its_bd_rate():
    factors = np.array([1.02, 0.97, 1.0, 1.1, 1.005])
    pair = make_pair(records(), records(bits=factors))
    for metric in ("psnr", "ms_ssim"):
        result = changes(pair, metric, USUAL_RULE)
        assert by_image(result) == pytest.approx(100 * (factors - 1), abs=1e-2)
        assert (result.kind, result.inferred, result.doubtful) == ("BD-rate", False, 0)
    # The curves share a fifth of their range, less than a report would compare.
    better = change_of(records(), records(psnr_db=4.0))
    assert by_image(better) == pytest.approx(np.full(5, 100 * (10**-0.8 - 1)), abs=0.1)
    assert better.doubtful == 5


def add_pixels(rows, **changes_by_image):
    """Give rows pixels by image and setting, and other ones to the images named."""
    keys = [(r["image"], r["setting_value"], changes_by_image.get(r["image"])) for r in rows]
    return [r | {"decoded_sha256": str(key)} for r, key in zip(rows, keys, strict=True)]


def test_an_image_of_equal_pixels_and_bytes_has_not_changed_in_any_metric():
    new = add_pixels(records(psnr_db=np.array([0.1, 0.1, 0.0, 0.1, 0.1])), a="other", ccc="other")
    pair = make_pair(add_pixels(records()), new)
    assert set(pair.identical_images) == {"bb", "dddd", "eeeee"}
    percent = by_image(changes(pair, "psnr", USUAL_RULE))
    assert ([*percent[[1, 3, 4]]], percent[0] < -1) == ([0, 0, 0], True)
    full = add_pixels(records(psnr_db=[np.inf, 0, 0, 0, 0]))
    level = pytest.approx(np.mean([record["lpips_alex"] for record in full]))
    part = [{**full[0], "lpips_alex": None}, *full[1:]]
    for old, new, expected in ((full, part, level), (part, full, None), (full, full, level)):
        pair = make_pair(old, new)
        result = changes(pair, "lpips", USUAL_RULE)
        assert (by_image(result) == 0).all()
        assert (result.inferred, result.level) == (old is not new, expected)
        assert not changes(pair, "psnr", USUAL_RULE).inferred


def test_equal_images_have_known_pixels_and_as_many_bytes_at_every_setting():
    assert make_pair(records(), records()).identical_images == (), "no sha256"
    more_bytes = make_pair(add_pixels(records()), add_pixels(records(bits=[1, 1, 1.001, 1, 1])))
    assert set(more_bytes.identical_images) == {"a", "bb", "dddd", "eeeee"}
    one_cell = add_pixels(records())
    one_cell[0] = {**one_cell[0], "decoded_sha256": "other"}
    changed_pair = make_pair(add_pixels(records()), one_cell)
    assert set(changed_pair.identical_images) == {"bb", "ccc", "dddd", "eeeee"}


def test_lpips_by_image_comes_back_in_percent_of_the_reference_and_worse_is_positive():
    differences = np.array([0.002, -0.001, 0.0, 0.004, 0.003])
    result = change_of(records(), records(lpips_alex=differences), "lpips")
    level = np.mean([record["lpips_alex"] for record in records()])
    assert result.level == pytest.approx(level)
    assert by_image(result) == pytest.approx(100 * differences / level, abs=1e-8)
    assert by_image(result) * result.unit == pytest.approx(differences, abs=1e-10)


def test_a_scale_with_an_arbitrary_zero_is_judged_in_its_units():
    for offset in (-60.0, 40.0):
        rule = {"ssimulacra2_protocol": metric_class("ssimulacra2").protocol}
        old = [record | rule | {"ssimulacra2": offset + record["psnr_db"]} for record in records()]
        for lost, verdict in ((0.1, "equivalent"), (1.0, "regressed"), (-1.0, "improved")):
            new = [record | {"ssimulacra2": record["ssimulacra2"] - lost} for record in old]
            result = changes(make_pair(old, new, ["ssimulacra2"]), "ssimulacra2", USUAL_RULE)
            assert by_image(result) == pytest.approx(np.full(5, lost), abs=1e-6)
            answer = check(rows_of(old), rows_of(new, "new"), ["ssimulacra2"])
            (finding,) = answer.records
            assert (finding["verdict"], finding["unit"], finding["level"]) == (verdict, "", None)
            assert finding["change"] == pytest.approx(-lost)
            assert finding["margin_percent"] == 0.5
            assert "%" not in answer.columns[4].text(finding, "")
    assert parse_margins("ssimulacra2=0.3")["ssimulacra2"] == (0.3, "")
    with pytest.raises(UsageError, match=r"ssimulacra2=0\.5"):
        parse_margins("ssimulacra2=1%")


def test_a_change_without_a_number_says_why():
    old, bent = records(), records()
    for record in bent:
        rise = min(record["setting_value"] / 10, 1 + (record["image"] != "a"))
        record["psnr_db"] = 35 + len(record["image"]) + rise
    for metric, pair, reason in (
        ("precision256", (old, records(bits=1.1)), "Precision/256 "),
        ("lpips", (records_with(lpips_alex=0.0), old), "jpeg is 0"),
        ("psnr", (old, records(psnr_db=np.inf)), "5 of 5"),
        ("psnr", (old, bent), "2 of the 4"),
        ("psnr", (bent, old), "reference has 2 of the 4"),
    ):  # fmt: skip
        result = change_of(*pair, metric)
        assert result.percent.shape == (0,)
        assert reason in result.no_number_reason


def test_the_rate_that_moves_at_equal_quality_is_no_change_of_quality_at_equal_rate():
    shift = math.log10(1.05)
    new = records(bits=1.05, psnr_db=5 * shift, lpips_alex=-0.15 * shift)
    for metric in ("psnr", "lpips"):
        assert change_of(records(), new, metric).percent == pytest.approx(np.zeros(5), abs=1e-2)


@pytest.mark.parametrize(("psnr_db", "bits", "below", "above"), [
    ([0, 0, 0, -20, 0], 1, {"dddd"}, set()), ([0, 20, 0, 0, 0], 1, set(), {"bb"}),
    ([20] * 5, 1, set(), {*IMAGES}),
    ([0, 20, 0, 0, 0], [1, 2, 1, 1, 1], set(), {"bb"}),  # rates need not agree, only meet
    ([0, 0, -20, 0, 0], [1, 1, 0.5, 1, 1], {"ccc"}, set()),
])  # fmt: skip
def test_a_curve_below_everything_is_out_of_reach_and_not_left_out(psnr_db, bits, below, above):
    result = change_of(records(), records(psnr_db=psnr_db, bits=bits))
    assert ({*result.out_of_reach}, {*result.images_above}) == (below, above)
    assert ({*result.images}, result.no_number_reason) == ({*IMAGES} - below - above, "")


BENT = [  # more rate buys nothing
    r | {"psnr_db": 35.0} if r["image"] == "ccc" and r["setting_value"] > 10 else r
    for r in records()
]


@pytest.mark.parametrize(("rows", "points", "left_out"), [(BENT, 2, ["ccc"]), (LOST, 0, [])])
def test_an_image_whose_new_curve_lacks_points_is_unknown(rows, points, left_out):
    result = change_of(records(), rows)
    assert [entry.what for entry in result.unknown] == ["ccc"]
    assert f"{points} of the 4" in result.unknown[0].why
    result = change_of(rows, records())
    assert ([entry.what for entry in result.left_out], result.unknown) == (left_out, ())
    assert result.images == ("a", "bb", "dddd", "eeeee")


def test_a_curve_is_below_or_above_another_at_rates_that_both_have():
    base = RateQuality(np.array([0.2, 0.4]), np.array([30.0, 33.0]))
    for rates, values, lies in [
        ((0.1, 0.5), (20, 22), "below"), ((0.1, 0.2), (20, 22), "below"),
        ((0.1, 0.19), (20, 22), ""), ((0.1, 0.5), (20, 30), "below"),
        ((0.1, 0.49), (20, 30), ""), ((0.25, 0.5), (30, 33), "below"),
        ((0.24, 0.5), (30, 33), ""), ((0.5, 0.25), (33, 30), "below"),
        ((0.9,), (33,), "below"),
        ((0.4, 0.5), (34, 36), "above"), ((0.41, 0.5), (34, 36), ""), ((0.1, 0.3), (33, 35), ""),
        ((), (), ""),
    ]:  # fmt: skip
        curve = RateQuality(np.array(rates), np.array(values))
        assert _relative_position(base, curve) == lies
    assert _relative_position(curve, base) == ""


def test_equal_quality_for_many_more_bits_is_a_regression_without_any_curve():
    """Entropy tables that are shifted by a row: PSNR to the digit, the rate falls with quality."""
    times = dict(zip(QUALITIES, (84, 33, 12, 4.3, 2.2), strict=False))
    worse = records()
    for record in worse:
        record["num_bytes"] = round(times.get(record["setting_value"], 2.2) * record["num_bytes"])
    change = change_of(records(), worse)
    assert change.out_of_reach == tuple(sorted(IMAGES))
    (finding,) = judge([change], parse_margins(""), 0.95)
    assert (finding["verdict"], "1.25 " in finding["why"]) == ("regressed", True)
    flat_rows = [row | {"num_bytes": round(90_000 / row["setting_value"])} for row in records()]
    (unsure,) = judge([change_of(records(), flat_rows)], parse_margins(""), 0.95)
    assert unsure["verdict"] == "undecided"
    assert "Pareto front" in unsure["why"]


@pytest.mark.parametrize("scale", ["linear", "decades"])
def test_a_distribution_metric_is_judged_by_the_curve_of_the_set(monkeypatch, scale):
    monkeypatch.setattr(metric_class("lpips"), "presentation", Presentation(scale))
    monkeypatch.setattr("benchmark.check.changes.DISTRIBUTION_METRICS", {"lpips": "as if"})
    random = np.random.default_rng(0)
    images = tuple(f"{number:03d}" for number in range(60))
    old, new = records(images=images), records(images=images)
    for record in (*old, *new):
        record["lpips_alex"] += 1 + random.normal(0, 0.02)  # above 0
        record["num_bytes"] = int(record["num_bytes"] * random.uniform(0.9, 1.1))
    for record in new:
        record["lpips_alex"] *= 1.5
    for record in old:  # a distance below 0 has no logarithm
        record["lpips_alex"] -= 3 * (scale == "decades" and record["setting_value"] == 80)
    result = change_of(old, new, "lpips")

    def delta(weights):
        curves = []
        for rows in (old, new):
            columns = np.array([[r["num_bytes"] / 1000, r["lpips_alex"]] for r in rows])
            bpp, distances = columns.reshape(len(images), len(QUALITIES), 2).T @ weights
            mask = distances > (0 if scale == "decades" else -np.inf)
            quality = -distances if scale == "linear" else -np.log10(distances, where=mask)
            curves.append(RateQuality(bpp[mask], quality[mask]))
        change = bd_quality(*curves, USUAL_RULE).value
        return -100 / result.level * change if scale == "linear" else 100 * (10**-change - 1)

    equal_weights = np.full(60, 1 / 60)
    mean_delta = delta(equal_weights)
    deltas = [delta(equal_weights + 1e-6 * (unit - equal_weights)) for unit in np.eye(60)]
    influence = (np.array(deltas) - mean_delta) / 1e-6
    assert result.percent.mean() == pytest.approx(mean_delta, abs=1e-9)
    deviations = by_image(result, images) - mean_delta
    assert deviations == pytest.approx(influence, abs=0.02 * influence.std())
    assert deviations @ influence / (influence @ influence) == pytest.approx(1, abs=2e-3)


def test_a_distribution_metric_that_is_better_when_higher_loses_what_it_lost(monkeypatch):
    monkeypatch.setattr("benchmark.check.changes.DISTRIBUTION_METRICS", {"psnr": "as if"})
    old = records()
    result = change_of(old, records(psnr_db=-0.5))
    level = np.mean([record["psnr_db"] for record in old])
    assert result.percent == pytest.approx(np.full(5, 100 * 0.5 / level), rel=1e-6)
    assert result.percent * result.unit == pytest.approx(np.full(5, -0.5))
    dearer = change_of(old, records(bits=8, psnr_db=-0.5))  # a seventh of their rates
    assert (dearer.doubtful, result.doubtful, len(dearer.percent)) == (5, 0, 5)
    assert set(change_of(old, LOST).images) == {"a", "bb", "dddd", "eeeee"}
    result = change_of(old, records(psnr_db=np.array([0, 0, -0.5, 0, 0])))
    assert by_image(result) == pytest.approx(np.array([0, 0, 50 / level, 0, 0]), abs=1e-3)


def test_changes_are_of_the_form_that_is_asked_for_and_the_answer_names_it():
    new = records()
    new[1]["psnr_db"] += 0.8  # a bend, by which forms differ, of the first image
    log_rates = [math.log10(entry["bpp"]) for entry in new[: len(QUALITIES)]]
    psnr = [[entry["psnr_db"] for entry in rows[: len(QUALITIES)]] for rows in (records(), new)]
    low, high = psnr[0][0], psnr[0][-1]
    first, last = (PchipInterpolator(curve, log_rates).integrate(low, high) for curve in psnr)
    answer = check(rows_of(records()), rows_of(new, "new"), ("psnr",), bd="pchip")
    (finding,) = answer.records
    expected = 100 * (10 ** ((last - first) / (high - low)) - 1) / len(IMAGES)
    assert finding["change_percent"] == pytest.approx(expected, abs=1e-9)
    assert (answer.facts["bd"], "(BD-metric), by PCHIP" in answer.summary) == ("pchip", True)


@pytest.mark.parametrize(("new", "words"), [
    (records(images=IMAGES[:4]), "images .*old .*eeeee; .* --common$"),
    (records(images=("x", "y")), "images .*: [^;]*$"),
    ([o for o in records() if o["setting_value"] != 40], "settings .*=40"),
    ([o for o in records() if o["setting_value"] != 40 or len(o["image"]) % 3 < 2],
     "jpeg in results/new .* bb, eeeee: .*--common"),
    ([o for o in records() if o["image"] != "bb" or o["setting_value"] == 5], "/new .* bb: "),
    (records_with(setting_name="qp"), "settings"),
    (records_with(coding_protocol="coding/0"), "protocol coding/1 in .* coding/0 in .*: measure"),
    (records_with(lpips_alex_protocol="lpips-alex/old"), "lpips_alex .*/old .*bench rescore"),
    ([*records(), failed("jpeg", 90, "a", "encode", "it broke")],
     "1 cell of jpeg in results/new failed: quality=90 a: encode: it broke"),
])  # fmt: skip
def test_what_is_not_of_the_same_thing_is_refused_with_the_reason(new, words):
    with pytest.raises(NotComparable, match=words):
        make_pair(records(), new)
    result = check(rows_of(records()), rows_of(new, "new"))
    assert (result.facts["verdict"], result.code) == ("not comparable", 4)


@pytest.mark.parametrize("measured_sides", [(), (0,), (1,), (0, 1)])
def test_rows_without_the_columns_of_a_users_metric_are_compared_in_the_others(measured_sides):
    name = f"{added.__file__}:MeanAbsoluteError"
    protocol = metric_class(name).protocol
    sides = [rows_of(records()), rows_of(records(bits=1.05), "new")]
    for number in measured_sides:
        rows = sides[number].rows
        rows = rows.with_columns(mae=pl.lit(2.0), mae_protocol=pl.lit(protocol))
        sides[number] = sides[number]._replace(rows=rows)
    (pair,), _ = pair_up(*sides, ("psnr", name))
    assert by_image(changes(pair, "psnr", USUAL_RULE)) == pytest.approx(np.full(5, 5.0), abs=1e-2)
    for number, side in enumerate((pair.reference, pair.test)):
        assert side.protocols["mae"] == protocol
        mean = 2.0 if number in measured_sides else None
        assert {point.means["mae"].value for point in side.points} == {mean}


def test_rows_of_one_earlier_rule_on_both_sides_may_meet():
    old = records_with(lpips_alex_protocol="lpips-alex/0b")
    assert len(change_of(old, old, "lpips").percent) == 5
    mixed = change_rows(old, {"image": "a"}, lpips_alex_protocol="lpips-alex/0a")
    assert change_of(mixed, mixed, "lpips").images == ("a",)
    new = records_with(coding_protocol="coding/0b")
    worse = [r | {"coding_protocol": "coding/0a", "cell": "0a"} for r in records(psnr_db=-5.0)]
    for number, record in enumerate(worse):
        record["cell"] = str(number)
    assert change_of([*worse, *new], new).percent == pytest.approx(np.zeros(5))


def test_common_compares_the_images_and_settings_that_both_have():
    new = [record for record in records(images=IMAGES[:4]) if record["setting_value"] != 40]
    pair = make_pair(records(), new, common=True)
    assert sorted(pair.images) == list(IMAGES[:4])
    assert [point.setting.value for point in pair.test.points] == [5, 10, 20, 60, 80]
    assert make_pair(new, records(), common=True).images == pair.images
    with pytest.raises(NotComparable, match=r"results/old .*results/new"):
        make_pair(records(), records(images=("x", "y")), common=True)


def test_codecs_are_paired_whatever_their_checkpoints_and_several_checkpoints_are_refused():
    def ours(variant):
        return records_with(codec="ours", variant=variant)

    old = [*ours("beta=0"), *ours("beta=3.84"), *records("webp")]
    new = [*ours("beta=0:checkpoint=new"), *ours("beta=3.84:checkpoint=new")]
    for place, record in enumerate([*old, *new]):
        record["cell"] = str(place)
    pairs, notes = pair_up(rows_of(old), rows_of(new, "new"), ["psnr"])
    labels = [(p.label, *p.reference.labels.values(), *p.test.labels.values()) for p in pairs]
    names = ["ours:beta=0", "ours:beta=3.84"]
    assert labels == [(name, name, f"{name}:checkpoint=new") for name in names]
    assert re.fullmatch(".*results/new .*webp .*results/old", "\n".join(notes))
    with pytest.raises(NotComparable, match="--codec"):
        pair_up(rows_of(old), rows_of([*new, *ours("beta=0:checkpoint=b")], "new"), ["psnr"])
    pairs, _ = pair_up(rows_of(old), rows_of(new, "new"), ["psnr"], codec="ours:beta=0")
    assert len(pairs) == 1


def test_one_codec_a_side_is_a_pair_and_two_that_share_nothing_are_not():
    two = [*records("webp"), *records("avif")]
    assert make_pair(records("webp"), records("jpeg")).label == "jpeg"
    with pytest.raises(NotComparable, match="--reference-codec"):
        make_pair(two, [*records("jpeg"), *records("vtm")])
    pair = make_pair(two, records(), codec="jpeg", reference_codec="avif")
    assert [*pair.reference.labels.values()] == ["avif"]
    with pytest.raises(UnknownName, match=r"results/old 'jpg'.*jpeg"):
        make_pair(records(), records(), codec="jpg")


def test_only_the_edition_of_the_latest_run_is_compared():
    stale = records(psnr_db=-5.0)
    for record in stale:
        record.update(fingerprint="0" * 64, run="20240101T000000-aa", cell="old " + record["cell"])
    assert change_of(records(), [*stale, *records()]).percent == pytest.approx(np.zeros(5))


@pytest.mark.parametrize(
    ("bits", "factor", "num_below", "num_above"), [(50, 9, 5, 0), (0.02, 1 / 9, 0, 5)]
)
def test_a_set_without_a_common_rate_lies_apart(bits, factor, num_below, num_above):
    pair, column = make_pair(records(), records(bits=bits)), metric_class("fd_squeeze").column

    def with_distances(side, scale):
        values = [{column: scale * (60 - p.image_values["psnr_db"])} for p in side.points]
        means = [{column: point.means["psnr_db"]} for point in side.points]
        changed = zip(side.points, values, means, strict=True)
        points = (replace(p, image_values=v, means=m) for p, v, m in changed)
        return replace(side, points=tuple(points))

    reference, test = with_distances(pair.reference, 1), with_distances(pair.test, factor)
    result = changes(pair._replace(reference=reference, test=test), "fd_squeeze", USUAL_RULE)
    assert (len(result.out_of_reach), len(result.images_above)) == (num_below, num_above)
    assert result.no_number_reason == ""


def test_metrics_that_the_reference_lacks_are_not_judged_and_those_that_are_lost_are():
    bare_rows = records_with(lpips_alex=None, lpips_alex_protocol=None)
    reference, new = rows_of(bare_rows), rows_of(bare_rows, "new")
    result = check(reference, new)
    assert result.facts["verdict"] == "equivalent"
    assert {finding["metric"] for finding in result.records} == {"psnr", "ms_ssim"}
    assert any("lpips" in note for note in result.facts["notes"])
    for lost in (check(rows_of(records()), new), check(reference, new, ("psnr", "lpips"))):
        assert (lost.facts["verdict"], lost.code) == ("nothing measured", 4)


def test_metrics_without_influences_are_judged_only_where_they_are_named():
    default = default_metrics()
    assert {"psnr", "fid256", "kid256_tf", "fd_squeeze"} <= set(default)
    assert not {"precision256", "recall256"} & set(default)
