"""Distribution metrics from stored features, with fakes whose numbers are computed by hand."""

import json
import shutil
from hashlib import sha256
from operator import itemgetter
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest

from benchmark import registry
from benchmark.compare.interval import point_interval
from benchmark.datasets.image import read_image
from benchmark.errors import DamagedResults
from benchmark.measure.cells import Rescore
from benchmark.measure.record import RowRecorder
from benchmark.measure.score import find_unscored_tasks, scored_pairs
from benchmark.measure.workbench import Workbench
from benchmark.metrics.metric import Metric, Reduced, protocol_of
from benchmark.rows.means import summarise, summarise_rows
from benchmark.rows.reduce import Reductions, add_distribution_metrics, summarise_with_distributions
from benchmark.rows.store import Store
from benchmark.rows.streams import FeatureFolder
from support.added.metrics import Colours, NoColours, Shift, ShiftOfMany, line_of
from support.codecs.files import FAKES, cells, conditions, keep, sources_in
from support.files.noise import noise_images

NAMES = ("psnr", "colours")


@pytest.fixture(scope="module", autouse=True)
def _register_fakes():
    spaces = {"colours": line_of(Colours), "no_colours": line_of(NoColours)}
    metrics = {"shift": line_of(Shift), "shift_many": line_of(ShiftOfMany)}
    patched_spaces = patch.dict(registry.FEATURE_SPACES, spaces)
    with patched_spaces, patch.dict(registry.DISTRIBUTION_METRICS, metrics):
        yield


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    sizes = [(40 + number, 30 + 10 * number) for number in range(4)]
    return sources_in(noise_images(tmp_path_factory.mktemp("images") / "photos", sizes))


def measure(folder, sources, names=NAMES, kind="Honest"):
    """Measure a codec that keeps every 64th, 16th or single level, in this process."""
    return keep(Store(folder / "test"), cells(f"{FAKES}:{kind}", sources), metrics=names)


@pytest.fixture(scope="module")
def measured(sources, tmp_path_factory):
    return measure(tmp_path_factory.mktemp("measured"), sources)


@pytest.fixture
def store(measured, tmp_path):
    return Store(shutil.copytree(measured.folder, tmp_path / "test"))


def values(store, *names, **options):
    table = add_distribution_metrics(store.table(), store.folder, names, **options).table
    protocols = {"coding": "coding/1", **{name: protocol_of(name) for name in names}}
    points = summarise(table, protocols).points
    return {point.setting.value: point.means[names[0]] for point in points}


