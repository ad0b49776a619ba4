"""What the report page says, compared with the rows it is made of; no browser."""

import hashlib
import json
import os
import re
import shutil
import sys
from base64 import b64decode
from html import unescape
from types import SimpleNamespace
from typing import get_args
from urllib.parse import unquote

import numpy as np
import pytest
from imagecodecs import webp_decode
from PIL import Image
from scipy import stats

from benchmark.compare.interval import records_with_intervals
from benchmark.compare.pictures import rate_deviation
from benchmark.errors import StoreError
from benchmark.metrics.metric import Metric
from benchmark.published.points import SourceKind
from benchmark.rows.edition import label_of
from benchmark.rows.means import summarise
from benchmark.rows.store import Store
from benchmark.rows.stored import read_results
from benchmark.show.figures.style import SPARE_COLOURS, SPARE_MARKERS, families
from benchmark.show.page import content
from benchmark.show.page.content import contrast, json_text
from benchmark.show.page.document import values_text
from conftest import ROOT
from support.packs.honest_pack import rewrite
from support.page import results as made
from support.page.opened import number_of
from support.page.results import HOSTILE, IMAGES, METRICS, data_of, make_page, pixels_of
from support.processes import ran
from support.rows.measured import row, table
from support.rows.stable_rows import only_store


@pytest.fixture
def results(file, measured_once, tmp_path):
    """A copy with the page, so that a test may take things away."""
    shutil.copytree(measured_once.parent / "photos", tmp_path / "photos")
    shutil.copytree(measured_once, tmp_path / "results")
    for record in tmp_path.glob("results/*/runs/*.json"):  # which names the photographs' folder
        rewrite(record, str(measured_once.parent), str(tmp_path), -1)
    return tmp_path / "results"


@pytest.fixture
def results_alone(results):
    """The copy without a page, so that every picture has to be decoded."""
    shutil.rmtree(only_store(results).folder / "report")
    return results


def page_of(results, **options):
    return make_page(results, str(results.parent / "photos"), **options)


def rows_of(results):
    return only_store(results).table().filter(status="ok").rows(named=True)


def pictures_of(page):
    return sorted((page.parent / "pictures").iterdir())


def test_every_number_of_an_image_is_the_one_in_its_row(file, measured_once):
    data, count = data_of(file), 0
    rows = {}
    for record in rows_of(measured_once):
        label = f"{record['codec']}:{record['variant']}".rstrip(":")
        setting = f"{record['setting_name']}={record['setting_value']:g}"
        rows[label, setting, record["image"]] = record
    for point in data["points"]:
        label = data["codecs"][point["codec"]]["label"]
        for index, image in enumerate(point["images"]):
            record = rows[label, point["setting"], data["images"][image]["name"]]
            assert point["image_bpp"][index] == pytest.approx(record["bpp"], rel=1e-5)
            for column in ("psnr_db", "ms_ssim"):
                value = point["image_values"][column][index]
                assert value == pytest.approx(record[column], rel=1e-5)
            assert point["pictures"][index] == f"pictures/{record['decoded_sha256']}.webp"
            count += 1
    assert count == len(rows) == 48


def test_pictures_are_exactly_the_pixels_that_were_scored(file, measured_once):
    assert len(pictures_of(file)) == 48 + 48 + 3  # each has a map
    for record in rows_of(measured_once):
        for name in (record["decoded_sha256"], record["image_sha256"]):
            pixels = pixels_of(file.parent / "pictures" / f"{name}.webp")
            assert hashlib.sha256(pixels.tobytes()).hexdigest() == name


def test_below_a_crop_stand_the_values_that_its_image_has():
    summary = summarise(table([row("jpeg", 5, "a", psnr_db=31.5, lpips_alex=None)]))
    metrics = [Metric.named(name) for name in ("psnr", "lpips")]
    columns = [metric.column for metric in metrics]
    shown = SimpleNamespace(summary=summary, metrics=metrics, lead_columns=columns)
    (point,) = summary.points
    key = label_of(point.edition.spec), str(point.setting), int(point.image_ids[0])
    assert values_text(shown, key, float(point.image_bpp[0])).endswith(" bpp, PSNR 31.50 dB")


