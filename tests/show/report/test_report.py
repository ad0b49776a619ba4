import csv
import json
import math
import os
import re

import pytest
from matplotlib.figure import Figure

from benchmark.compare.anchor import BEST_CONVENTIONAL
from benchmark.errors import StoreError, UnknownName
from benchmark.rows.store import Store
from benchmark.show.report.details import NETWORK_HEADERS
from support.bench.command import output_of
from support.rows.bundled_results import bundled_results
from support.rows.measured import change_rows, row, scaled_sweep, sweep, table

KODAK = bundled_results() / "kodak"


def fill(folder, rows, dataset="kodak"):
    Store(folder / dataset).append(rows)
    return folder


def bench_report(results, *arguments):
    return output_of("report", "--results", results, *arguments)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def absences(results):
    return json.loads((results / "kodak" / "report" / "details.json").read_text())["absent"]


UNMEASURED = dict.fromkeys(("lpips_alex", "lpips_alex_protocol"))
FEW = dict.fromkeys(("psnr_y_db", "psnr_y_db_protocol", "ms_ssim", "ms_ssim_protocol"))
TWO = [*sweep("jpeg"), *sweep("webp")]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    rows = [*sweep("jpeg", timing=True), *sweep("webp", timing=True)]
    return fill(tmp_path_factory.mktemp("results"), rows)


@pytest.fixture(scope="module")
def printed(results):
    return bench_report(results)


def test_a_report_has_figures_and_tables_of_every_kind(results, printed):
    figures = ["curves", "psnr_db", "psnr_y_db", "ms_ssim", "lpips_alex", "timing"]
    tables = {"means.md", "means.csv", "bd_rate.md", "bd_rate.csv"}
    records = {"report.md", "details.md", "details.json", "report.json"}
    folder = results / "kodak" / "report"
    assert contents(folder).keys() == {f"{name}.png" for name in figures} | tables | records
    text = (folder / "report.md").read_text()
    assert all(f"({name}.png)" in text for name in figures)
    assert re.findall(r"^!\[(\w+)\]", text, re.MULTILINE) == ["curves", "timing"], "no panel twice"


