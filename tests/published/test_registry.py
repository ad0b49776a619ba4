"""The verbs of the registry: curves added after a check, listed, shown, compared by source."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmark.compare.rate_quality import curve_of
from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric
from benchmark.published.curves import published_curves
from benchmark.published.doubts import doubts
from benchmark.published.registry import chosen_points, read_curve, read_points
from support.bench.command import bench
from support.figures.published import MS_SSIM, RESULTS, from_registry
from support.figures.published import PSNR as PSNR_METRIC

RATES, PSNR = (0.11, 0.25, 0.49, 0.87, 1.4), (28.6, 31.3, 34.4, 37.5, 40.5)
MS_SSIM_DB = (11.0, 13.8, 16.8, 19.7, 22.4)
DOI = "10.1109/WACV57701.2024.00288"


def written(path, header, *columns):
    lines = [",".join(map(str, row)) for row in zip(*columns, strict=True)]
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def add(tmp_path, file, *words, code=0):
    words = "--system", "Mine", "--results", tmp_path / "results", *words
    return bench("published", "add", file, *words, code=code)


def added(tmp_path, file, *words):
    result = add(tmp_path, file, *words)
    points = read_points(tmp_path / "results", doubtful=True)
    return result.stdout + result.stderr, [p for p in points if p.system == "Mine"]


def records(result):
    return json.loads(result.stdout)["records"]


def test_a_curve_is_added_with_its_reference_and_drawn_by_its_name(tmp_path):
    file = written(tmp_path / "a.csv", "bpp,PSNR,MS-SSIM (dB)", RATES, PSNR, MS_SSIM_DB)
    message, points = added(tmp_path, file, "--reference", f"https://doi.org/{DOI}")
    assert "10 points of psnr_db, ms_ssim_db" in message
    assert {(p.doi, p.doubt, p.dataset) for p in points} == {(DOI, "", "kodak")}
    assert [p.value for p in points] == pytest.approx([*PSNR, *MS_SSIM_DB], abs=1e-9)
    place = "--results", tmp_path / "results", "--json"
    listing = bench("published", "show", "mine", *place)
    assert [row["bpp"] for row in records(listing)] == [*RATES, *RATES]
    (rate, *_) = records(bench("bd", "mine", "mine", *place))
    assert (rate["metric"], rate["bd_rate_percent"]) == ("PSNR (dB)", pytest.approx(0, abs=1e-9))
    assert "exists" in add(tmp_path, file, "--reference", DOI, code=2).stderr


@pytest.mark.parametrize(("columns", "doubt"), [
    ((RATES, tuple(v + 4 for v in PSNR)), "dB above VTM"),
    ((tuple(r / 8 for r in RATES), PSNR), " 8: "),
    ((tuple(r * 8 for r in RATES), PSNR), " 0.125: "),
    ((RATES, tuple(v / 100 for v in PSNR)), " 0.286"),
])  # fmt: skip
def test_what_no_codec_can_have_is_doubtful_and_not_drawn(tmp_path, columns, doubt):
    file = written(tmp_path / "a.csv", "bpp,psnr", *columns)
    text, points = added(tmp_path, file, "--reference", "arXiv:1")
    assert doubt in text
    assert all(doubt in point.doubt for point in points)
    assert not [p for p in read_points(tmp_path / "results") if p.system == "Mine"]
    result = bench("published", "show", "mine", "--results", tmp_path / "results")
    assert (result.returncode, "to use them, write doubtful:mine" in result.stderr) == (2, True)


def test_a_mark_is_explained_where_the_metric_alone_is_doubtful(tmp_path):
    eighth = written(tmp_path / "eighth.csv", "bpp,psnr", [r / 3 for r in RATES], PSNR)
    full_curve = written(tmp_path / "whole.csv", "bpp,psnr", RATES, PSNR)
    output = bench("published", "compare", full_curve, eighth).stdout
    assert (output.count("†"), " half of " in output) == (2, True), output


def test_a_curve_of_several_is_named(tmp_path):
    file = written(tmp_path / "a.csv", "method,bpp,psnr", "AABB", (0.1, 0.2) * 2, (28, 30) * 2)
    assert "a.csv#A, " in add(tmp_path, file, "--reference", "here", code=2).stderr
    _, points = added(tmp_path, f"{file}#B", "--reference", "here")
    assert len(points) == 2
    single = written(tmp_path / "b.csv", "bpp,psnr", RATES, PSNR)
    for name, dataset, reason in (
        ("crdr", "kodak", r"crdr:beta=0, crdr:beta=3\.84$"),
        ("tcm", "div2k", "tcm .*div2k.*--dataset"),
        (f"{single}#c", "kodak", r"\bb\b.* c\b"),
    ):
        with pytest.raises(UsageError, match=reason):
            read_curve(name, dataset, RESULTS)
    curve = read_curve("tcm", "kodak", RESULTS).series["psnr_db"]
    assert [*zip(*curve, strict=True)] == sorted(from_registry("TCM", "large", "kodak", "psnr_db"))


def test_curves_of_files_are_never_joined_or_confused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("a", "b"):
        Path(folder).mkdir()
        written(Path(folder, "mine.csv"), "bpp,PSNR", RATES, PSNR)
    names = [n for n in ("MLIC+", "MLIC-plus", "MLIC++", "COIN", "mine") for _ in RATES]
    written(Path("all.csv"), "codec,bpp,PSNR", names, RATES * 5, PSNR * 5)
    choice = "a/mine.csv,b/mine.csv,a/mine.csv,all.csv,doubtful:coin"
    points = [p for p in chosen_points(RESULTS, choice) if (p.doi, p.how) == ("", "author_csv")]
    assert list(dict.fromkeys(entry.system for entry in points)) == [
        "mine (a/mine.csv)", "mine (b/mine.csv)", "MLIC+ (all.csv)", "MLIC-plus (all.csv, 2)",
        "MLIC++", "COIN (all.csv)", "mine (all.csv)",
    ]  # fmt: skip
    result = published_curves(points, "kodak", Metric.named("psnr"))
    assert [len(curve.points) for curve in result] == [5] * 7
    assert len({entry.edition.spec for entry in result}) == 7


def test_lists_and_comparisons_have_every_source_and_average_none():
    rows = records(bench("published", "list", "--dataset", "kodak", "--json"))
    assert {"VTM", "TCM", "DCAE"} <= {row["system"] for row in rows}
    assert any(row["how"].endswith("doubtful") for row in rows)
    compared = "published", "compare", "doubtful:vtm", "--dataset", "clic2020-valid"
    rows = {row["curve"]: row for row in records(bench(*compared, "--json"))}
    worse = next(row for name, row in rows.items() if "12.1" in name)
    assert worse["bd_rate_percent"] > 1  # the anchor that several papers compare with
    output = bench(*compared).stdout
    assert all(version in output for version in ("9.1", "12.1", "17.0", "22.0"))
    assert "clic2020-valid" not in {p.dataset for p in read_points(RESULTS) if p.system == "DCAE"}


def test_shown_points_are_those_of_the_file():
    rows = records(bench("published", "show", "tcm:large", "--dataset", "kodak", "--json"))
    expected = from_registry("TCM", "large", "kodak", "psnr_db")
    assert [(row["bpp"], row["value"]) for row in rows] == expected
    text = bench("published", "show", "tcm:large", "--dataset", "kodak").stdout
    assert "doi:10.48550/arXiv.2303.14978" in text
    result = bench("published", "show", "tcm", "--dataset", "div2k")
    assert (result.returncode, "choose one of kodak, tecnick" in result.stderr) == (2, True)


def test_names_without_latin_letters_are_as_many_systems(tmp_path):
    file = written(tmp_path / "a.csv", "bpp,psnr", RATES[:1], PSNR[:1])
    for name in ("变分", "另一个", "?!", "!?"):
        add(tmp_path, file, "--system", name, "--reference", DOI)
    assert len(list((tmp_path / "results/published").glob("*.json"))) == 4
    listing = bench("published", "show", "另一个", "--results", tmp_path / "results", "--json")
    assert {row["system"] for row in records(listing)} == {"另一个"}


def test_a_curve_that_cannot_be_written_is_one_sentence(tmp_path):
    file = written(tmp_path / "a.csv", "bpp,psnr", RATES, PSNR)
    (tmp_path / "results").mkdir()
    (tmp_path / "results/published").write_text("")
    message = add(tmp_path, file, "--reference", DOI, code=1).stderr
    assert message.count("\n") == 1
    assert "results/published" in message


def test_an_anchor_goes_on_as_a_chord_beyond_both_ends():
    anchor = (0.1, 0.2, 0.4, 0.8), (38.0, 41.0, 43.0, 44.0)  # dB, by 3, 2 and 1 a doubling
    rates, values = (0.025, 0.05, 0.1, 0.8, 3.2), (32.0, 35.0, 38.0, 44.0, 46.0)
    vtm = curve_of(*anchor, PSNR_METRIC)
    assert not doubts(PSNR_METRIC, rates, values, vtm)
    for place, limit, kind in ((0, 2, "above"), (-1, 2, "above"), (0, -12, "below")):
        inside, beyond = (np.add(values, np.eye(5)[place] * limit * by) for by in (0.99, 1.01))
        assert not doubts(PSNR_METRIC, rates, inside, vtm)
        start = f"psnr_db at {rates[place]} bpp is {abs(limit) * 1.01:.3g} dB {kind} VTM"
        (doubt,) = doubts(PSNR_METRIC, rates, beyond, vtm)
        assert doubt.startswith(start)


@pytest.mark.parametrize(("metric", "rates", "values", "sentences"), [
    (PSNR_METRIC, (0.1, 0.2, 0.4, 0.8), (10.0, 31.0, 31.0, 60.0), []),
    (PSNR_METRIC, (0.1, 0.2, 0.4), (9.99, 31.0, 33.0), ["psnr_db at 0.1 bpp is 9.99"]),
    (PSNR_METRIC, (0.1, 0.2, 0.4), (30.0, 31.0, 60.01), ["psnr_db at 0.4 bpp is 60.01"]),
    (MS_SSIM, (0.1, 0.2, 0.4, 0.8), (0.3, 0.9, 0.95, 0.96), []),
    (MS_SSIM, (0.1, 0.2, 0.4), (0.29, 0.9, 0.95), ["ms_ssim at 0.1 bpp is 0.29"]),
    (MS_SSIM, (0.1, 0.2, 0.4), (0.9, 0.95, 1.01), ["ms_ssim at 0.4 bpp is 1.01"]),
    (PSNR_METRIC, (0.1, 0.2), (30.0, 31.0), []),
    (PSNR_METRIC, (0.1, 0.2, 0.4, 0.8), (30.0, 29.0, 33.0, 31.5),
     ["psnr_db at 0.8 bpp is 1.5 below"]),
])  # fmt: skip
def test_what_is_unusual_in_a_curve_is_said_with_place_and_amount(metric, rates, values, sentences):
    pairs = zip(doubts(metric, rates, values, None), sentences, strict=True)
    assert all(doubt.startswith(start) for doubt, start in pairs)
