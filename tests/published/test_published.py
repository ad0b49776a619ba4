import csv
import json
import math
from collections import Counter
from contextlib import nullcontext
from itertools import permutations
from pathlib import Path

import pytest

from benchmark.datasets.dataset import profile
from benchmark.errors import StoreError, UnknownName, UsageError
from benchmark.metrics.metric import Metric
from benchmark.published import registry
from benchmark.published.curves import (
    check_same_images,
    compatible_protocols,
    describe_excluded,
    overlay,
    overlays,
    published_curves,
    system_of,
)
from benchmark.published.points import inventory, overview, select
from benchmark.published.registry import (
    Paper,
    chosen_points,
    group_series,
    read_points,
    write_paper,
)
from benchmark.registry import DATASETS, METRICS, UNSTATED, metric_class
from benchmark.rows.edition import CATALOGUE, label_of
from benchmark.rows.means import summarise
from benchmark.system.text import listed
from conftest import ROOT, SHARED
from support.bench.command import output_of
from support.figures.published import FID, KODAK, POINTS, PSNR, RESULTS, kodak_rows
from support.rows.measured import table
from tools import import_published

FILES = "published/published.csv", "published2/published_more.csv"
SOURCES = [SHARED / "data" / name for name in FILES]
needs_sources = pytest.mark.skipif(
    not all(map(Path.exists, SOURCES)), reason="needs ../shared/data/published"
)
EVERY = read_points(RESULTS, doubtful=True)
FIRST = EVERY[:4402]  # of the first collection
OURS = {metric_class(name).protocol for name in METRICS}


@pytest.fixture
def read_once(monkeypatch):
    """Let the registry's files, which take a second, be read once for all choices."""
    monkeypatch.setattr(registry, "read_points", lambda results, doubtful: EVERY)


@pytest.mark.parametrize(("name", "variants"), [
    ("elic", {"mse"}), ("tcm", {"large"}), ("charm", {""}), ("vtm", {"CompressAI"}),
    ("cool-chic", {"version 5.0"}), ("tinylic", {"mse"}), ("elic:small\\, mse", {"small, mse"}),
    ("crdr", {"beta=0", "beta=3.84"}), ("lee2019-ca-entropy-model", {"mse"}),
])  # fmt: skip
@pytest.mark.usefixtures("read_once")
def test_a_published_name_stands_for_its_main_curve_and_a_full_one_for_another(name, variants):
    points = chosen_points(RESULTS, name)
    assert {p.variant for p in points if (p.dataset, p.metric) == ("kodak", "psnr_db")} == variants
    all_points = chosen_points(RESULTS, name, all_variants=True)
    assert len(all_points) > len(points) or ":" in name
    assert len(chosen_points(RESULTS, f"doubtful:{name}")) >= len(all_points)


def protocols_of(system, dataset, metric, variant=""):
    points = [p for p in POINTS if (p.system, p.variant) == (system, variant)]
    return {p.protocol for p in points if (p.dataset, p.metric) == (dataset, metric)}


def test_no_row_of_the_source_is_lost_and_no_number_changed():
    """Counts and exact decimal sums, taken from the source with other programs."""
    assert len(FIRST) == len(set(FIRST)) == 4402
    assert Counter(p.how for p in FIRST) == {"author_csv": 4223, "digitised": 153, "table": 26}
    sums = {
        "psnr_db": (1625, 53910.0175357928943468),
        "fid": (302, 7247.0527810024836238),
        "ms_ssim": (1355, 1286.51530923218971066),
        "lpips_alex": (352, 51.908005883801593645),
        "dists": (337, 36.907399106601993087),
    }
    values = {metric: [p.value for p in FIRST if p.metric == metric] for metric in sums}
    result = {metric: (len(given), math.fsum(given)) for metric, given in values.items()}
    assert result == {metric: pytest.approx(pair, rel=0, abs=1e-9) for metric, pair in sums.items()}
    assert math.fsum(p.bpp for p in FIRST) == pytest.approx(2670.321483471393495497, abs=1e-9)


