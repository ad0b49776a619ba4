"""The Python interface as a notebook or a script uses it."""

import sys
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

import benchmark
import rdrbench
from benchmark.codec import Setting
from benchmark.errors import CorruptStream, Unavailable, UnknownName, UsageError
from benchmark.rows.edition import titles_of_texts
from benchmark.rows.store import Store
from benchmark.rows.stored import read_results
from benchmark.show.figures.style import use_look
from conftest import ROOT
from support.bench.lean_process import HEAVY
from support.codecs.files import FAKES
from support.figures.text_boxes import crowding
from support.files.noise import noise_images
from support.processes import ran
from support.rows.bundled_results import bundled_results, copy_bundled_results
from support.rows.measured import PROTOCOLS, failed, row, scaled_sweep, sweep
from tools.signatures import STUB, stub

SMALL = {"limit": 1, "metrics": "psnr", "points": {"jpeg.quality": [10, 30]}, "jobs": 1}

mpl.use("Agg")


@pytest.fixture
def rows_folder(tmp_path):
    folder = tmp_path / "set"
    Store(folder).append([*sweep("jpeg"), *sweep("webp")])
    return folder


def test_importing_loads_few_modules_and_nothing_heavy():
    code = "import sys; before = set(sys.modules); import rdrbench; print(*{*sys.modules} - before)"
    modules = set(ran(sys.executable, "-c", code, folder=ROOT).stdout.split())
    assert {"benchmark", "rdrbench"} <= modules
    assert len(modules) < 60  # 29 with Python 3.11, all but one of its own
    assert not modules & set(HEAVY)


def test_everything_offered_is_there_and_listed_by_either_name():
    assert set(benchmark.__all__) <= set(dir(benchmark))
    assert set(dir(rdrbench)) == {*benchmark.__all__, "__version__"}
    assert rdrbench.__version__ == version("rdrbench")
    for name in benchmark.__all__:
        function = getattr(benchmark, name)
        assert callable(function), name
        assert function.__doc__
        assert getattr(rdrbench, name) is function
    for module, name in ((benchmark, "nonesuch"), (rdrbench, "nonesuch"), (rdrbench, "registry")):
        with pytest.raises(AttributeError, match=f"no attribute '{name}'"):
            getattr(module, name)


def test_a_run_says_nothing_and_measures_a_cell_once(tmp_path, capfd):
    first = benchmark.run("jpeg", "sample", results=tmp_path, **SMALL)
    second = benchmark.run(["jpeg"], "sample", results=tmp_path, **SMALL)
    assert (first.measured, second.measured) == (2, 0)
    assert not first.failures
    frame = benchmark.load(second)
    assert frame["setting_value"].tolist() == [10, 30]
    assert frame["psnr_db"].is_monotonic_increasing
    assert capfd.readouterr() == ("", "")


def test_a_run_without_a_guard_around_the_script_measures_each_cell_once(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import benchmark\n"
        f"found = benchmark.run('jpeg', results={str(tmp_path / 'r')!r}, **{SMALL!r})\n"
        "print(found.measured, len(found.failures), __file__)\n"
    )
    result = ran(sys.executable, script, PYTHONPATH=ROOT)
    assert (result.stdout, result.stderr) == (f"2 0 {script}\n", "")


def test_an_interrupted_run_keeps_the_finished_cells(tmp_path):
    @contextmanager
    def impatient(task, total):
        def update(progress):
            if progress.finished == 2:
                raise KeyboardInterrupt

        yield update

    words = {**SMALL, "limit": 3}
    with pytest.raises(KeyboardInterrupt):
        benchmark.run("jpeg", results=tmp_path, progress=impatient, **words)
    resumed = benchmark.run("jpeg", results=tmp_path, **words)
    assert (resumed.measured, len(resumed.cells)) == (4, 6)


def test_nulls_infinities_units_and_protocols_survive_the_way_into_a_frame(tmp_path):
    rows = [row("jpeg", 5, "a", psnr_db=float("inf")), row("jpeg", 5, "b", ms_ssim=None)]
    Store(tmp_path / "set").append(rows)
    frame = benchmark.load(tmp_path / "set").sort_values("image")
    assert frame["psnr_db"].tolist()[0] == float("inf")
    assert frame["ms_ssim"].isna().tolist() == [False, True]
    assert frame["num_bytes"].tolist() == [record["num_bytes"] for record in rows]
    assert frame["attested"].isna().all()
    units = {"psnr_db": "dB", "bpp": "bit/px", "encode_seconds": "s", "width_px": "px"}
    assert units.items() <= frame.attrs["units"].items()
    assert frame.attrs["units"]["lpips_alex"] == ""
    assert frame.attrs["protocols"]["psnr_db"] == PROTOCOLS["psnr_db"]
    (mean,) = benchmark.summary(frame).to_dict("records")
    assert (mean["psnr_db_infinite"], mean["psnr_db_images"], mean["ms_ssim_images"]) == (1, 1, 1)