def expected_shifts(sources, step):
    """Return the mean shift of each photograph's grey levels, computed from the pixels."""
    moved = []
    for source in sources:
        pixels = read_image(source.file.path, False).pixels.astype(int)
        coarse = np.clip(pixels // step * step + step // 2, 0, 255)
        halves = zip(np.array_split(pixels, 2), np.array_split(coarse, 2), strict=True)
        moved.append(np.mean([(b - a).mean() for a, b in halves]))
    return np.array(moved)


def test_the_mean_of_the_column_is_that_of_the_set_and_values_have_influences(store, sources):
    for step, mean in values(store, "shift").items():
        assert mean.value == pytest.approx(expected_shifts(sources, int(step)).mean(), abs=1e-5)
        assert mean.images == len(sources)
    table = add_distribution_metrics(store.table(), store.folder, ["shift"]).table
    rows = table.filter(setting_value=64.0).rows(named=True)
    result = {row["image"]: row["shift"] for row in rows}
    by_hand = expected_shifts(sources, 64)  # value plus influence is the image's own shift
    assert [result[s.file.name] for s in sources] == pytest.approx(by_hand.tolist(), abs=1e-5)
    columns = "shift_protocol", "colours_patches_protocol", "colours_patches_reason"
    assert {*map(itemgetter(*columns), rows)} == {("shift/1-1", "colours/1", None)}
    # Too few images are refused unless asked for.
    mean = values(store, "shift_many")[64.0]
    assert mean.value is None
    assert all(word in mean.reasons[0][0] for word in ("4 images", "100", "--allow-few"))
    few_mean = values(store, "shift_many", allow_few=True)[64.0]
    assert few_mean.value == pytest.approx(by_hand.mean(), abs=1e-5)


def test_sources_are_extracted_once_however_many_codecs_and_settings(tmp_path, sources):
    Colours.calls = 0
    measure(tmp_path, sources)
    lossy = 2 * len(sources)  # step 1 gives the source itself: the same pixels, no second file
    assert Colours.calls == len(sources) + lossy
    files = list((tmp_path / "test" / "features" / "colours_1").glob("*/*.npy"))
    assert len(files) == len(sources) + lossy


def test_dropped_features_give_null_and_rescore_brings_the_same_value(store, sources):
    expected_values = values(store, "shift")
    shutil.rmtree(store.folder / "features")
    shutil.rmtree(store.folder / "sets")
    mean = values(store, "shift")[64.0]
    assert mean.value is None
    assert ": `bench rescore" in mean.reasons[0][0]
    tasks = find_tasks(store, sources)
    assert len(tasks) == 12
    assert all(isinstance(task, Rescore) and task.metrics == ("colours",) for task in tasks)
    cells_lacking = {(task.row["cell"], "colours") for task in tasks}
    measured = [cell for cell, _ in cells_lacking]
    assert not scored_pairs(store.table(), measured, ["colours"], store.folder)
    run_tasks_here(tasks, store)
    assert values(store, "shift") == expected_values
    assert scored_pairs(store.table(), measured, ["colours"], store.folder) == cells_lacking


def find_tasks(store, sources, names=NAMES):
    """Return what a store lacks; every row may run, since the fakes are named by their file."""
    options = {"retry": True, "may_run": lambda _: True}
    return find_unscored_tasks(store.table(), sources, names, store.folder, **options)


def run_tasks_here(tasks, store):
    """`rescore` in this process, where the fakes are registered."""
    bench = Workbench(conditions(folder=store.folder, metrics=NAMES))
    recorder = RowRecorder(store, keep_streams=True)
    for task in tasks:
        recorder.add(bench.carry_out(task))
    recorder.close()


def test_merging_the_folders_of_two_machines_equals_the_whole(store, tmp_path, sources):
    expected_values = values(store, "shift")
    first_store = measure(tmp_path / "one", sources[:2])
    second_store = measure(tmp_path / "other", sources[2:])
    for kind in ("per_image", "features", "streams"):
        shutil.copytree(second_store.folder / kind, first_store.folder / kind, dirs_exist_ok=True)
    merged = values(first_store, "shift")
    assert merged.keys() == expected_values.keys()
    for step, mean in merged.items():
        assert mean.value == pytest.approx(expected_values[step].value, rel=1e-9, abs=1e-12)


def test_a_set_that_grows_is_reduced_again(tmp_path, sources):
    for count in (3, 4):
        mean = values(measure(tmp_path, sources[:count]), "shift")[64.0]
        expected = pytest.approx(expected_shifts(sources[:count], 64).mean(), abs=1e-5)
        assert (mean.images, mean.value) == (count, expected)


def test_missing_weights_are_a_null_with_the_reason(tmp_path, sources):
    rows = measure(tmp_path, sources, names=("psnr", "no_colours")).table().rows(named=True)
    patches = {(row["no_colours_patches"], row["no_colours_patches_reason"]) for row in rows}
    assert patches == {(None, "no weight file for colours: fetch it")}
    assert all(row["psnr_db"] for row in rows)


def test_rows_that_were_never_extracted_say_what_to_do(tmp_path, sources):
    (reason, _), *_ = values(measure(tmp_path, sources, names=("psnr",)), "shift")[64.0].reasons
    command = f"bench rescore --dataset test --metrics shift --results {tmp_path}"
    assert f"not computed: `{command}`" in reason


def test_an_image_without_patches_stays_out_of_the_set(tmp_path, sources, tmp_path_factory):
    thin = sources_in(noise_images(tmp_path_factory.mktemp("row") / "thin", [(40, 1)]))
    mean = values(measure(tmp_path, [*sources, *thin]), "shift")[64.0]
    assert mean.images == len(sources)
    assert ("one row has no halves", 1) in mean.reasons
    assert mean.value == pytest.approx(expected_shifts(sources, 64).mean(), abs=1e-5)


def test_common_restricts_a_set_to_the_images_that_all_points_have(store, tmp_path, sources):
    measure(tmp_path, sources[:2], kind="Honest:caveat=other")
    table = add_distribution_metrics(store.table(), store.folder, ["shift"], common=True).table
    result = table.filter(setting_value=64.0)["shift"].drop_nulls().to_list()
    honest = expected_shifts(sources[:2], 64)
    assert sorted(result) == pytest.approx(sorted([*honest, *honest]), abs=1e-5)


class Spread(Shift):
    """Variance of the shifts, which is not the mean of the variances of parts."""

    def reduce(self, reference, decoded):
        moved = np.array([float(np.mean(b - a)) for a, b in zip(reference, decoded, strict=True)])
        squares = (moved - moved.mean()) ** 2
        return Reduced(float(squares.mean()), squares - squares.mean())


def test_common_restricts_a_set_to_images_with_features_at_all_points(store, sources, monkeypatch):
    """One row lacks its features, as on a machine without the weights."""
    monkeypatch.setitem(registry.DISTRIBUTION_METRICS, "shift", line_of(Spread))
    mask = (pl.col("setting_value") == 16) & (pl.col("image") == sources[0].file.name)
    counts = pl.when(~mask).then("colours_patches").alias("colours_patches")
    table = store.table().with_columns(counts)
    rows = add_distribution_metrics(table, store.folder, ["shift"], common=True)
    protocols = {"coding": "coding/1", "shift": protocol_of("shift")}
    points = {p.setting.value: p for p in summarise_rows(rows, protocols, common=True).points}
    for step in (16, 64):
        mean = points[step].means["shift"]
        assert mean.value == pytest.approx(np.var(expected_shifts(sources[1:], step)), rel=1e-4)
        assert (mean.images, mean.missing) == (3, 0)


def test_a_damaged_feature_file_is_made_again(store, sources):
    victim = next((store.folder / "features").glob("*/*/*.npy"))
    victim.write_bytes(victim.read_bytes()[:-5])
    features = FeatureFolder(store.folder)
    assert features.read("colours/1", victim.stem) is None
    tasks = find_tasks(store, sources)
    assert 0 < len(tasks) < 12
    run_tasks_here(tasks, store)
    assert len(features.read("colours/1", victim.stem)) == 2


def test_bundled_rows_need_neither_streams_nor_features(store, tmp_path, sources):
    expected_values = values(store, "shift")
    local_store = Store(tmp_path / "here" / "test")
    local_store.write_bundled("checkpoints", store.table())
    assert find_tasks(local_store, sources, ("psnr_y", "colours")) == []
    Reductions(local_store.folder).write_bundled("checkpoints", Reductions(store.folder))
    assert values(local_store, "shift") == expected_values
    assert not (local_store.folder / "features").exists()
    shutil.copytree(store.folder / "streams", local_store.folder / "streams")
    assert len(find_tasks(local_store, sources, ("psnr_y",))) == 12


def test_stored_influences_belong_to_the_pairs_in_sorted_order(store):
    """A file of reduced values as another program would write it, and no features to fall back."""
    shutil.rmtree(store.folder / "features")
    rows = [row for row in store.table().rows(named=True) if row["setting_value"] == 64.0]
    pairs = sorted((row["image_sha256"], row["decoded_sha256"]) for row in rows)
    key = sha256(json.dumps([protocol_of("shift"), pairs]).encode()).hexdigest()
    record = {
        "key": key, "column": "shift", "protocol": protocol_of("shift"), "value": 100.0,
        "influence": [1.0, 2.0, 3.0, 4.0],
    }  # fmt: skip
    (store.folder / "sets").mkdir()
    pl.DataFrame([record]).write_parquet(store.folder / "sets" / "by-hand.parquet")
    table = add_distribution_metrics(store.table(), store.folder, ["shift"]).table
    result = {row["image_sha256"]: row["shift"] for row in table.rows(named=True) if row["shift"]}
    assert result == {source: 101.0 + place for place, (source, _) in enumerate(pairs)}


class Uncertain(Shift):
    has_influence = False

    def reduce(self, reference, decoded):
        return Reduced(super().reduce(reference, decoded).value)


def test_a_value_without_influences_is_kept_and_has_no_interval(store, monkeypatch):
    expected = {step: mean.value for step, mean in values(store, "shift").items()}
    shutil.rmtree(store.folder / "sets")
    monkeypatch.setitem(registry.DISTRIBUTION_METRICS, "shift", line_of(Uncertain))
    for _ in range(2):  # reduced, then read
        summary = summarise_with_distributions(store.table(), store.folder, ("psnr", "shift"))
        for point in summary.points:
            assert point.means["shift"].value == pytest.approx(expected[point.setting.value])
            assert point_interval(point, Metric.named("shift")) is None
        shutil.rmtree(store.folder / "features", ignore_errors=True)


class Immense(Shift):
    def reduce(self, reference, decoded):
        np.ones(1 << 50, np.uint8)
        return super().reduce(reference, decoded)


def test_a_distribution_metric_out_of_memory_is_null_with_its_reason(store, monkeypatch):
    monkeypatch.setitem(registry.DISTRIBUTION_METRICS, "shift", line_of(Immense))
    table = add_distribution_metrics(store.table(), store.folder, ["shift"]).table
    assert table["shift"].null_count() == table.height
    assert all(text.startswith("Shift of 4 images ") for text in table["shift_reason"].to_list())
    monkeypatch.setattr(Immense, "reduce", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        add_distribution_metrics(store.table(), store.folder, ["shift"])


@pytest.mark.parametrize("forge", [
    {"value": pl.lit(None, pl.Float64)}, {"key": pl.lit(None, pl.String)},
    {"protocol": pl.lit(None, pl.String)}, {"value": pl.lit(float("nan"))},
    {"value": pl.lit(float("inf"))},
    {"influence": pl.lit([None, 1.0, 2.0, 3.0], pl.List(pl.Float64))},
    {"influence": pl.lit([float("nan")] * 4, pl.List(pl.Float64))},
])  # fmt: skip
def test_a_forged_reduction_is_left_out_and_reduced_again(forge, store):
    expected_values = values(store, "shift")
    rewrite_sets(store, forge)
    with pytest.warns(DamagedResults, match=r"/sets/.*\.parquet .*distribution"):
        assert values(store, "shift") == expected_values
    # influences of another number of images
    rewrite_sets(store, {"influence": pl.col("influence").list.head(2)})
    assert values(store, "shift") == expected_values


def rewrite_sets(store, columns):
    for path in store.folder.glob("sets/*.parquet"):
        forged = pl.read_parquet(path).with_columns(**columns)
        path.unlink()
        forged.write_parquet(path.with_name(f"forged-{path.name[:9]}.parquet"))