@needs_sources
def test_the_import_can_be_repeated_to_the_byte(tmp_path):
    lines = (path.read_text(encoding="utf-8").splitlines(keepends=True) for path in SOURCES)
    first, later_rows = ([*csv.DictReader(of_file)] for of_file in lines)
    count = import_published.write(first, later_rows, tmp_path)
    assert count == len(EVERY) == len(first) + len(later_rows)
    files = {path.name: path.read_bytes() for path in tmp_path.glob("*.json")}
    assert files == {p.name: p.read_bytes() for p in (RESULTS / "published").glob("*.json")}
    # every number of the sources, in the order of each variant's points
    names = {"metric": "metric", "psnr": "psnr_db", "lpips": "lpips_alex"}
    for row in first:
        row |= {"reference": row["source_ref"], "metric": names.get(row["metric"], row["metric"])}
    theirs = Counter(
        (row["reference"], row["metric"], float(row["bpp"]), float(row["value"]))
        for row in (*first, *later_rows)
    )
    assert theirs == Counter((p.reference, p.metric, p.bpp, p.value) for p in EVERY)
    doubts = {row["reference"] for row in later_rows if row["doubt"] or not row["rule"]}
    assert {p.reference for p in EVERY if p.doubt} == doubts


def test_a_number_has_our_id_only_where_our_rule_made_it():
    assert protocols_of("HiFiC", "kodak", "psnr_db") == {"psnr-rgb8/1"}
    assert protocols_of("JPEG", "kodak", "ms_ssim", "Pillow 7.1.2") == {"ms-ssim-rgb8/1"}
    truncated = {p.protocol for p in POINTS if p.system in ("CRDR", "DC-VIC")}
    assert all("truncated" in protocol for protocol in truncated - OURS)
    assert truncated.isdisjoint(OURS)
    unrounded = protocols_of("Hyperprior", "kodak", "psnr_db", "CompressAI mse")
    assert unrounded == {"psnr-rgb-unrounded/1"}
    # odd sides are padded, and only CLIC2020 and DIV2K have any
    assert protocols_of("MS-ILLM", "kodak", "ms_ssim") == {"ms-ssim-rgb8/1"}
    assert protocols_of("MS-ILLM", "clic2020", "ms_ssim") == {"ms-ssim-rgb8-padded/1"}
    others = {p.protocol for p in POINTS if p.how == "digitised" or p.metric == "lpips_alex"}
    assert others.isdisjoint(OURS)


def test_every_protocol_and_rate_protocol_is_defined_in_the_documentation():
    text = (ROOT / "docs" / "protocol.md").read_text()
    ids = {p.protocol for p in EVERY} | {p.rate_protocol for p in EVERY}
    assert {name for name in ids if f"`{name}`" not in text} == set()


def test_datasets_and_metrics_bear_the_names_that_results_have():
    counted = {name for name in DATASETS if profile(name).published_images}
    assert counted <= {p.dataset for p in POINTS}
    columns = {metric_class(name).column for name in METRICS}
    assert columns & {p.metric for p in POINTS} == {
        "psnr_db", "ms_ssim", "lpips_alex", "dists", "ssim", "niqe",
    }  # fmt: skip
    # those of other programs are beside no measured value
    assert not OURS & {p.protocol for p in POINTS if p.metric in ("ssim", "niqe")}
    variants = {variant for edition in CATALOGUE for variant in edition.facts.published}
    assert variants < {(p.system, p.variant) for p in POINTS}


def test_every_digitised_value_has_a_reading_error_and_no_other():
    for point in POINTS:
        assert (point.value_error is not None) == (point.how == "digitised")
        assert point.kind == "point" or point.how == "digitised" or point.system.startswith("R-D")
    assert [p.value_error for p in POINTS if p.setting == "marker 6 from low realism"] == [0.08]