def test_a_frame_has_some_forty_columns_and_the_rest_is_asked_for():
    frame = benchmark.load(bundled_results() / "kodak")
    assert {"codec", "label", "bpp", "psnr_db", "lpips_squeeze"} <= set(frame.columns)
    assert not [name for name in frame if name.endswith(("_protocol", "_reason"))]
    assert (frame.groupby("label")["codec"].nunique() == 1).all()
    assert set(frame["codec"]) == set(benchmark.summary(frame)["codec"])
    assert set(frame.loc[frame["codec"] == "ours:beta=3.84", "label"]) == {"CRDR β=3.84"}
    full_frame = benchmark.load(bundled_results() / "kodak", details=True)
    assert {"psnr_db_protocol", "vmaf_reason", "fingerprint", "label"} <= set(full_frame.columns)
    few, full_few = (rows[rows["codec"] == "jpegxl"] for rows in (frame, full_frame))
    assert benchmark.summary(few).equals(benchmark.summary(full_few))


def test_details_have_the_protocol_and_the_reason_of_each_metric(tmp_path):
    without = {"ms_ssim": None, "ms_ssim_protocol": None, "ms_ssim_reason": "too small"}
    rows = [row("jpeg", 5, "a", **without), row("jpeg", 5, "b", psnr_db_protocol="psnr-rgb8/0")]
    Store(tmp_path / "set").append([*rows, failed("jpeg", 5, "d", "encode", "no")])
    frame = benchmark.load(tmp_path / "set", details=True).set_index("image")
    assert frame["psnr_db_protocol"][["a", "b"]].tolist() == [PROTOCOLS["psnr_db"], "psnr-rgb8/0"]
    assert frame.loc["a", "ms_ssim_reason"] == "too small"
    missing = benchmark.missing(benchmark.load(tmp_path / "set"))
    (lack,) = missing[missing["metric"] != "lpips_squeeze"].to_dict("records")
    assert (lack["image"], lack["metric"], lack["reason"]) == ("a", "ms_ssim", "too small")


def test_numbers_that_were_changed_in_a_frame_count(rows_folder):
    frame = benchmark.load(rows_folder)
    better = benchmark.summary(frame.assign(psnr_db=frame["psnr_db"] + 1))
    assert np.allclose(better["psnr_db"], benchmark.summary(frame)["psnr_db"] + 1, atol=1e-12)
    assert "per-image" in better.attrs["meanings"]["bpp"]
    pooled = benchmark.summary(frame, average="pooled")
    assert "per-image" not in pooled.attrs["meanings"]["bpp"]


def test_means_are_those_of_the_rows_with_their_counts(rows_folder):
    frame = benchmark.load(rows_folder)
    means = benchmark.summary(frame)
    by_hand = frame.groupby(["codec", "setting_value"], sort=False)["psnr_db"].mean()
    for record in means.to_dict("records"):
        value = float(record["setting"].removeprefix("quality="))
        assert record["psnr_db"] == pytest.approx(by_hand[record["codec"], value], abs=1e-12)
        assert (record["images"], record["psnr_db_images"], record["images_failed"]) == (3, 3, 0)
    assert means.groupby("codec")["bpp"].is_monotonic_increasing.all()
    assert means.attrs["units"]["psnr_db"] == "dB"
    assert means.attrs["images"] == 3
    assert "dists" not in means
    assert means["encode_seconds_per_megapixel"].dtype == np.float64


def test_any_selection_of_rows_can_be_summarised(rows_folder):
    frame = benchmark.load(rows_folder)
    few = frame[(frame["codec"] == "jpeg") & (frame["image"] != "a")]
    means = benchmark.summary(few, metrics=["psnr"])
    assert (set(means["codec"]), set(means["images"])) == ({"jpeg"}, {2})
    assert "ms_ssim" not in means
    either = frame[(frame["codec"] == "jpeg") | (frame["image"] == "a")]
    assert set(benchmark.summary(either, common=True)["images"]) == {1}


def test_a_folder_means_all_of_its_rows(rows_folder):
    frame = benchmark.load(rows_folder)
    assert benchmark.summary(rows_folder).equals(benchmark.summary(frame))
    assert benchmark.bd_rate(str(rows_folder), "jpeg").equals(benchmark.bd_rate(frame, "jpeg"))
    matches = benchmark.match(frame, "webp", "jpeg")
    assert benchmark.match(rows_folder, "webp", "jpeg").equals(matches)
    axes = benchmark.plot(rows_folder)
    assert len(axes.get_lines()) >= 2
    plt.close(axes.get_figure())


