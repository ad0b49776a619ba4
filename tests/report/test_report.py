import csv
import os

import pytest
import typer
from typer.testing import CliRunner

from benchmark.commands.report import report
from benchmark.errors import StoreError, UnknownName, UsageError
from benchmark.rows.store import Store
from support.rows.measured import row, sweep

app = typer.Typer()
app.command()(report)


def fill(folder, rows, dataset="kodak"):
    Store(folder / dataset).append(rows)
    return folder


def bench_report(results, *arguments):
    done = CliRunner().invoke(app, ["--results", str(results), *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    rows = [*sweep("jpeg", timing=True), *sweep("webp")]
    return fill(tmp_path_factory.mktemp("results"), rows)


@pytest.fixture(scope="module")
def printed(results):
    return bench_report(results)


def test_a_report_has_figures_and_tables_of_every_kind(results, printed):
    figures = ["curves", "psnr_db", "psnr_y_db", "ms_ssim", "lpips_alex", "timing"]
    expected = {f"{name}.{kind}" for name in figures for kind in ("pdf", "png")}
    expected |= {f"{name}.{k}" for name in ("means", "bd_rate") for k in ("md", "tex", "csv")}
    folder = results / "kodak" / "report"
    assert contents(folder).keys() == expected | {"report.md", "report.json"}
    text = (folder / "report.md").read_text()
    assert all(f"({name}.png)" in text for name in figures)


def test_the_terminal_shows_the_means_the_bd_rates_and_where_the_files_are(results, printed):
    assert "kodak: 3 images, 2 codecs" in printed
    assert printed.count("quality=") >= 12
    assert "BD-rate" in printed
    for path in (results / "kodak" / "report").glob("*.pdf"):
        assert str(path) in printed.splitlines()


def test_metrics_that_no_row_has_are_one_line(results, printed):
    (line,) = [line for line in printed.splitlines() if line.startswith("no values of")]
    assert line.endswith(": not computed (`bench rescore`)")
    assert all(f" {name}, " in line for name in ("DISTS", "VMAF", "FID/256"))


def test_points_that_are_not_drawn_are_a_line_for_each_kind_and_every_one_with_verbose(tmp_path):
    weights = "weights (bench fetch {1}): no weight file {0}.pth in torch's cache"
    rows = [*sweep("jpeg"), *sweep("webp"), *sweep("avif")]
    for one in rows:
        if one["codec"] != "jpeg":
            one |= {"psnr_y_db": None, "psnr_y_db_reason": weights.format("a", "alexnet")}
            one |= {"ms_ssim": None, "ms_ssim_reason": weights.format("s", "squeezenet")}
        if one["codec"] == "webp":
            one |= {"lpips_alex": None, "lpips_alex_reason": "not computed"}
    fill(tmp_path, rows)
    lines = bench_report(tmp_path, "--metrics", "psnr,psnr_y,ms_ssim,lpips,dists").splitlines()
    settings = len({one["setting_value"] for one in rows})
    drawn = [line for line in lines if line.startswith("not drawn")]
    assert drawn == [
        f"not drawn or compared: PSNR of luma (dB), MS-SSIM of webp, avif, {2 * settings} points: "
        "weights absent (`bench fetch alexnet`, `bench fetch squeezenet`)",
        f"not drawn or compared: LPIPS (AlexNet) of webp, {settings} points: not computed (`bench "
        "rescore`)",
    ]
    whole = bench_report(tmp_path, "--metrics", "psnr,psnr_y,ms_ssim,lpips,dists", "-v")
    sentences = [line for line in whole.splitlines() if line.startswith("not drawn")]
    assert len(sentences) == 3
    text = (tmp_path / "kodak" / "report" / "report.md").read_text()
    assert all(f"- {sentence}" in text.splitlines() for sentence in sentences)


def test_the_same_rows_give_the_same_bytes_in_whatever_order(results, printed, tmp_path):
    rows = [*sweep("webp"), *reversed(sweep("jpeg", timing=True))]
    for one in rows:
        fill(tmp_path, [one])
    bench_report(tmp_path)
    both = [contents(folder / "kodak" / "report") for folder in (tmp_path, results)]
    for files, folder in zip(both, (tmp_path, results), strict=True):
        del files["report.json"]
        files["report.md"] = files["report.md"].replace(str(folder).encode(), b"RESULTS")
    assert both[0] == both[1]


def test_figures_that_can_no_longer_be_drawn_go(tmp_path):
    fill(tmp_path, sweep("jpeg", timing=True))
    bench_report(tmp_path, "--metrics", "psnr")
    folder = tmp_path / "kodak" / "report"
    assert (folder / "timing.pdf").exists()
    fill(tmp_path, sweep("jpeg", fingerprint="new", run="20260101T000000-aa"))
    (folder / "notes.txt").write_text("mine")
    said = bench_report(tmp_path, "--metrics", "psnr")
    assert "bench run --timing" in said
    assert not (folder / "timing.pdf").exists()
    assert (folder / "notes.txt").read_text() == "mine"


def test_the_anchor_is_what_bd_rates_are_against(results, printed, tmp_path):
    rows = [*sweep("jpeg"), *sweep("webp")]
    for one in rows:
        one["num_bytes"] = int((40 if one["codec"] == "jpeg" else 20) * one["setting_value"])
    fill(tmp_path, rows)
    bench_report(tmp_path, "--anchor", "webp", "--metrics", "psnr")
    with (tmp_path / "kodak" / "report" / "bd_rate.csv").open() as file:
        (record,) = csv.DictReader(file)
    assert (record["codec"], record["anchor"]) == ("jpeg", "webp")
    assert float(record["bd_rate_percent"]) == pytest.approx(100, abs=1e-9)
    assert record["images_bd_rate_images"] == "3"


def test_what_bd_rates_leave_out_and_refuse_is_said_on_the_terminal_and_in_the_report(tmp_path):
    rows = [*sweep("jpeg"), *sweep("webp"), *sweep("avif"), *sweep("x265")]
    for one in rows:
        dips = {"webp": (20,), "avif": (20, 60)}.get(one["codec"], ())
        one["psnr_db"] += 9 if one["codec"] == "x265" else -6 * (one["setting_value"] in dips)
    fill(tmp_path, rows)
    said = bench_report(tmp_path, "--metrics", "psnr")
    text = (tmp_path / "kodak" / "report" / "report.md").read_text()
    for words in (
        "webp quality=20 (PSNR 4 dB), ",
        "avif quality=60 (PSNR 2 dB)",
        "avif (PSNR): 2 of 6 points of it lie below",
        "x265 (PSNR 25 %): the curves share less than a third",
    ):
        assert words in said
        assert words in text
    with (tmp_path / "kodak" / "report" / "bd_rate.csv").open() as file:
        found = {one["codec"]: one for one in csv.DictReader(file)}
    assert found["webp"]["points_left_out"] == "webp quality=20 by 4"
    assert found["avif"]["bd_rate_percent"] == found["x265"]["bd_rate_percent"] == ""
    said = bench_report(tmp_path, "--metrics", "psnr", "--any-overlap")
    assert "less than a third" not in said
    assert "less than half of the range they span: x265 (PSNR 25 %)" in said


def test_a_missing_default_anchor_is_said_and_a_mistyped_one_is_an_error(tmp_path):
    fill(tmp_path, [*sweep("webp"), *sweep("avif")])
    assert "the anchor jpeg has no rows; --anchor takes one of webp, avif" in bench_report(
        tmp_path, "--metrics", "psnr"
    )
    with pytest.raises(UnknownName, match="Did you mean 'webp'"):
        bench_report(tmp_path, "--anchor", "webbp")


def test_common_brings_back_points_that_lack_images(tmp_path):
    rows = [*sweep("jpeg"), *(one for one in sweep("webp") if one["image"] != "a")]
    fill(tmp_path, rows)
    assert "webp quality=5, " in bench_report(tmp_path, "--metrics", "psnr", "-v")
    said = bench_report(tmp_path, "--metrics", "psnr", "--common")
    assert "kodak: 2 images, 2 codecs" in said
    assert "not drawn" not in said
    text = (tmp_path / "kodak" / "report" / "report.md").read_text()
    assert "Restricted to the images that all points have; left out: 1." in text


def test_codecs_and_parts_of_a_dataset_can_be_chosen(tmp_path):
    rows = [*sweep("jpeg", ["mobile/a", "professional/b"]), *sweep("webp", ["mobile/a"])]
    fill(tmp_path, rows, "clic2020")
    said = bench_report(
        tmp_path, "--dataset", "clic2020:mobile", "--codecs", "webp", "--metrics", "psnr"
    )
    assert "clic2020:mobile: 1 image, 1 codec" in said
    assert "jpeg" not in said.replace("the anchor jpeg", "")
    assert (tmp_path / "clic2020" / "report-mobile" / "means.csv").exists()
    with pytest.raises(UnknownName, match="Did you mean 'webp'"):
        bench_report(tmp_path, "--codecs", "wepb")


def test_every_dataset_that_has_results_is_reported_and_without_rows_a_sentence_helps(tmp_path):
    with pytest.raises(UsageError, match="holds no results: measure something with `bench run`"):
        bench_report(tmp_path)
    fill(fill(tmp_path, [row("jpeg", 5, "a")], "kodak"), [row("jpeg", 5, "a")], "two")
    said = bench_report(tmp_path, "--metrics", "psnr")
    assert "kodak: 1 image," in said
    assert "two: 1 image," in said
    with pytest.raises(UnknownName, match=r"'kodac'\. Did you mean 'kodak'"):
        bench_report(tmp_path, "--dataset", "kodac")
    with pytest.raises(UsageError, match=r"no rows of kodak:mobile"):
        bench_report(tmp_path, "--dataset", "kodak:mobile")


def test_a_report_that_cannot_be_written_is_one_sentence_and_leaves_the_earlier_files_whole(
    tmp_path, monkeypatch
):
    fill(tmp_path, [row("jpeg", 5, "a")])
    folder = tmp_path / "kodak" / "report"
    (folder / "means.md").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"report in .* cannot be written: Is a directory"):
        bench_report(tmp_path, "--metrics", "psnr")
    assert not list(folder.glob(".*"))
    (folder / "means.md").rmdir()
    bench_report(tmp_path, "--metrics", "psnr")
    before = contents(folder)
    fill(tmp_path, [row("jpeg", 9, "a")])

    def full(draft, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StoreError, match="No space left"):
        bench_report(tmp_path, "--metrics", "psnr")
    assert contents(folder) == before