def test_a_damaged_paper_is_one_sentence_that_names_the_file_and_the_place(tmp_path):
    point = next(p for p in POINTS if p.system == "HiFiC")
    path = tmp_path / "published" / "a.json"
    write_paper(Paper(title="A", series=group_series([point])), path)
    assert point in read_points(tmp_path)
    text = path.read_text()
    for old, new, message in (
        ("author_csv", "guessed", "Invalid enum value 'guessed'.*series"),
        (f"{point.value!r}]", "null]", "points"),
        (f"[{point.bpp!r}", "[-1", " -1.* bpp"),
        ('"title": "A",', "", "title"),
        ("}", "", "JSON: "),
        ('"settings": [', '"settings": ["a", ', "2 settings .*1 points"),
    ):
        assert old in text
        path.write_text(text.replace(old, new))
        with pytest.raises(StoreError, match=f"{path} .*{message}"):
            read_points(tmp_path)


def test_what_is_doubtful_is_drawn_only_where_it_is_asked_for():
    assert not any(point.doubt for point in POINTS)
    assert {p.dataset for p in select(EVERY, ["tcm"])} == {"kodak", "tecnick"}
    assert "clic2020-valid" in {p.dataset for p in select(EVERY, ["doubtful:tcm"])}
    assert select(EVERY, ["all"]) == POINTS
    with pytest.raises(UsageError, match=r"easn .*doubtful .*state"):
        select(EVERY, ["easn"])
    variants = {name: {p.system for p in select(EVERY, [name])} for name in ("mlic", "mlic++")}
    assert variants == {"mlic": {"MLIC"}, "mlic++": {"MLIC++"}}


def test_systems_and_variants_can_be_chosen():
    systems = {p.system for p in select(POINTS, ["hific", "Multi-Realism"])}
    assert systems == {"HiFiC", "Multi-Realism"}
    assert {p.variant for p in select(POINTS, ["multi-realism:beta=2.56"])} == {"beta=2.56"}
    assert {p.variant for p in select(POINTS, ["hific:"])} == {""}
    with pytest.raises(UnknownName, match="Did you mean 'hific'"):
        select(POINTS, ["hifc"])
    with pytest.raises(UnknownName, match=r"'crdr:beta=1'.*'crdr:beta=0'"):
        select(POINTS, ["crdr:beta=1"])


def test_a_curve_is_one_variant_of_one_source_by_rate_and_realism_sweeps_are_none():
    curves = published_curves(POINTS, "clic2020", FID)
    variants = [curve.edition.facts.published[0] for curve in curves]
    realism = [variant for system, variant in variants if system == "Multi-Realism"]
    assert set(realism) == {"beta=0", "beta=2.56"}
    assert len(realism) == 5  # two sources for one, three for the other
    for curve in curves:
        rates = [point.bpp for point in curve.points]
        assert rates == sorted(rates)
        assert len({p.source for p in curve.points}) == len({p.protocol for p in curve.points}) == 1
    curves = published_curves(POINTS, "kodak", PSNR)
    (psnr,) = [curve for curve in curves if curve.name == "JPEG (Pillow 7.1.2, published)"]
    assert len(psnr.points) == 19


def test_a_system_that_can_be_drawn_somewhere_is_left_out_elsewhere_and_that_is_said():
    points = select(POINTS, ["hific:", "hfd"])
    rules = {"psnr": "psnr-rgb8/1", "ms_ssim": "ms-ssim-rgb8/1", "lpips": "lpips-alex/0.1.4-x"}
    panels = {}
    for name, rule in rules.items():
        metric = Metric.named(name)
        panels[metric.column] = overlay(published_curves(points, "kodak", metric), metric, rule)
    assert [entry.name for entry in panels["psnr_db"].compatible] == ["HiFiC (published)"]
    assert panels["lpips_alex"].compatible == ()
    refusal, absent = describe_excluded(points, panels, "kodak")
    assert "lpips_alex of HiFiC: " in refusal
    assert absent.endswith(": HFD")