def test_an_edition_of_few_images_is_named_by_every_question(tmp_path):
    folder = copy_bundled_results(tmp_path) / "sample"
    benchmark.run("jpeg", "sample", results=tmp_path, **SMALL)
    answers = [loaded := benchmark.load(folder)]
    for rows in (folder, loaded):
        answers += [benchmark.summary(rows), benchmark.bd_rate(rows, "vtm")]
        answers.append(benchmark.rank(rows, ["bpp=.8"]))
    for frame in answers:
        (left_out,) = frame.attrs["absent"]
        assert left_out["what"] == "jpeg"
        assert left_out["remedy"].startswith("bench run --codecs jpeg --dataset sample")


def test_invalid_frames_are_refused(rows_folder, tmp_path):
    frame = benchmark.load(rows_folder)
    mixed = frame.copy()
    mixed.loc[0, "dataset"] = "another"
    for call, argument, message in (
        (benchmark.summary, frame.drop(columns="cell"), "cell"),
        (benchmark.summary, pd.DataFrame(frame.to_dict("records")), "attrs"),
        (benchmark.summary, frame.assign(cell="another"), f"{rows_folder} .*`load`"),
        (benchmark.summary, frame[frame["codec"] == "nonesuch"], "rows"),
        (benchmark.summary, mixed, "another and set"),
        (benchmark.load, tmp_path, f"{tmp_path} .* set$"),
        (benchmark.load, tmp_path / "nothing", "nothing .* `run`"),
    ):
        with pytest.raises(UsageError, match=message):
            call(argument)


def test_a_folder_of_photographs_is_refused_with_the_place_of_its_rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    noise_images(tmp_path / "my photos", [(8, 8)])
    benchmark.run("raw", "my photos", metrics="psnr")
    with pytest.raises(UsageError, match=r"results/my_photos-\w{6}$"):
        benchmark.load("my photos")


def test_a_codec_is_given_by_name():
    for codec in (Path, [benchmark.open_codec("raw")]):
        with pytest.raises(UsageError, match="string"):
            benchmark.run(codec, "sample")
    with pytest.raises(UnknownName, match="Did you mean 'jpeg'"):
        benchmark.open_codec("jpg")


def test_classes_of_one_name_have_different_labels(tmp_path):
    Store(tmp_path / "set").append([*sweep("./a.py:Mine"), *sweep("old/a.py:Mine")])
    assert {*benchmark.load(tmp_path / "set")["label"]} == {"./a.py:Mine", "old/a.py:Mine"}


def test_half_the_bytes_at_equal_quality_are_a_bd_rate_of_minus_50_percent(tmp_path):
    higher_rows = [{**record, "psnr_db": record["psnr_db"] + 9} for record in sweep("vtm")]
    few = [record for record in sweep("avif") if record["setting_value"] < 20]
    Store(tmp_path / "set").append([*scaled_sweep("jpeg", 2), *sweep("webp"), *few, *higher_rows])
    frame = benchmark.load(tmp_path / "set")
    deltas = benchmark.bd_rate(frame, anchor="jpeg", metric="psnr").set_index("codec")
    for name in ("bd_rate", "bd_rate_low", "images_bd_rate", "images_bd_rate_median"):
        assert deltas.loc["webp", f"{name}_percent"] == pytest.approx(-50, abs=1e-9)
    assert deltas.loc["webp", "bd_rate_overlap"] == 1
    assert np.isnan(deltas.loc["avif", "bd_rate_percent"])
    assert " 4 points" in deltas.loc["avif", "reason"]
    assert "jpeg" not in deltas.index
    assert deltas.attrs["units"]["bd_rate_percent"] == "%"
    with pytest.raises(UnknownName, match="'bpg'"):
        benchmark.bd_rate(frame, anchor="bpg")
    assert "third" in deltas.loc["vtm", "reason"]
    rates = benchmark.bd_rate(frame, "jpeg", any_overlap=True).set_index("codec")
    assert rates.loc["vtm", "bd_rate_percent"] < -50


def test_a_plot_has_the_means_as_its_curves(rows_folder):
    frame = benchmark.load(rows_folder)
    axes = Figure().subplots()
    assert benchmark.plot(frame, metric="psnr", ax=axes) is axes
    lines = {line.get_label(): line.get_xydata() for line in axes.get_lines()}
    for codec, codec_means in benchmark.summary(frame).groupby("codec"):
        name = titles_of_texts([codec])[codec]
        assert np.allclose(lines[name], codec_means[["bpp", "psnr_db"]], rtol=0, atol=1e-12)
    assert axes.get_ylabel() == "PSNR (dB)"
    with pytest.raises(UsageError, match="DISTS"):
        benchmark.plot(frame, metric="dists")