def test_each_figure_is_drawn_once_for_each_of_its_files(results, tmp_path, monkeypatch):
    formats, draw = [], Figure.savefig

    def counted(figure, *arguments, **options):
        formats.append(options["format"])
        draw(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", counted)
    bench_report(results, "--metrics", "psnr,ms_ssim", "--format", "svg", "--out", tmp_path)
    files = [path.suffix[1:] for path in tmp_path.iterdir()]
    assert len(formats) == 8
    assert sorted(formats) == sorted(kind for kind in files if kind in {"png", "svg"})


def test_a_rate_that_curves_are_cut_at_is_in_every_sentence_on_their_numbers(tmp_path):
    fill(tmp_path, [*sweep("jpeg"), *scaled_sweep("webp", 2)])
    bench_report(tmp_path, "--metrics", "psnr", "--up-to-bpp", "1.2")
    _, _, headline, *lines = (tmp_path / "kodak/report/report.md").read_text().splitlines()
    assert headline.endswith(" 1.2 bpp.")
    assert re.search("in PSNR, .* 1.2 bpp, best", "\n".join(lines))
    message = bench_report(tmp_path, "--metrics", "psnr", "--up-to-bpp", "0.2")
    assert " 0.2 bpp: WebP" in message


def test_cells_that_a_stopped_run_left_are_counted_with_its_command(tmp_path):
    rows, words = sweep("jpeg"), ["run", "--codecs", "jpeg,webp"]
    store, run = Store(fill(tmp_path, rows) / "kodak"), rows[0]["run"]
    # One that ended has rows of the cells timed before, which stay.
    for remaining, ended, expected in ((2, {}, True), (0, {}, False), (2, {"ended": True}, False)):
        to_do = len(rows) + remaining
        store.amend(run, {"to_do": to_do, "arguments": words, "conditions": {"run": run}} | ended)
        text = f"2 of {to_do} cells .* `bench {' '.join(words)}`"
        message = bench_report(tmp_path, "--metrics", "psnr").replace("\n", " ")
        assert bool(re.search(text, message)) == expected


def test_published_curves_beside_other_images_are_left_out_and_the_report_is_written(tmp_path):
    fill(tmp_path, TWO)
    printed = bench_report(tmp_path, "--metrics", "psnr", "--published", "hific")
    assert re.search("published .*kodak .* 24 images", printed)
    assert " over 3" in (tmp_path / "kodak/report/details.md").read_text()


def test_a_named_metric_without_values_is_said_with_what_fills_it_in(tmp_path):
    fill(tmp_path, TWO)
    message = bench_report(tmp_path, "--dataset", "kodak", "--metrics", "psnr,vmaf")
    (line,) = (line for line in message.splitlines() if line.startswith("No VMAF: "))
    assert f"`bench rescore --dataset kodak --results {tmp_path} --metrics vmaf`" in line
    assert line in (tmp_path / "kodak" / "report" / "report.md").read_text()


@pytest.mark.parametrize("bundled", ["vtm", "vtm,webp"])
def test_a_metric_of_no_codec_under_test_is_drawn_or_left_out_if_asked_for(tmp_path, bundled):
    shipped = table([*sweep("vtm", **FEW), *sweep("webp", **FEW)])
    Store(tmp_path / "kodak").write_bundled("field", shipped)
    fill(tmp_path, sweep("jpeg", **UNMEASURED, **FEW))
    report = tmp_path / "kodak" / "report"
    bench_report(tmp_path, "--bundled", bundled)
    assert not (report / "lpips_alex.png").exists()
    assert absences(tmp_path) == []
    bench_report(tmp_path, "--bundled", bundled, "--metrics", "psnr,lpips")
    assert (report / "lpips_alex.png").exists()
    assert " LPIPS (AlexNet): lpips_alex of 0 of 3 images: " in (report / "details.md").read_text()


def test_a_metric_of_only_some_codecs_measured_here_is_no_figure_but_a_command(tmp_path):
    rows = [*sweep("vtm", **FEW), *sweep("jpeg", **FEW), *sweep("webp", **UNMEASURED, **FEW)]
    report = fill(tmp_path, rows) / "kodak" / "report"
    bench_report(tmp_path)
    assert (report / "psnr_db.png").exists()
    assert not (report / "lpips_alex.png").exists()
    (absent,) = absences(tmp_path)
    assert absent["remedy"].endswith("--metrics lpips")
    bench_report(tmp_path, "--metrics", "psnr,lpips")
    assert (report / "lpips_alex.png").exists()


def test_a_metric_that_failed_is_left_out_with_its_reason_though_nobody_named_it(tmp_path):
    failed = {"lpips_alex": None, "lpips_alex_reason": "weights (bench fetch x): no weight file"}
    fill(tmp_path, [*sweep("jpeg", **failed, **FEW), *sweep("vtm", **FEW)])
    bench_report(tmp_path)
    (absent,) = absences(tmp_path)
    assert absent["what"] == "jpeg"
    assert "LPIPS (AlexNet)" in absent["why"]
    assert absent["why"].endswith(" file")


def test_a_metric_that_is_infinite_for_all_others_is_in_the_table_of_means(tmp_path):
    fill(tmp_path, [*sweep("vtm", **FEW), *sweep("png", psnr_db=math.inf, **UNMEASURED, **FEW)])
    bench_report(tmp_path)
    heads = (tmp_path / "kodak" / "report" / "means.md").read_text()
    assert ("PSNR (dB)" in heads, "LPIPS" in heads) == (True, False)


def test_the_terminal_shows_ranking_and_report_and_points_if_asked(results, printed, tmp_path):
    assert "kodak: 3 images, 2 codecs" in printed
    assert "quality=" not in printed
    lines = printed.splitlines()
    assert str(results / "kodak" / "report" / "report.md") in lines
    assert sum(line.startswith(("jpeg ", "webp ")) for line in lines) == 2
    fill(tmp_path, sweep("jpeg"), "six-10f1bb")
    with_points = bench_report(tmp_path, "--table", "--metrics", "psnr")
    assert with_points.count("quality=") == 6
    assert "\nsix: 3 images, 1 codec\n" in with_points, "without the hash of the folder"


def test_what_is_left_out_is_counted_and_every_reason_is_in_the_details(tmp_path):
    lost = {"ms_ssim": None, "ms_ssim_reason": "weights (bench fetch x): no weight file"}
    other = {"lpips_alex": None, "lpips_alex_reason": "not computed"}
    fill(tmp_path, [*sweep("jpeg"), *sweep("webp", **lost, **other), *sweep("avif", **lost)])
    words = "--metrics", "psnr,ms_ssim,lpips,dists"
    assert "weight file" not in bench_report(tmp_path, *words)
    assert "weight file" in bench_report(tmp_path, *words, "-v")
    folder = tmp_path / "kodak" / "report"
    webp = [absence for absence in absences(tmp_path) if absence["what"].startswith("webp")]
    reasons = {absence["why"].rpartition(": ")[2] for absence in webp}
    assert reasons == {"no weight file", "not computed"}
    assert "weight file" in (folder / "details.md").read_text()
    assert "weight file" not in (folder / "report.md").read_text()


@pytest.mark.parametrize(("words", "columns"), [
    ([], ["psnr_db"]), (["--allow-few"], ["psnr_db", "fd_squeeze"]),
])  # fmt: skip
def test_a_metric_over_few_images_is_in_the_page_where_it_is_allowed(words, columns, tmp_path):
    options = ["--dataset", "kodak", "--codecs", "vtm,avif:speed=2", "--metrics", "psnr,fd_squeeze"]
    pages = ["--page", "--page-images", "0.1MB", "--out", str(tmp_path)]
    bench_report(KODAK.parent, *options, *pages, *words)
    measures = re.search(r'"measures":(\[.*?\]),"codecs"', (tmp_path / "page.html").read_text())[1]
    assert [measure["column"] for measure in json.loads(measures)] == columns
    assert ("biased upward" in measures) is bool(words)


@pytest.mark.slow
@pytest.mark.skipif(not (KODAK / "per_image").is_dir(), reason="needs the bundled rows")
def test_kodaks_report_is_one_short_answer(tmp_path):
    out = tmp_path / "out"
    metrics = "psnr,ms_ssim,lpips_squeeze,fd_squeeze"
    words = "--dataset", "kodak", "--out", out, "--metrics", metrics, "--page"
    message = bench_report(KODAK.parent, *words)
    text = (out / "report.md").read_text()
    assert len(text.encode()) < 10_000
    with (out / "bd_rate.csv").open() as file:
        result = [entry for entry in csv.DictReader(file) if entry["metric"] == "psnr_db"]
    rates = {entry["codec"]: float(entry["bd_rate_percent"] or "inf") for entry in result}
    assert "against VTM 23.13" in text
    assert rates["vvenc"] > 0
    ranked = [line.split(" | ")[1] for line in text.splitlines() if line.count(" | ") > 3]
    ranked = [name for name in ranked if name in rates]
    assert ranked[: len(rates) - 3] == sorted(rates, key=rates.get)[: len(rates) - 3]
    headline, *lines = message.partition("codecs\n")[2].splitlines()
    assert max(map(len, lines)) <= 80 + len(str(out)), headline
    details, title = (out / "details.md").read_text(), "Kodak by LPIPS (SqueezeNet)"
    assert (title in message, title in details) == (False, True)
    assert "| work (kMAC/px) | training (10^15 MAC) | optimiser | steps of a network |" in details
    assert "| 41.3 |  | soap, adam | 79,090 |" in details
    page = (out / "page.html").read_text()
    assert all(f">{head}</th>" in page for head in NETWORK_HEADERS)


def test_the_same_rows_give_the_same_bytes_in_whatever_order(results, printed, tmp_path):
    rows = [*sweep("webp", timing=True), *reversed(sweep("jpeg", timing=True))]
    for part in range(3):
        fill(tmp_path, rows[part::3])
    bench_report(tmp_path)
    reports = [contents(folder / "kodak" / "report") for folder in (tmp_path, results)]
    for files, folder in zip(reports, (tmp_path, results), strict=True):
        del files["report.json"]
        for name in ("report.md", "details.md", "details.json"):
            files[name] = files[name].replace(str(folder).encode(), b"RESULTS")
    assert reports[0] == reports[1]


def test_a_dataset_without_the_named_anchor_has_its_own_and_says_so(tmp_path):
    fill(tmp_path, [*sweep("jpeg"), *sweep("vtm")])
    fill(tmp_path, TWO, "plain")
    words = "--dataset", "all", "--metrics", "psnr", "--anchor"
    message = bench_report(tmp_path, *words, "vtm")
    anchors = re.findall(r"^BD-rate \(%\) against (.*) in PSNR,", message, re.MULTILINE)
    assert anchors == ["VTM", f"JPEG (no vtm here: {BEST_CONVENTIONAL})"]
    with pytest.raises(UnknownName, match="avif"):
        bench_report(tmp_path, *words, "avif")


def test_lossy_sources_and_a_wide_spread_of_sizes_are_a_line_each(tmp_path):
    rows = sweep("jpeg", source_lossy=False)
    fill(tmp_path, rows, "plain")
    message = bench_report(tmp_path, "--dataset", "plain", "--metrics", "psnr")
    assert not re.search("^(lossy sources|image sizes):", message, re.MULTILINE)
    rows = change_rows(rows, {"image": "bb"}, width_px=8, height_px=6, source_lossy=True)
    fill(tmp_path, change_rows(rows, {"image": "ccc"}, source_lossy=True), "mixed")
    message = bench_report(tmp_path, "--dataset", "mixed", "--metrics", "psnr").splitlines()
    lines = (tmp_path / "mixed" / "report" / "report.md").read_text().splitlines()
    for words in (": 2 of 3 images", " 8 x 6 px (bb) to 100 x 80"):
        (line,) = [line for line in message if words in line]
        assert f"- {line}" in lines


def test_common_brings_back_points_that_lack_images(tmp_path):
    rows = [*sweep("jpeg"), *(record for record in sweep("webp") if record["image"] != "a")]
    fill(tmp_path, rows)
    assert "webp quality=5, " in bench_report(tmp_path, "--metrics", "psnr", "-v")
    message = bench_report(tmp_path, "--metrics", "psnr", "--common")
    assert "kodak: 2 images, 2 codecs; excluded: 1 image " in message
    assert "not drawn" not in message
    details = json.loads((tmp_path / "kodak" / "report" / "details.json").read_text())
    assert details["images_left_out"] == 1


def test_codecs_and_parts_of_a_dataset_can_be_chosen(tmp_path):
    rows = [*sweep("jpeg", ["mobile/a", "professional/b"]), *sweep("webp", ["mobile/a"])]
    fill(tmp_path, rows, "clic2020")
    words = "--dataset", "clic2020:mobile", "--codecs", "webp", "--metrics", "psnr"
    message = bench_report(tmp_path, *words)
    assert "clic2020:mobile: 1 image, 2 codecs" in message
    assert "against JPEG" in message, "the anchor stays"
    assert (tmp_path / "clic2020" / "report-mobile" / "means.csv").exists()


def test_a_report_that_cannot_be_written_is_a_sentence_and_leaves_files_whole(
    tmp_path, monkeypatch
):
    fill(tmp_path, [row("jpeg", 5, "a")])
    folder = tmp_path / "kodak" / "report"
    (folder / "means.md").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"kodak/report .*directory"):
        bench_report(tmp_path, "--metrics", "psnr")
    assert not list(folder.glob(".*"))
    (folder / "means.md").rmdir()
    bench_report(tmp_path, "--metrics", "psnr")
    files = contents(folder)
    fill(tmp_path, [row("jpeg", 9, "a")])

    def full(draft, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StoreError, match="No space left"):
        bench_report(tmp_path, "--metrics", "psnr")
    assert contents(folder) == files