def test_crops_are_parts_of_the_pictures_at_matched_rates(file, measured_once):
    data, rows = data_of(file), rows_of(measured_once)
    picture = r'<img src="data:image/webp;base64,([^"]+)" alt="([^"]+)"'
    result = re.findall(rf'<figure>(?:<a href="([^"]+)">)?{picture}', file.read_text())
    parts = [np.asarray(webp_decode(b64decode(text))) for _, text, _ in result]
    assert result[0][0] == ""
    [name] = {unescape(alt).partition(", ")[0] for _, _, alt in result} & set(IMAGES)
    side, x, y = map(int, re.findall(r"\d+", result[0][2].rpartition(":")[2]))
    assert len(result) > 2
    rates = []
    for (link, _, _), part in zip(result, parts, strict=True):
        if not link:
            [sha256] = {record["image_sha256"] for record in rows if record["image"] == name}
        else:
            _, label, setting, opened = map(unquote, unescape(link).split("/"))
            assert opened == name
            point = data["points"][number_of(data, label, setting)]
            index = [data["images"][number]["name"] for number in point["images"]].index(name)
            rates.append(point["image_bpp"][index])
            sha256 = point["pictures"][index][9:73]
        picture = pixels_of(file.parent / "pictures" / f"{sha256}.webp")
        assert np.array_equal(picture[y : y + side, x : x + side], part)
    target_rate = float(re.search(r"at about (\S+) bit per pixel; not", file.read_text())[1])
    marked = re.findall(r"([\d.]+) bpp \(\S+ %\)", file.read_text())
    assert {f"{rate:.3f}" for rate in rates if rate_deviation(rate, target_rate)} == {*marked}


def test_an_interval_is_the_one_that_the_tables_have(file, measured_once):
    name = only_store(measured_once).folder.name
    summary = read_results(measured_once, name, "all", METRICS).summary
    metrics = [Metric.named(name) for name in METRICS]
    data, count = data_of(file), 0
    for record, point in zip(records_with_intervals(summary, metrics), data["points"], strict=True):
        for column in ("psnr_db", "ms_ssim"):
            ends = point["means"][column].get("interval")
            low, high = record[f"{column}_low"], record[f"{column}_high"]
            count += ends is not None
            assert ends == (None if low is None else pytest.approx([low, high], rel=1e-5))
    assert count == 32
    assert data["quantiles"] == pytest.approx(stats.t.ppf(0.975, [1, 2]), rel=1e-5)


@pytest.mark.parametrize(
    "colour", sorted({*SPARE_COLOURS, *(x.colour for x in families().values())})
)
def test_every_colour_can_be_read_on_the_dark_page(colour):
    assert contrast(content.lighten(colour), content.DARK_PAGE) >= 4.5


def test_every_marker_of_the_figures_is_a_path_of_the_page():
    markers = {*SPARE_MARKERS, *(style.marker for style in families().values())}
    paths = {content.marker_path(marker) for marker in markers}
    assert len(paths) == len(markers)
    for path in paths:
        corners = [float(number) for number in re.split("[MLZ,]+", path)[1:-1]]
        assert 2 * max(map(abs, corners)) == pytest.approx(9, rel=0.5)


def test_names_are_text_and_nothing_but_pictures_is_asked_for(file):
    text = file.read_text()
    assert HOSTILE in [image["name"] for image in data_of(file)["images"]]
    assert "<img src=x" not in text
    assert json_text({"a": "</script>\u2028<!--"}).isascii()
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none'; img-src 'self' file: data: blob:;")
    assert not re.search(r"<(link|script|img|iframe)[^>]+(src|href)=\"(?!data:)", text)


def test_what_failed_and_what_made_it_is_said(file):
    text = unescape(file.read_text())
    plain = text.replace("<wbr>", "")
    assert re.search(r">[^<]*CrashesOnEncode [^<]*step=64 \(3 cells\)<.{,60}failed: encode", plain)
    for message in ("coding/1", "psnr-rgb8/1", "ms-ssim-rgb8/1", "libwebp"):
        assert message in text


def test_of_42_codecs_eight_are_shown_first_and_the_page_is_below_2_mb(tmp_path):
    names = [f"kodim{number:02d}.png" for number in range(1, 25)]
    rows = [
        row("jpeg", q, name, variant=f"subsampling={number}" * bool(number))
        for number in range(42) for q in (10, 20, 30, 40, 50, 60) for name in names
    ]  # fmt: skip
    Store(tmp_path / "kodak").append(rows)
    page = make_page(tmp_path, "kodak")
    data = data_of(page)
    assert len(data["codecs"]) == 42
    assert len(data["shown"]["codecs"]) == 8
    assert page.stat().st_size < 1_000_000  # crops are at most .9 MB more, other metrics too