def test_a_plot_without_axes_is_a_new_figure_that_names_every_codec_once(rows_folder):
    axes = benchmark.plot(benchmark.load(rows_folder), font="serif")
    figure = axes.get_figure()
    legend_names = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert sorted([*legend_names, *(text.get_text() for text in axes.texts)]) == ["JPEG", "WebP"]
    with use_look(font="serif"):
        assert crowding(figure) == []
    plt.close(figure)


def test_distribution_metrics_are_those_of_a_report(rows_folder):
    names = ("psnr", "fd_squeeze")
    report = read_results(bundled_results(), "kodak", "all", names, allow_few=True).summary
    kodak = benchmark.load(bundled_results() / "kodak")
    means = benchmark.summary(kodak, metrics=names, allow_few=True)
    expected = [row["fd_squeeze"] for row in report.flat_records()]
    assert sum(value is not None for value in expected) > 4
    assert means["fd_squeeze"].replace(np.nan, None).tolist() == expected
    # No features are kept there: without a value a metric has no column.
    assert "fd_squeeze" not in benchmark.summary(benchmark.load(rows_folder), metrics=names)


def test_a_codec_turns_arrays_into_bytes_and_back():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    assert np.array_equal((raw := benchmark.open_codec("raw")).decode(raw.encode(pixels)), pixels)
    jpeg = benchmark.open_codec("jpeg")
    assert jpeg.settings[0] == Setting("quality", 5)
    assert jpeg.info.licence
    sizes = [len(jpeg.encode(pixels, quality=quality)) for quality in (10, 50, 90)]
    assert sizes == sorted(set(sizes))
    for setting in (50, Setting("quality", 50), {"quality": 50}):
        assert jpeg.encode(pixels, setting) == jpeg.encode(pixels, quality=50)
    for setting in ("50", [50], {"quality": "50"}, {"quality": None}):
        with pytest.raises(UsageError, match=r"jpeg: .* quality=5\)"):
            jpeg.encode(pixels, setting)
    assert jpeg.encode(pixels) == jpeg.encode(pixels, jpeg.settings[len(jpeg.settings) // 2])
    assert "quality=5" in repr(jpeg)


def test_a_codec_decodes_from_bytes_alone():
    remembers = benchmark.open_codec(f"{FAKES}:Remembers")
    with pytest.raises(AssertionError, match="never encoded"):
        remembers.decode(remembers.encode(np.zeros((8, 8, 3), np.uint8)))


def test_other_pixels_and_settings_are_refused():
    jpeg = benchmark.open_codec("jpeg")
    grey = np.zeros((8, 8, 3), np.uint8)
    for pixels in (grey.astype(float), grey[..., 0], grey[..., :2]):
        with pytest.raises(UsageError, match="uint8"):
            jpeg.encode(pixels)
    with pytest.raises(UnknownName, match="'quality'"):
        jpeg.encode(grey, qualty=5)
    with pytest.raises(UsageError, match="setting"):
        jpeg.encode(grey, 5, quality=5)


@pytest.fixture
def place(tmp_path, photo):
    """The results of a photograph, cup.png, coded by WebP at two settings."""
    (tmp_path / "photos").mkdir()
    Image.fromarray(photo).save(tmp_path / "photos" / "cup.png")
    options = {"metrics": "psnr", "points": {"webp.quality": [5, 60]}, "jobs": 1}
    photos, results = str(tmp_path / "photos"), tmp_path / "results"
    return benchmark.run("webp", photos, results=results, **options).matrix.store.folder


def test_it_has_the_pixels_that_were_scored(place):
    row = Store(place).table().rows(named=True)[0]
    pixels = benchmark.decoded(place, "webp", "cup", quality=row["setting_value"])
    assert pixels.dtype == np.uint8
    truth = benchmark.open_codec("webp").decode(Store(place).stream(row["stream_sha256"]))
    assert np.array_equal(pixels, truth)


def test_anything_but_a_single_stored_picture_is_refused(place):
    with pytest.raises(UsageError, match=r"quality=5, webp quality=60"):
        benchmark.decoded(place, "webp", "cup")
    with pytest.raises(UnknownName, match="'cop'"):
        benchmark.decoded(place, "webp", "cop", quality=5)
    with pytest.raises(UsageError, match="results/kodak"):
        benchmark.decoded(place.parent, "webp", "cup", quality=5)


def test_a_damaged_or_absent_stream_is_reported(place):
    row = Store(place).table().rows(named=True)[0]
    (stream,) = (place / "streams").rglob(row["stream_sha256"] + "*")
    stream.write_bytes(b"short")
    with pytest.raises(CorruptStream, match=r"cup\.png"):
        benchmark.decoded(place, "webp", "cup.png", quality=row["setting_value"])
    stream.unlink()
    with pytest.raises(Unavailable, match="`bench run --codecs webp"):
        benchmark.decoded(place, "webp", "cup.png", quality=row["setting_value"])


def test_type_checkers_are_told_the_options_that_functions_take():
    assert STUB.read_text() == stub()
