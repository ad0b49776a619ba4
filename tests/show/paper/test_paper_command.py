"""`bench figures crdr` and `crops` on a bare machine and on one with measured rows."""

import csv
import re
import shlex
import shutil
from functools import partial
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from benchmark.codec import Setting
from benchmark.compare.experiment import Experiment
from benchmark.compare.pictures import rate_deviation
from benchmark.datasets.image import read_image
from benchmark.datasets.kodak import open_sample
from benchmark.errors import UnknownName, UsageError
from benchmark.metrics.maps import error_map, map_scale, round_up
from benchmark.rows.packs.contents import dataset_contents, packs_with_results
from benchmark.rows.store import Store
from benchmark.show.figures.picture_sheet import GAP_PX, colour_map
from benchmark.show.figures.style import use_look
from benchmark.show.paper.own_figures import FIGURES
from benchmark.spec import load_codec, parse_codec
from support.bench.command import invoked as bench
from support.rows.measured import change_rows

PHOTOGRAPH = "chelsea.png"  # the smallest
SUFFIXES = ("pdf", "png", "csv", "tex", "txt", "details.md")
PHOTOGRAPHS = ["astronaut.png", PHOTOGRAPH, "coffee.png"]


def draw(results, figures, *options):
    return bench("figures", "crdr", "--results", results, "--only", figures, *options)


def names_in(folder):
    return {path.name for path in folder.iterdir()}