def test_the_axis_reaches_the_highest_rate_of_ones_own_codec(tmp_path):
    size = {"width_px": 41, "height_px": 41}
    rates = [(number, 8 * number / 41**2) for number in (300, 600, 1003)]  # 4.773349 bpp: 4.77335
    rows = [row(codec, q, "a", num_bytes=number, bpp=bpp, **size) | {"codec": label}
            for codec, label in (("jpeg", "jpeg"), ("webp", "./mine.py:Mine"))
            for q, (number, bpp) in enumerate(rates)]  # fmt: skip
    Store(tmp_path / "set").append(rows)
    data = data_of(make_page(tmp_path, "set"))
    assert data["most_bpp"] == max(point["bpp"] for point in data["points"]) == 4.77335


def test_a_metric_has_the_decimals_that_tables_have_however_large_it_is(tmp_path):
    made.make_page_of_sets(tmp_path / "page.html")
    [fid] = data_of(tmp_path / "page.html")["measures"]
    assert fid["decimals"] == Metric.named("fid256").decimals == 4


def test_numbers_of_single_images_are_left_out_before_a_page_grows(file):
    page_data = data_of(file)
    shown_codecs = page_data["shown"]["codecs"] = [2, 1]
    sizes = {}
    for room in (10**6, 13_000, 100):
        data = json.loads(json.dumps(page_data))
        content.leave_out_images(data, room)
        sizes[room] = {point["codec"] for point in data["points"] if point["images"]}
        assert len(json_text(data)) <= room or not sizes[room]
        assert {len(p["image_bpp"]) for p in data["points"] if not p["images"]} <= {0}
    assert sizes[10**6] == {p["codec"] for p in page_data["points"] if p["images"]}
    assert sizes[10**6] > sizes[13_000] >= {shown_codecs[0]}
    assert sizes[100] == set()


def test_a_picture_that_has_no_room_says_what_adds_it(results):
    page = page_of(results, images="0.03MB")  # less than any original has
    data = data_of(page)
    [sentence] = data["absent"]
    dataset = results.parent / "photos"
    command = f"bench report --dataset {dataset} --page --results {results} --page-images all"
    assert f"`{command}`" in sentence
    pictures = [picture for point in data["points"] for picture in point["pictures"]]
    assert not any(isinstance(picture, str) for picture in pictures)
    assert not (page.parent / "pictures").exists()


def files_of_the_first(page):
    data = data_of(page)
    places = [(point, point["images"].index(0)) for point in data["points"] if point["images"]]
    files = [data["images"][0]["picture"], *(point["pictures"][n] for point, n in places)]
    files += [file for point, n in places for file, _ in point["maps"][n].values()]
    return [page.parent / file for file in files]


def test_a_size_is_not_exceeded_and_every_photograph_has_every_codec_first(file, results):
    minimum_bytes = sum(path.stat().st_size for path in files_of_the_first(file))
    limit_mb = round(1.6 * minimum_bytes / 1e6, 3)
    page = page_of(results, images=f"{limit_mb}MB")
    assert minimum_bytes < sum(path.stat().st_size for path in pictures_of(page)) <= 1e6 * limit_mb
    data = data_of(page)
    shown_pictures = {(point["codec"], image) for point in data["points"]
                      for image, picture in zip(point["images"], point["pictures"], strict=True)
                      if isinstance(picture, str)}  # fmt: skip
    codecs = {point["codec"] for point in data["points"] if point["images"]}
    assert shown_pictures == {(codec, image) for codec in codecs for image in range(3)}
    shutil.rmtree(results.parent / "photos")  # a second page is made of the first one's files
    for stream in results.glob("*/streams/*/*"):
        stream.write_bytes(b"no stream")
    assert data_of(page_of(results, images=f"{limit_mb}MB"))["points"] == data["points"]


def test_pictures_of_an_earlier_page_go_and_files_of_others_stay(results):
    page = page_of(results)
    earlier = page.parent / "pictures" / f"{'0' * 64}.png"
    notes, unlisted = (earlier.with_name(name) for name in ("notes.txt", f"{'1' * 64}.png"))
    earlier.write_bytes(b"png")
    unlisted.write_bytes(b"a reader's own")
    manifest = json.loads((page.parent / "report.json").read_text())
    assert len(manifest["pictures"]) == 48 + 48 + 3
    manifest["pictures"].append(earlier.name)
    (page.parent / "report.json").write_text(json.dumps(manifest))
    notes.write_text("a reader's own")
    page_of(results, images="0.03MB")  # less than any original has
    assert pictures_of(page) == [unlisted, notes]
    assert {image["picture"] for image in data_of(page)["images"]} == {None}