def test_beside_rows_are_published_curves_of_their_rule_or_all_where_a_mixture_is_asked_for():
    points = select(POINTS, ["hific", "perco"])
    summary = summarise(table(kodak_rows("jpeg", lpips_alex=None)))
    mixed = overlays(points, summary, [PSNR, Metric.named("lpips")], "kodak", True)
    assert [*mixed] == ["psnr_db"]
    assert mixed["psnr_db"].incompatible == ()
    assert {system_of(curve) for curve in mixed["psnr_db"].compatible} == {"PerCo", "HiFiC"}
    alone = overlays(select(POINTS, ["hific:"]), None, [PSNR, FID], "kodak", False)
    assert [len(alone[column].compatible) for column in ("psnr_db", "fid256")] == [1, 0]
    several = select(POINTS, ["stablecodec", "ms-illm:"])
    rows = summarise(table(kodak_rows("jpeg", lpips_alex=0.5)))
    marked = overlays(several, rows, [PSNR, Metric.named("lpips")], "kodak", True)
    curves = [curve for panel in marked.values() for curve in panel.compatible]
    assert {c.name for c in curves} == {"StableCodec (published)§", "MS-ILLM (published)§"}
    titles = [c.title for c in marked["psnr_db"].compatible if c.has_other_rule]
    assert titles == ["StableCodec"]  # MS-ILLM has the mark for its LPIPS
    few = summarise(table(kodak_rows("jpeg", KODAK[:4])))
    of_first = kodak_rows("jpeg", KODAK[:1], psnr_db=None)
    one_less = summarise(table([*of_first, *kodak_rows("jpeg", KODAK[1:])]))
    assert not overlays((), few, [PSNR], "kodak", True)["psnr_db"].compatible
    refusal = r"PerCo \(.*\) .* psnr-rgb8/1.*--mix-protocols"
    for measured_summary, mix, reason in (
        (summary, False, refusal), (None, False, refusal), (few, True, " 24 .* 4:"),
        (one_less, True, " PSNR .*kodak .* 24 .* 23"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=reason):
            overlays(points, measured_summary, [PSNR], "kodak", mix)


@pytest.mark.parametrize("dataset", ["clic2020", "kodak"])
@pytest.mark.parametrize("metric", ["psnr", "lpips", "fid256", "kid256"])
@pytest.mark.usefixtures("read_once")
def test_which_curves_share_an_axis_does_not_depend_on_the_order_of_names(dataset, metric):
    metric, panels, errors, marked = Metric.named(metric), set(), set(), set()
    for names in permutations(("stablecodec", "ms-illm", "hific")):
        points = chosen_points(RESULTS, ",".join(names))
        panel = overlay(published_curves(points, dataset, metric), metric)
        panels.add(tuple(frozenset((c.title, c.protocol) for c in curves) for curves in panel))
        refusal = pytest.raises(UsageError) if panel.incompatible else nullcontext()
        with refusal as error:
            overlays(points, None, [metric], dataset, False)
        errors.add(error and str(error.value))
        mixed, excluded = overlays(points, None, [metric], dataset, True)[metric.column]
        rules = [[c for c in mixed if (c.name[-1] == "§") is other] for other in (False, True)]
        marked.add(tuple(frozenset((c.title, c.protocol) for c in curves) for curves in rules))
        assert excluded == ()
        assert all(curve.has_other_rule for curve in rules[True])
    ((compatible, incompatible),) = panels
    assert marked == panels
    assert len(errors) == 1
    assert bool(compatible) >= bool(incompatible)
    rules = {rule for _, rule in compatible}
    assert not rules & {rule for _, rule in incompatible}
    assert len(rules) <= 1 or rules <= {*metric.meets}
    assert all(f"{title} ({rule})" in f"{errors}" for title, rule in incompatible)


def test_the_protocols_of_a_metric_that_meet_come_first_and_then_those_of_most_curves():
    """Rules that a metric's `meets` names are one; a file's, which are not stated, fit in all."""
    ours = "fid256/hific", "fid256/reported"
    for rules, shared in (
        ((), ()), ((UNSTATED,), (UNSTATED,)), (("fid/a", UNSTATED), ("fid/a", UNSTATED)),
        (("fid/a", "fid/a", "fid/a", UNSTATED, *ours), (UNSTATED, *ours)),
        (("fid/b", "fid/a"), ("fid/a",)), (("fid/b", "fid/a", "fid/b"), ("fid/b",)),
    ):  # fmt: skip
        for order in permutations(rules):
            assert compatible_protocols(order, FID) == {*shared}
    for metric, measured, shared in (
        (FID, "fid256/1", ()), (FID, "fid/a", ("fid/a",)),
        (PSNR, "psnr-rgb8/1", ("psnr-rgb/reported",)),
    ):  # fmt: skip
        rules = ("fid/a", *ours, "psnr-rgb/reported", "psnr-rgb/a", UNSTATED)
        for order in (rules, rules[::-1]):
            assert compatible_protocols(order, metric, measured) == {UNSTATED, *shared}


def test_averages_over_all_pixels_are_refused():
    with pytest.raises(UsageError, match="--pooled"):
        check_same_images("kodak", 24, pooled=True)


def test_the_list_accounts_for_every_point(tmp_path):
    rows = [tuple(record.values()) for record in inventory(EVERY)]
    assert sum(row[-1] for row in rows) == len(EVERY)
    assert rows == sorted(rows, key=lambda row: (row[0].lower(), *row))
    systems = {record["system"]: record for record in overview(EVERY)}
    assert [*systems] == sorted({point.system for point in EVERY}, key=str.lower)
    hific = [p for p in EVERY if p.system == "HiFiC"]
    sets = sorted({p.dataset.replace(":", "-").split("-")[0] for p in hific})
    counts = {"metrics": len({p.metric for p in hific}), "doubtful": 0, "points": len(hific)}
    assert systems["HiFiC"].items() >= {"datasets": listed(sets), **counts}.items()
    hific_fid = ("HiFiC", "", "clic2020", "", "fid", "fid256/hific", "author_csv")
    rates = [p.bpp for p in hific if (p.dataset, p.metric) == ("clic2020", "fid")]
    assert (*hific_fid, min(rates), max(rates), 3) in rows
    assert len(output_of("published", "list").splitlines()) == len(systems) + 1
    output = output_of("published", "list", "--dataset", "clic2020")
    sets = {"clic2020", "clic2020:mobile", "clic2020:professional", "clic2020-diffeic"}
    assert len(output.splitlines()) == sum(row[2] in sets for row in rows) + 1
    (pq_mim,) = (p for p in EVERY if (p.slug, p.dataset, p.metric) == ("pq-mim", "clic2020", "fid"))
    cells = ["PQ-MIM", "clic2020", "fid", "fid256/reported", "digitised", f"{pq_mim.bpp:.3f}", "1"]
    assert cells in [line.split() for line in output.splitlines()]


def test_the_list_has_the_curves_of_systems_in_a_metric_between_two_rates():
    command = "published list diffeic perco --bpp .01,.1 --metric lpips --json"
    records = json.loads(output_of(*command.split()))["records"]
    points = [p for p in EVERY if p.system in ("DiffEIC", "PerCo") and "lpips" in p.metric]
    expected = Counter((p.system, p.dataset) for p in points if 0.01 <= p.bpp <= 0.1)
    assert {(r["system"], r["dataset"]): r["points"] for r in records} == expected
    others = dict.fromkeys(("clic2020-diffeic", "tecnick-diffeic"), "different images: diffeic")
    assert {r["dataset"]: r["pictures"] for r in records} == {"kodak": "", **others}


@pytest.mark.parametrize(
    "filters", ["diffeic --bpp 5,6", "diffeic --bpp .1,.01", "diffeic --bpp .1", "no-such-system"]
)
def test_a_filter_that_leaves_no_curve_is_refused(filters):
    with pytest.raises(UsageError):
        output_of("published", "list", *filters.split())


@pytest.mark.parametrize("dataset", ["kodak", "clic2020", "tecnick"])
@pytest.mark.parametrize("metric", ["psnr", "ms_ssim", "lpips", "fid256"])
def test_no_two_published_variants_of_a_panel_share_a_style(dataset, metric):
    curves = published_curves(POINTS, dataset, Metric.named(metric))
    labels = {curve.edition.facts.published[0]: label_of(curve.spec) for curve in curves}
    assert len(set(labels.values())) == len(labels)
