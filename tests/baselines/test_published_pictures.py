"""Pictures as authors publish them: six layouts, made here, and folders that are refused."""

import csv
import json
import os
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from baselines.folder import Folder
from benchmark.codec import Setting
from benchmark.errors import BadOption, ImageRefused, Unavailable
from benchmark.metrics.psnr import psnr
from benchmark.spec import load_codec, parse_codec
from support.bench.command import bench

IMAGES = ("kodim01", "kodim02")
PICTURES = [(point, name) for point in (1, 2) for name in IMAGES]
SOURCES = [f"{name}.png" for name in IMAGES]
BPP = {"kodim01": 0.5, "kodim02": 0.3}


def pixels(photo, image, point):
    return np.clip(photo.astype(int) + 7 * point + 3 * IMAGES.index(image), 0, 255).astype(np.uint8)


def save(folder, name, values, **options):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)
    return path


def table(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(lines)


def assert_refused(folder, reason):
    with pytest.raises(BadOption, match=reason):
        Folder(path=str(folder))


def afp(folder, photo):
    """A zip for each point, with a csv in each."""
    for point in (1, 2):
        point_folder = folder / "made" / f"point_{point}"
        for name in IMAGES:
            save(point_folder, f"{name}.png", pixels(photo, name, point))
        lines = [[f"{name}.png", point * BPP[name], 30 + point, 0.1] for name in IMAGES]
        table(point_folder / "metrics.csv", ["filename", "bpp", "PSNR", "LPIPS"], *lines)
        shutil.make_archive(str(folder / "afp" / f"point_{point}"), "zip", point_folder)
    return folder / "afp", "bpp of metrics.csv"


def compressai(folder, photo):
    """A folder for each quality, one csv for all, in a tar.gz, together with the originals."""
    for point, name in PICTURES:
        save(folder / "made", f"q{point}/{name}.png", pixels(photo, name, point))
        save(folder / "made", f"original/{name}.png", photo)
    lines = [[name, point, point * BPP[name], 30 + point, 12.5] for point, name in PICTURES]
    table(folder / "made" / "results.csv", ["name", "quality", "bpp", "psnr", "ms-ssim"], *lines)
    return shutil.make_archive(str(folder / "zoo"), "gztar", folder / "made"), "bpp of results.csv"


def rates_in_names(folder, photo):
    for point, name in PICTURES:
        save(folder / "pico", f"{name}_{point * BPP[name]}bpp.png", pixels(photo, name, point))
    save(folder / "pico", "kodim01.png", photo)
    return folder / "pico", "bpp of names"


def diffeic(folder, photo):
    """A folder for each lambda, with its csv, in bits; names of pictures have a suffix."""
    for point, name_of_point in ((1, "1_1_1"), (2, "1_2_32")):
        for name in IMAGES:
            save(folder / "eic", f"{name_of_point}/{name}_rec.png", pixels(photo, name, point))
        size = photo.shape[0] * photo.shape[1]
        lines = [[name, round(point * BPP[name] * size)] for name in IMAGES]
        table(folder / "eic" / name_of_point / "log.csv", ["image", "bits"], *lines)
    return folder / "eic", "bits of log.csv"


def streams_beside(folder, photo):
    size = photo.shape[0] * photo.shape[1]
    for point, name in PICTURES:
        place, values = f"{['low', 'high'][point - 1]}/{name}.webp", pixels(photo, name, point)
        path = save(folder / "pair", place, values, lossless=True)
        path.with_suffix(".bin").write_bytes(bytes(round(point * BPP[name] * size / 8)))
    return folder / "pair", "sizes of bitstreams"


def three_datasets(folder, photo):
    lines = []
    for dataset, names in {"Kodak": IMAGES, "CLIC": ("a", "b"), "DIV2K": ("0801", "0802")}.items():
        for point, source in PICTURES:
            name = f"{names[IMAGES.index(source)]}.png"
            save(folder / "all", f"{dataset}/p{point}/{name}", pixels(photo, source, point))
            num_bytes = round(point * BPP[source] * photo.shape[0] * photo.shape[1] / 8)
            lines.append([dataset, f"p{point}", name, num_bytes])
    table(folder / "all" / "all.csv", ["dataset", "model", "filename", "num_bytes"], *lines)
    return folder / "all", "num_bytes of all.csv"


LAYOUTS = [afp, compressai, rates_in_names, diffeic, streams_beside, three_datasets]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_a_layout_is_understood_without_a_program(layout, tmp_path, photo):
    place, sizes_from = layout(tmp_path, photo)
    codec = load_codec(parse_codec(f"folder:path={place}:name=theirs"))
    assert [setting.value for setting in codec.sweep] == [1, 2]
    for point, name in PICTURES:
        declared = codec.declared(f"{name}.png", codec.sweep[point - 1])
        size = point * BPP[name] * photo.shape[0] * photo.shape[1] / 8
        assert declared.num_bytes == pytest.approx(size, abs=1)
        assert np.array_equal(declared.decoded, pixels(photo, name, point))
    reported = codec.understood([*SOURCES, "kodim03.png"])
    assert reported.startswith("theirs: 2 points (")
    assert f"), 2 of 3 images, {sizes_from}" in reported
    assert ("without sizes: original" in reported) == (layout is compressai)
    codec.require_distinct([*SOURCES, "kodim03.png"])
    with pytest.raises(ImageRefused, match="'kodim03"):
        codec.declared("kodim03.png", Setting("setting", 1))


def test_an_archive_is_unpacked_once_and_its_fingerprint_is_of_its_content(tmp_path, photo):
    place, _ = afp(tmp_path, photo)
    first = Folder(path=str(place)).describe().fingerprint
    (cached,) = Path(os.environ["XDG_CACHE_HOME"]).glob("*/published/*")
    time_before, unpacked = cached.stat().st_mtime_ns, str(tmp_path / "made")
    assert Folder(path=str(place)).describe().fingerprint == first
    assert cached.stat().st_mtime_ns == time_before
    assert Folder(path=unpacked).describe().fingerprint == first, "the same files, unpacked by hand"
    save(tmp_path / "made", "point_1/kodim01.png", photo)
    assert Folder(path=unpacked).describe().fingerprint != first


def test_what_authors_state_is_compared_with_what_is_measured(tmp_path, photo):
    photos = tmp_path / "photos"
    for name in IMAGES:
        save(photos, f"{name}.png", pixels(photo, name, 0))
    place, _ = afp(tmp_path, photo)
    words = ["run", "--codecs", f"folder:path={place}:name=afp", "--dataset", photos]
    words += ["--metrics", "psnr", "--results", tmp_path / "r"]
    process = bench(*words, "--no-table", code=0)
    expected = "afp: 2 points (point_1, point_2), 2 of 2 images, bpp of metrics.csv"
    assert process.stderr.splitlines()[1] == expected

    def here(name, point):
        return psnr(pixels(photo, name, 0), pixels(photo, name, point))

    mean = np.mean([here(name, point) for point, name in PICTURES])
    line = f"stated   afp: PSNR (dB) 31.500, measured {mean:.3f} (4 pictures, at most "
    assert line in process.stdout
    assert "rounding" in process.stdout
    records = json.loads(bench(*words, "--json").stdout)["stated"]
    keys = "setting", "metric", "stated", "differs"
    stated = [[record[key] for key in keys] for record in records]
    assert stated == [[f"setting={point}", "psnr_db", 30 + point, True] for point in (1, 2)]
    first = np.mean([here(name, 1) for name in IMAGES])
    assert records[0]["measured"] == pytest.approx(first, abs=1e-9)
    for folder in (tmp_path / "made").iterdir():
        point = int(folder.name[-1])
        lines = [[n, BPP[n], f"{here(n, point):.3f}"] for n in IMAGES]
        table(folder / "metrics.csv", ["image", "rate_bpp", "psnr"], *lines)
    words[2] = f"folder:path={tmp_path / 'made'}:name=mended"
    mended = bench(*words, "--no-table")
    assert mended.stdout.count("stated   mended: PSNR (dB)") == 1
    assert "rounding" not in mended.stdout
    for folder in (tmp_path / "made").iterdir():
        lines = [[n, BPP[n], "-inf", here(n, int(folder.name[-1]))] for n in IMAGES]
        lines[0][3] = "NaN"
        table(folder / "metrics.csv", ["image", "rate_bpp", "ms_ssim", "psnr"], *lines)
    words[words.index("psnr")] = "psnr,ms_ssim"
    stated = json.loads(bench(*words, "--json").stdout)["stated"]
    assert [record["not_compared"] for record in stated] == [2, 1, 2, 1]


def test_a_line_of_several_pictures_is_refused_with_its_place(tmp_path, photo):
    for point in "xy":
        save(tmp_path, f"{point}/kodim01.png", photo)
    table(tmp_path / "all.csv", ["image", "bpp"], ["kodim01", 0.5])
    assert_refused(tmp_path, r"line 2 of .*all\.csv .*x/kodim01\.png, y/kodim01\.png")
    lines = [["x/kodim01.png", 0.5], ["y/kodim01.png", 0.25]]
    table(tmp_path / "all.csv", ["image", "bpp"], *lines)
    codec = Folder(path=str(tmp_path))
    assert codec.understood(["kodim01.png"]).startswith("folder: 2 points (y, x)")
    table(tmp_path / "all.csv", ["image", "bpp"], *lines, lines[0])
    assert_refused(tmp_path, r"line 4 of .*line 2 of .* x/")
    table(tmp_path / "all.csv", ["image", "bpp"], ["x/kodim01.png", 0])
    assert_refused(tmp_path, r"line 2 of .*bpp .*'0'")


def test_pictures_without_sizes_two_of_one_image_and_no_archive_are_one_sentence(tmp_path, photo):
    save(tmp_path / "a", "kodim01.png", photo)
    assert_refused(tmp_path / "a", r"/a .*csv")
    for name in ("kodim01.png", "kodim01.webp"):
        save(tmp_path / "b", name, photo)
    table(tmp_path / "b" / "s.csv", ["image", "bpp"], ["kodim01", 1])
    assert_refused(tmp_path / "b", r"kodim01\.png, kodim01\.webp")
    (tmp_path / "c.zip").write_bytes(b"PK\3\4 no zip")
    assert_refused(tmp_path / "c.zip", r"c\.zip")


def one_csv_for_each_point(folder, photo):
    for point, name in PICTURES:
        save(folder / "stem", f"q{point}/{name}.png", pixels(photo, name, point))
        lines = [[image, point * BPP[image]] for image in IMAGES]
        table(folder / "stem" / f"q{point}.csv", ["image", "bpp"], *lines)
    return folder / "stem", ""


def equal_rates_in_names(folder, photo):
    for rate in (0.1, 0.2, 0.4):
        for name in IMAGES:
            save(folder / "equal", f"{name}_{rate}bpp.png", photo)
    return folder / "equal", ""


WITH_SIBLINGS = [*LAYOUTS, one_csv_for_each_point, equal_rates_in_names]


def values(folder):
    codec = Folder(path=str(folder))
    cells = [cell for cell in product(IMAGES, codec.sweep) if codec.has(*cell)]
    return {cell: codec.declared(*cell).num_bytes for cell in cells}


@pytest.mark.parametrize("layout", WITH_SIBLINGS, ids=lambda layout: layout.__name__)
def test_without_a_picture_or_a_row_no_other_value_changes(layout, tmp_path, photo):
    place = layout(tmp_path, photo[:16, :32])[0]
    folder = tmp_path / "made" if layout in (afp, compressai) else place
    values_before, changed = values(folder), 0
    assert values_before

    def compare():
        try:
            values_after = values(folder)
        except BadOption as refusal:
            assert "of 2 pictures" in str(refusal)  # noqa: PT017
            return 0
        assert values_after.items() <= values_before.items()
        return len(values_before) - len(values_after)

    for file in sorted(folder.rglob("*.*")):
        content = file.read_bytes() if file.is_file() else b""
        if file.suffix in (".png", ".webp"):
            file.unlink()
            changed += compare()
        lines = content.decode().splitlines() if file.suffix == ".csv" else []
        for number in range(1, len(lines)):
            file.write_text("\n".join([*lines[:number], *lines[number + 1 :]]))
            changed += compare()
        if content:
            file.write_bytes(content)
    assert changed or layout is rates_in_names


@pytest.mark.parametrize(("columns", "cells", "num_bytes"), [
    (["bpp", "bitrate"], ["0.25", "0.5"], None), (["bits", "nbytes"], ["1000", "1000"], None),
    (["nbytes", "bits", "bpp"], ["125", "999", "0.98"], 125),
    (["bpp", "bpp_real"], ["1.0", "0.98"], 125), (["rate", "size"], ["0.97", "128"], None),
    (["bpp"], ["0.98"], 125),
    *((["bpp"], [cell], None) for cell in ("nan", "-inf", "1e999", "1e-999", "", "25", "0_5")),
    *((["num_bytes"], [cell], None) for cell in ("12.5", "inf", "99999", "-1", "\u0663")),
])  # fmt: skip
def test_sizes_of_a_line_agree_to_rounding_and_are_possible(tmp_path, columns, cells, num_bytes):
    for point in ("low", "high"):  # .98 bpp are 125.44 bytes
        save(tmp_path, f"{point}/a.png", np.zeros((32, 32, 3), np.uint8))
    lines = ["a", "low", *cells], ["a", "high", *cells]
    table(tmp_path / "m.csv", ["image", "point", *columns], *lines)
    if num_bytes is None:
        with pytest.raises(BadOption, match=r"line 2 of .*m\.csv") as refusal:
            Folder(path=str(tmp_path))
        assert all(cell in str(refusal.value) for cell in cells)
        return
    codec = Folder(path=str(tmp_path))
    assert codec.declared("a.png", codec.sweep[0]).num_bytes == num_bytes


def test_a_list_of_sizes_and_a_bitstream_agree_with_a_rate_too(tmp_path, photo):
    save(tmp_path / "x", "7/a.png", photo)
    table(tmp_path / "x" / "sizes.csv", ["image", "setting", "num_bytes", "bpp"], ["a", 7, 99, 2])
    assert_refused(tmp_path / "x", r"num_bytes 99 .* and bpp 2 ")
    place, _ = streams_beside(tmp_path, photo)
    table(place / "m.csv", ["image", "bpp"], ["low/kodim01", 9])
    assert_refused(place, r"bpp 9 .* bitstream of \d+ bytes")
    save(tmp_path / "y", "a_0.0bpp.png", photo)
    assert_refused(tmp_path / "y", r"a_0\.0bpp\.png: bpp")


def test_rows_without_a_picture_are_counted_and_streams_told_by_what_they_are(tmp_path, photo):
    compressai(tmp_path, photo)
    extra_rows = [["Mean", "", 0.4, 31, 12], ["kodim01", 9, 7, 40, 20], ["kodim02", 9, 7, 40, 20]]
    with (tmp_path / "made" / "results.csv").open("a", newline="") as file:
        csv.writer(file).writerows(extra_rows)
    reported = Folder(path=str(tmp_path / "made")).understood(SOURCES)
    assert "2 points (q1, q2), 2 of 2 images, bpp" in reported
    assert reported.endswith("; 3 rows without a picture")
    for point in (1, 2):
        for suffix, size in ((".yaml", 5), (".docx", 6), (".JXL", 70 * point)):
            save(tmp_path / "z", f"p{point}/kodim01.png", photo)
            (tmp_path / "z" / f"p{point}" / f"kodim01{suffix}").write_bytes(bytes(size))
    codec = Folder(path=str(tmp_path / "z"))
    assert [codec.declared("kodim01.png", s).num_bytes for s in codec.sweep] == [70, 140]
    (tmp_path / "z" / "figures.zip").write_bytes(b"no zip, and not to be read")
    for file in (tmp_path / "z").rglob("*.png"):
        Image.open(file).save(file.with_suffix(".WEBP"), "WEBP", lossless=True)
        file.unlink()
    assert Folder(path=str(tmp_path / "z")).sweep == codec.sweep


def test_a_damaged_picture_fails_alone_and_names_that_match_nothing_are_shown(tmp_path, photo):
    beside, _ = streams_beside(tmp_path, photo)
    (beside / "low" / "kodim01.webp").write_bytes(b"RIFF....WEBP")
    place, _ = diffeic(tmp_path, photo)
    table(place / "1_1_1" / "log.csv", ["image", "bpp"], ["kodim01", 0.5], ["kodim02", 0.25])
    (place / "1_1_1" / "kodim01_rec.png").write_bytes(b"")
    reasons = {beside: r"low/kodim01\.webp .*WebP", place: r"1_1_1/kodim01_rec\.png .*PNG"}
    for folder, reason in reasons.items():
        codec = Folder(path=str(folder))
        with pytest.raises(ImageRefused, match=reason):
            codec.declared("kodim01.png", codec.sweep[0])
        assert codec.declared("kodim02.png", codec.sweep[0]).num_bytes > 0
    with pytest.raises(BadOption, match=r"kodim01, kodim02, .*beach\.png"):
        codec.require_distinct(["beach.png"])
    for point in ("1_1_1", "1_2_32"):
        table(place / point / "log.csv", ["image", "bpp"], ["k01", 0.5])
    assert_refused(place, r"line 2 of .*log\.csv .*'k01', .*kodim01_rec\.png")
    save(tmp_path / "lossy", "q1/kodim01.JPG", photo)
    with pytest.raises(Unavailable, match=r"lossy .*\.JPG"):
        Folder(path=str(tmp_path / "lossy"))