def test_a_picture_too_large_for_webp_is_a_png_of_the_same_pixels(tmp_path, coffee):
    (tmp_path / "photos").mkdir()
    wide = np.ascontiguousarray(np.tile(coffee[:8], (1, 28, 1)))
    assert wide.shape[1] > 16383
    Image.fromarray(wide).save(tmp_path / "photos" / "wide.png")
    made.run(tmp_path, "jpeg,webp,jpeg2000")  # of WebP it is refused
    page = page_of(tmp_path / "results")
    assert len(pictures_of(page)) == 1 + 4 + 4
    for path in pictures_of(page):
        assert path.name == f"{hashlib.sha256(pixels_of(path).tobytes()).hexdigest()}.png"


def test_a_stream_that_is_gone_or_damaged_is_a_sentence(results_alone):
    digests = {record["stream_sha256"] for record in rows_of(results_alone)}
    streams = only_store(results_alone).folder / "streams"
    gone, damaged = (streams / digest[:2] / digest for digest in sorted(digests)[:2])
    gone.unlink()
    damaged.write_bytes(b"no stream")
    data = data_of(page_of(results_alone))
    pictures = [picture for point in data["points"] for picture in point["pictures"]]
    assert sum(isinstance(picture, int) for picture in pictures) == 2
    message = " ".join(data["absent"])
    assert re.search(r"was not kept; `bench run --codecs \w+ --dataset /.+/photos ", message)
    assert "is damaged" in message


def test_without_the_photographs_decoded_pictures_stay_and_say_what_is_missing(results_alone):
    shutil.rmtree(results_alone.parent / "photos")
    data = data_of(page_of(results_alone))
    assert {image["picture"] for image in data["images"]} == {None}
    assert all("`--dataset path/to/" in image["absent"] for image in data["images"])
    assert all(isinstance(p, str) for point in data["points"] for p in point["pictures"])


def test_a_photograph_that_has_changed_is_not_taken_for_the_old_one(results_alone):
    photos = results_alone.parent / "photos"
    shutil.copy(photos / IMAGES[0], photos / IMAGES[2])
    shutil.copy(photos / IMAGES[1], photos / IMAGES[0])
    (photos / IMAGES[1]).unlink()
    pictures = {image["name"]: image for image in data_of(page_of(results_alone))["images"]}
    by_name = {record["image"]: record["image_sha256"] for record in rows_of(results_alone)}
    assert pictures[IMAGES[0]]["picture"] == f"pictures/{by_name[IMAGES[0]]}.webp"
    assert pictures[IMAGES[2]]["picture"] is None
    assert "pixels" in pictures[IMAGES[2]]["absent"]


def test_a_page_that_cannot_be_finished_leaves_the_earlier_one(results, monkeypatch):
    page = page_of(results)
    html, pictures = page.read_bytes(), pictures_of(page)
    replace = os.replace

    def full(draft, target):
        if str(target).endswith("page.html"):
            raise OSError(28, "No space left on device")
        replace(draft, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StoreError, match="No space left"):
        page_of(results)
    assert page.read_bytes() == html
    assert not list(page.parent.rglob("*.part"))
    assert pictures_of(page) == pictures


def test_published_curves_that_were_asked_for_are_shown_first(tmp_path):
    names = [f"kodim{number:02d}.png" for number in range(1, 25)]
    rows = [row("jpeg", q, name) for q in (10, 20, 30, 40) for name in names]
    Store(tmp_path / "kodak").append(rows)
    data = data_of(make_page(tmp_path, "kodak", published="vtm"))
    assert {value["name"].split()[0] for value in data["published"]["psnr_db"]} == {"VTM"}
    assert "VTM (CompressAI, published)" in data["shown"]["published"]
    offered = data_of(make_page(tmp_path, "kodak"))
    assert offered["shown"]["published"] == []
    assert len(offered["published"]["psnr_db"]) > 10


@pytest.mark.slow
def test_pictures_of_networks_are_decoded_as_in_a_run_with_any_number_of_threads(tmp_path, coffee):
    (tmp_path / "photos").mkdir()
    Image.fromarray(coffee[:192, :256]).save(tmp_path / "photos" / "coffee.png")
    words = ["--dataset", tmp_path / "photos", "--results", tmp_path / "results"]
    points = ["--points", "ours.q=1,4", "--metrics", "psnr", "--no-table"]
    page = ["report", "--page", "--page-images", "all"]  # however long a busy machine takes
    for command in (["run", "--codecs", "ours:beta=0", *points], page):
        program = sys.executable, "-m", "benchmark", *command, *words
        result = ran(*program, PYTHONPATH=ROOT, OMP_NUM_THREADS=3)
        assert result.returncode == 0, result.stderr
    assert "2 to decode" in result.stderr
    assert " 2 of 2 streams" in result.stdout


def test_every_origin_of_published_points_has_words():
    assert content.ORIGINS.keys() == {*get_args(SourceKind)}