def records(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def source_pixels():
    path = next(image.path for image in open_sample().images if image.name == PHOTOGRAPH)
    return read_image(path).pixels


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    measured = tmp_path_factory.mktemp("results")
    words = "--codecs jpeg,webp --dataset sample --limit 2 --metrics psnr --jobs 1 --no-table"
    result = bench("run", *words.split(), "--results", measured)
    assert result.exit_code == 0, result.output
    return measured


def crops_of(results, bpp=(), box="", figure="crops", target="", **choices):
    experiment = Experiment(results, "sample", images=(PHOTOGRAPH,), **choices)
    return FIGURES[figure](experiment, bpp, box, at=target)


def stored_rows(results):
    table = dataset_contents(results, "sample", packs_with_results(results)).table
    rows = [row for row in table.rows(named=True) if row["image"] == PHOTOGRAPH]
    return {(row["codec"], row["setting_value"]): row for row in rows}


maps_of = partial(crops_of, figure="maps")


def test_a_bare_machine_gets_what_is_published_and_a_sentence_on_each_of_the_rest(tmp_path):
    drawn_figures, folder = ["curves_kodak", "curves_clic2020"], tmp_path / "figures" / "crdr"
    brief = draw(tmp_path, ",".join([*drawn_figures, "crops"]))
    assert brief.exit_code == 0, brief.output
    incomplete, reason = brief.stdout.splitlines()[2:]
    assert incomplete == f"incomplete: {', '.join(drawn_figures)} (-v says why)"
    assert reason.startswith("no crops: ")
    lines = draw(tmp_path, "curves_kodak,crops", "-v", "--all").stdout.splitlines()
    assert names_in(folder) == {f"{n}.{s}" for n in drawn_figures for s in SUFFIXES}
    assert lines[0] == str(folder / "curves_kodak.pdf")
    (sentence,) = [line for line in lines if line.startswith("no crops: ")]
    assert "bench" in sentence or "./run_all.sh" in sentence
    assert sum(line.startswith("curves_kodak has only published ") for line in lines) == 1
    # the pack's rows of VTM are on Kodak without a run, as recorded
    vtm = [r for r in records(folder / "curves_kodak.csv") if r["system"] == "VTM"]
    hows = {(r["how"], r["images"], r["source"]) for r in vtm if r["setting"]}  # not cut ends
    assert hows == {("recorded", "24", "VTM 23.13")}
    (at_qp_27,) = [r for r in vtm if r["setting"] == "qp=27" and r["metric"] == "psnr_db"]
    values = [float(at_qp_27[name]) for name in ("bpp", "value")]
    assert values == [pytest.approx(0.87446, abs=5e-6), pytest.approx(37.453, abs=5e-4)]
    details = (folder / "curves_kodak.details.md").read_text()
    assert "| VTM | bundled | recorded | VTM 23.13 |" in details
    assert not (tmp_path / "kodak").exists()


def test_crops_are_parts_of_what_kept_streams_decode_to(measured):
    drawing = crops_of(measured, ("0.6",), "40,30,64,48", metrics="psnr").drawing
    rows = {record["codec"]: record for record in drawing.records}
    systems = [record["system"] for record in drawing.records]
    assert systems == ["JPEG", "VTM 23.13 (bundled)", "WebP"]
    assert [rows[name]["recorded"] for name in rows] == [False, True, False]
    source, stored = source_pixels(), stored_rows(measured)
    quality = float(rows["jpeg"]["setting"].partition("=")[2])
    stream = load_codec(parse_codec("jpeg")).encode(source, Setting("quality", quality))
    decoded = np.asarray(Image.open(BytesIO(stream)).convert("RGB"))
    _, cut, *codecs = [axes.get_images()[0].get_array() for axes in drawing.figure.axes]
    assert np.array_equal(cut, source[30:78, 40:104])
    assert np.array_equal(codecs[0], decoded[30:78, 40:104])
    assert rows["jpeg"]["bpp"] == 8 * len(stream) / (451 * 300)
    words = [text.get_text() for text in drawing.figure.texts]
    for codec, record in rows.items():
        setting = float(record["setting"].partition("=")[2])
        assert record["bpp"] == stored[codec, setting]["bpp"]
        assert record["psnr_db"] == stored[codec, setting]["psnr_db"]
        off = rate_deviation(record["bpp"], 0.6)
        assert f"{record['bpp']:.3f} bpp{f' ({off})' if off else ''}," in words
        assert f"PSNR {record['psnr_db']:.2f} dB" in words
        rates = [row["bpp"] for (name, _), row in stored.items() if name == codec]
        assert min(rates, key=lambda bpp: abs(np.log(bpp / 0.6))) == record["bpp"]


def test_at_a_value_each_codec_has_its_nearest_picture_with_its_size(measured):
    drawing = crops_of(measured, target="psnr=32").drawing
    words = " ".join(text.get_text() for text in drawing.figure.texts).replace("\n", " ")
    stored = stored_rows(measured)
    assert sorted(record["codec"] for record in drawing.records) == ["jpeg", "vtm", "webp"]
    for record in drawing.records:
        codec_rows = [row for (codec, _), row in stored.items() if codec == record["codec"]]
        nearest = min(codec_rows, key=lambda row: abs(row["psnr_db"] - 32))
        assert record["psnr_db"] == nearest["psnr_db"]
        assert record["num_bytes"] == nearest["num_bytes"]
        size, rate = f"{nearest['num_bytes'] / 1000:.1f} kB", f"{nearest['bpp']:.3f} bpp"
        assert f"{size}, {rate}, PSNR {nearest['psnr_db']:.2f} dB" in words
    values = [record["psnr_db"] for record in drawing.records]
    assert f"nearest to 32 in PSNR ({min(values):.3g} to {max(values):.3g})" in drawing.caption


def test_a_target_that_no_picture_can_have_is_refused(measured):
    for options, text in (
        ({"target": "fid256=9"}, "fid256"),
        ({"target": "psnr=32", "bpp": ("0.2",)}, "--at and --bpp"),
        ({"target": "psnr"}, "'psnr'"),
    ):
        with pytest.raises(UsageError, match=text):
            crops_of(measured, **options)
    figure = crops_of(measured, target="ssimulacra2=90")
    assert figure.drawing is None
    remedies = [text for text in figure.sentences if "bench rescore" in text]
    assert any("--metrics ssimulacra2" in text for text in remedies)


def test_a_codec_far_from_the_rate_is_left_out_until_a_nearer_one_is_measured(measured, tmp_path):
    results = tmp_path / "my results"
    shutil.copytree(measured, results)
    choices = {"codecs": "jpeg,webp", "metrics": "psnr"}
    bpps = sorted(row["bpp"] for (codec, _), row in stored_rows(results).items() if codec == "jpeg")
    widest = max(range(1, len(bpps)), key=lambda n: bpps[n] / bpps[n - 1])
    bpp = (bpps[widest - 1] * bpps[widest]) ** 0.5
    assert bpps[widest] > 1.25**2 * bpps[widest - 1]  # none is within a quarter of the middle
    earlier_crops = crops_of(results, (str(bpp),), **choices)
    (sentence,) = (text for text in earlier_crops.sentences if text.startswith("crops lack jpeg: "))
    command = re.search("`bench (run .*)`", sentence)[1]
    result = bench(*shlex.split(command), "--limit", 2, "--metrics", "psnr", "--no-table")
    assert result.exit_code == 0, result.output
    later_crops = crops_of(results, (str(bpp),), **choices)
    (rate,) = (record["bpp"] for record in later_crops.drawing.records if record["codec"] == "jpeg")
    assert 1 / 1.25 <= rate / bpp <= 1.25
    assert not [text for text in later_crops.sentences if "jpeg" in text]
    rates = [record["bpp"] for record in later_crops.drawing.records]
    assert f"of {min(rates):.2g} to {max(rates):.2g} bpp" in later_crops.drawing.caption


def test_a_row_of_pictures_for_each_crop_of_the_file(measured, tmp_path):
    file = tmp_path / "figures.toml"
    part = "image = 'chelsea', box = [40, 30, 64, 48]"
    crops = f"[{{ {part}, bpp = 0.6 }}, {{ {part}, at = 'psnr=32' }}]"
    file.write_text(f"dataset = 'sample'\ncodecs = ['webp', 'jpeg']\ncrops = {crops}")
    result = bench("figures", "crops", file, "--results", measured, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    crop_rows = records(tmp_path / "crops.csv")
    assert [row["codec"] for row in crop_rows] == ["webp", "jpeg", "vtm"] * 2
    assert [row["at"] for row in crop_rows] == ["bpp=0.6"] * 3 + ["psnr=32"] * 3
    for name, value in {"left": "40", "top": "30", "width": "64", "height": "48"}.items():
        assert {row[name] for row in crop_rows} == {value}


def test_crops_come_with_files_and_go_when_their_streams_do(measured, tmp_path, tmp_path_factory):
    result = draw(measured, "crops", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert names_in(tmp_path) == {f"crops.{suffix}" for suffix in SUFFIXES}
    assert "streams" in (tmp_path / "crops.txt").read_text()
    versions = {record["system"]: record["version"] for record in records(tmp_path / "crops.csv")}
    assert versions["VTM 23.13 (bundled)"] == "VTM 23.13"
    gone = draw(tmp_path_factory.mktemp("empty"), "crops", "--out", tmp_path)
    assert gone.exit_code == 0
    assert "no crops: " in gone.stdout
    assert names_in(tmp_path) == set()


def test_a_stream_that_decodes_to_something_else_is_told_and_left_out(measured, tmp_path):
    stored = Store(measured / "sample")
    rows = change_rows(stored.table().rows(named=True), {"codec": "webp"}, decoded_sha256="0" * 64)
    store = Store(tmp_path / "sample")
    changed = {"codec": "avif", "stream_sha256": "0" * 64}
    jpeg = [row for row in rows if row["codec"] == "jpeg"]
    store.append([*rows, *({**row, "cell": f"avif {row['cell']}", **changed} for row in jpeg)])
    for digest in {row["stream_sha256"] for row in rows}:
        store.keep(stored.stream(digest))
    figure = crops_of(tmp_path)
    assert [record["codec"] for record in figure.drawing.records] == ["jpeg", "vtm"]
    assert any(re.match("crops lack webp: .*pixels", text) for text in figure.sentences)
    (line,) = (text for text in figure.sentences if text.startswith("crops lack avif: "))
    assert "`bench run --codecs avif --dataset " in line


def test_mistakes_are_told(measured, tmp_path):
    for words, kind, text in (
        (("crdr", "--only", "crosp"), UnknownName, "Did you mean 'crops'"),
        (("crops", "--dataset", "sample", "--box", "1,2"), UsageError, "LEFT,TOP,WIDTH,HEIGHT"),
        (("crops", "--dataset", "sample", "--box", "0,0,0,9"), UsageError, "LEFT,TOP,WIDTH"),
        (("crops", "--dataset", "sample", "--box", "400,0,64,9", "--images", "chelsea"),
         UsageError, " chelsea.png, 451 x 300"),
        (("crops", "--dataset", "sample", "--images", "none"), UnknownName, "'none'"),
        (("crops", "--dataset", "sample", "--codecs", "avif"), UnknownName, "'avif'"),
        (("maps", "--dataset", "sample", "--metrics", "ms_ssim"), UsageError,
         "psnr_y, ssim,"),
        (("rd", "--dataset", "sample", "--label", "avif=A"), UnknownName, "'avif'"),
    ):  # fmt: skip
        result = bench("figures", *words, "--results", measured, "--out", tmp_path)
        assert isinstance(result.exception, kind), result.output
        assert text in str(result.exception)


@pytest.mark.parametrize("metric", ["psnr_y", "ssim"])
def test_maps_are_cut_from_those_of_whole_photographs_on_one_scale(measured, metric):
    drawing = maps_of(measured, ("0.6",), "40,30,64,48", metrics=metric).drawing
    assert [record["codec"] for record in drawing.records] == ["jpeg", "vtm", "webp"]
    contents = dataset_contents(measured, "sample", packs_with_results(measured))
    stored, height = stored_rows(measured), 48
    images = [axes.get_images()[0].get_array() for axes in drawing.figure.axes[:5]]
    maps, scale = [], map_scale(metric)
    for record in drawing.records:
        row = stored[record["codec"], float(record["setting"].partition("=")[2])]
        decoded = load_codec(parse_codec(record["codec"])).decode(contents.stream(row))
        errors = error_map(source_pixels(), decoded, metric) ** (2 if scale.root else 1)
        maps.append(errors[30:78, 40:104])
    reaches = sorted(float(np.percentile(part_map, 99)) for part_map in maps)
    end = round_up(reaches[1] ** 0.5 if scale.root else reaches[1])
    words = " ".join(text.get_text() for text in drawing.figure.texts).replace("\n", " ")
    values = []
    for image, part_map in zip(images[2:], maps, strict=True):
        assert np.array_equal(image[height + GAP_PX :], colour_map(part_map, scale, end))
        mean = float(part_map.mean(dtype=np.float64))
        value = 10 * np.log10(255**2 / mean) if metric == "psnr_y" else 1 - mean
        text = f"{value:.2f} dB" if metric == "psnr_y" else f"{value:.3f}"
        assert f"this part {text}" in words
        assert record["map_end"] == end
        values.append(value)
    column = {"psnr_y": "psnr_y_db", "ssim": "ssim"}[metric]
    stated = [record[f"{column}_of_part"] for record in drawing.records]
    assert stated == pytest.approx(values, rel=1e-5)
    assert f"{end:g}" in drawing.table.notes[0]
    bar = drawing.figure.axes[-1]
    assert bar.get_xlabel() == scale.label
    assert bar.get_xticks().tolist() == [0, end / 2, end]
    assert bar.get_position().y1 < min(axes.get_position().y0 for axes in drawing.figure.axes[:-1])


def test_in_a_column_maps_are_of_three_codecs_without_the_photograph(measured):
    with use_look(width="column"):
        drawing = maps_of(measured, metrics="psnr_y").drawing
    assert len(drawing.records) == len(drawing.figure.axes) - 1 == 3
    assert drawing.figure.get_figwidth() == 3.25
    assert {(record["width"], record["height"]) for record in drawing.records} == {(256, 256)}


def test_names_and_order_of_crops_are_those_of_the_look(measured):
    with use_look(label=("webp=Mine",), order=("webp",)):
        figure = crops_of(measured)
    systems = [record["system"] for record in figure.drawing.records]
    assert systems == ["Mine", "JPEG", "VTM 23.13 (bundled)"]


def test_own_rows_stand_before_those_of_packs(tmp_path):
    packs = [pack for pack in packs_with_results(tmp_path) if pack.path.name.startswith("vtm")]
    bare = dataset_contents(tmp_path, "sample", packs)
    rows = bare.table.rows(named=True)
    assert {row["codec"] for row in rows} == {"vtm"}
    assert len(rows) == len(bare.pack_rows) == 24
    first = {**rows[0], "recorded": False, "run": "20990101T000000-aa", "num_bytes": 7}
    stream = bare.stream(rows[0])
    Store(tmp_path / "sample").append([first])
    contents = dataset_contents(tmp_path, "sample", packs)
    assert contents.table.height == 24
    (user_row,) = [row for row in contents.table.rows(named=True) if row["cell"] == first["cell"]]
    assert user_row["num_bytes"] == 7
    assert not contents.has_stream(user_row)  # it was not kept
    Store(tmp_path / "sample").keep(stream)
    assert contents.has_stream(user_row)
    assert contents.stream(user_row) == stream
