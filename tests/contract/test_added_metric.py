"""A metric is one file and one line: what the registry names is measured, averaged and reported."""

import csv
import re

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from benchmark import registry
from benchmark.commands.report import report
from benchmark.compare.interval import point_interval
from benchmark.compare.tradeoff import tradeoffs
from benchmark.datasets.dataset import ImageFile, probe
from benchmark.datasets.image import read_image
from benchmark.errors import UsageError
from benchmark.measure.cells import Conditions, plan
from benchmark.measure.select import select
from benchmark.measure.workbench import Workbench
from benchmark.metrics.metric import Metric
from benchmark.rows.reduce import Reductions, summarise_with_distributions
from benchmark.rows.store import Store
from benchmark.rows.streams import FeatureFolder
from benchmark.spec import load_codec, parse_codec
from support.added.fake_realism import Colours
from support.added.metrics import MeanAbsoluteError, Recall, line_of
from support.files.noise import effect_noise

NAMES = ("mae", "recall")
app = typer.Typer()
app.command()(report)


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    monkeypatch.setitem(registry.METRICS, "mae", line_of(MeanAbsoluteError))
    monkeypatch.setitem(registry.FEATURE_SPACES, "colours", line_of(Colours))
    monkeypatch.setitem(registry.DISTRIBUTION_METRICS, "recall", line_of(Recall))


@pytest.fixture
def sources(tmp_path):
    files = []
    for number in range(5):
        path = tmp_path / f"{number}.png"
        effect_noise((40, 30 + number), 50).convert("RGB").save(path)
        files.append(ImageFile(path.name, path))
    return probe(files, False, 1)


@pytest.fixture
def store(tmp_path, sources):
    store = Store(tmp_path / "results" / "test")
    bench = Workbench(
        Conditions(
            run="20260101T000000-aa", metrics=("mae", "colours"), device="cpu", flatten=False,
            timing=False, jobs=1, threads=1, machine="test", folder=store.folder,
        )
    )  # fmt: skip
    points = {("jpeg", "quality"): (5.0, 30.0, 60.0, 90.0)}
    cells = plan(select(("jpeg",), points).contenders, "test", sources)
    measured = [bench.carry_out(cell) for cell in cells]
    for one in measured:
        store.keep(one.stream)
        for features in one.features:
            FeatureFolder(store.folder).keep(features)
    store.append([one.row for one in measured])
    return store


def by_hand(store, sources):
    """Both metrics by quality, from the pixels that the kept streams decode to."""
    jpeg = load_codec(parse_codec("jpeg"))
    originals = {source.file.name: read_image(source.file.path).pixels for source in sources}
    streams, result = {path.name: path for path in store.streams()}, {}
    for row in store.table().rows(named=True):
        pair = originals[row["image"]], jpeg.decode(streams[row["stream_sha256"]].read_bytes())
        result.setdefault(row["setting_value"], []).append(pair)
    colours = Colours("cpu")
    expected = {}
    for quality, pairs in result.items():
        errors = [np.abs(a.astype(int) - b).mean() for a, b in pairs]
        sides = ([colours.features(one) for one in side] for side in zip(*pairs, strict=True))
        expected[quality] = float(np.mean(errors)), Recall().reduce(*sides).value
    return expected


def test_rows_and_means_have_the_added_metrics(store, sources):
    assert set(store.table()["mae_protocol"].to_list()) == {"mae-rgb8/1"}
    summary = summarise_with_distributions(store.table(), store.folder, NAMES)
    expected = by_hand(store, sources)
    assert len(summary.points) == 4
    for point in summary.points:
        mean, recall = (point.means[name].value for name in NAMES)
        assert (mean, recall) == pytest.approx(expected[point.setting.value], rel=1e-9)
        assert point.means["recall"].images == len(sources)
    assert len({point.means["recall"].value for point in summary.points}) > 1


def test_a_value_without_influences_is_kept_and_has_no_interval(store):
    first = summarise_with_distributions(store.table(), store.folder, NAMES)
    kept = Reductions(store.folder)
    assert len(kept.lacking_in(Reductions(store.folder / "nowhere"))) == 4
    again = summarise_with_distributions(store.table(), store.folder, NAMES)
    for one, other in zip(first.points, again.points, strict=True):
        assert one.means["recall"] == other.means["recall"]
        assert point_interval(one, Metric.named("recall")) is None
        assert point_interval(one, Metric.named("mae")) is not None


def test_what_needs_influences_refuses_a_metric_without_in_one_sentence(store):
    with pytest.raises(UsageError, match="Recall gives no influence of an image"):
        tradeoffs([], [], Metric.named("mae"), Metric.named("recall"))


def test_a_report_has_a_column_and_a_line_of_each(store):
    done = CliRunner().invoke(
        app, ["--results", str(store.folder.parent), "--metrics", "mae,recall", "--allow-few"]
    )
    assert done.exit_code == 0, done.output
    folder = store.folder / "report"
    with (folder / "means.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 4
    assert all(float(line["mae"]) > 0 and line["mae_low"] and line["recall"] for line in lines)
    assert {line["recall_low"] for line in lines} == {""}
    assert re.search(r"\| MAE.*Recall", (folder / "means.md").read_text())
    assert re.search(r"\| jpeg .*\d‡ \|", (folder / "means.md").read_text())
    drawn = {path.stem for path in folder.glob("*.png")}
    assert drawn == {"mae"}, "a metric of a whole set is in no figure of few images"
