"""Pictures as authors publish them: six layouts, made here, and what cannot be understood."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from baselines.folder import Folder
from benchmark.codec import Setting
from benchmark.errors import BadOption, ImageRefused
from benchmark.metrics.psnr import psnr
from benchmark.spec import load_codec, parse_codec
from support.bench.command import bench

IMAGES = ("kodim01", "kodim02")
SOURCES = [f"{name}.png" for name in IMAGES]
BPP = {"kodim01": 0.5, "kodim02": 0.25}


def pixels(photo, image, point):
    """A picture that says which it is."""
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


def afp(folder, photo):
    """A zip for each point, with a csv in each."""
    for point in (1, 2):
        made = folder / "made" / f"point_{point}"
        for name in IMAGES:
            save(made, f"{name}.png", pixels(photo, name, point))
        lines = [[f"{name}.png", point * BPP[name], 30 + point, 0.1] for name in IMAGES]
        table(made / "metrics.csv", ["filename", "bpp", "PSNR", "LPIPS"], *lines)
        shutil.make_archive(str(folder / "afp" / f"point_{point}"), "zip", made)
    return folder / "afp", "bpp of metrics.csv"


def compressai(folder, photo):
    """A folder for each quality, one csv for all, in a tar.gz; the originals are beside them."""
    lines = []
    for point in (1, 2):
        for name in IMAGES:
            save(folder / "made", f"q{point}/{name}.png", pixels(photo, name, point))
            save(folder / "made", f"original/{name}.png", photo)
            lines.append([name, point, point * BPP[name], 30 + point, 12.5])
    table(folder / "made" / "results.csv", ["name", "quality", "bpp", "psnr", "ms-ssim"], *lines)
    return shutil.make_archive(str(folder / "zoo"), "gztar", folder / "made"), "bpp of results.csv"


def rates_in_names(folder, photo):
    for point in (1, 2):
        for name in IMAGES:
            save(folder / "pico", f"{name}_{point * BPP[name]}bpp.png", pixels(photo, name, point))
    save(folder / "pico", "kodim01.png", photo)
    return folder / "pico", "bpp of names"


def diffeic(folder, photo):
    """A folder for each lambda with a csv of its own, in bits; pictures have an ending."""
    for point, name_of_point in ((1, "1_1_1"), (2, "1_2_32")):
        for name in IMAGES:
            save(folder / "eic", f"{name_of_point}/{name}_rec.png", pixels(photo, name, point))
        size = photo.shape[0] * photo.shape[1]
        lines = [[name, round(point * BPP[name] * size)] for name in IMAGES]
        table(folder / "eic" / name_of_point / "log.csv", ["image", "bits"], *lines)
    return folder / "eic", "bits of log.csv"


def streams_beside(folder, photo):
    """WebP without loss, with a bitstream beside each."""
    for point, name_of_point in ((1, "low"), (2, "high")):
        for name in IMAGES:
            place = f"{name_of_point}/{name}"
            made = save(folder / "pair", f"{place}.webp", pixels(photo, name, point), lossless=True)
            size = photo.shape[0] * photo.shape[1]
            made.with_suffix(".bin").write_bytes(bytes(round(point * BPP[name] * size / 8)))
    return folder / "pair", "sizes of bitstreams"


def three_datasets(folder, photo):
    """One csv for three datasets, each with its folders of points."""
    lines = []
    size = photo.shape[0] * photo.shape[1] / 8
    for dataset, names in {"Kodak": IMAGES, "CLIC": ("a", "b"), "DIV2K": ("0801", "0802")}.items():
        for point in (1, 2):
            for name, like in zip(names, IMAGES, strict=True):
                save(folder / "all", f"{dataset}/p{point}/{name}.png", pixels(photo, like, point))
                lines.append([dataset, f"p{point}", f"{name}.png", round(point * BPP[like] * size)])
    table(folder / "all" / "all.csv", ["dataset", "model", "filename", "num_bytes"], *lines)
    return folder / "all", "num_bytes of all.csv"


LAYOUTS = [afp, compressai, rates_in_names, diffeic, streams_beside, three_datasets]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_a_layout_is_understood_without_a_program(layout, tmp_path, photo):
    place, sizes_from = layout(tmp_path, photo)
    codec = load_codec(parse_codec(f"folder:path={place}:name=theirs"))
    assert [setting.value for setting in codec.sweep] == [1, 2]
    for setting in codec.sweep:
        for name in IMAGES:
            declared = codec.declared(f"{name}.png", setting)
            size = setting.value * BPP[name] * photo.shape[0] * photo.shape[1] / 8
            assert declared.num_bytes == pytest.approx(size, abs=1)
            assert np.array_equal(declared.decoded, pixels(photo, name, int(setting.value)))
    reported = codec.understood([*SOURCES, "kodim03.png"])
    assert reported.startswith("theirs: 2 points (")
    assert f"), 2 of 3 images, {sizes_from}" in reported
    assert ("without sizes: original" in reported) == (layout is compressai)
    codec.require_distinct([*SOURCES, "kodim03.png"])
    with pytest.raises(ImageRefused, match="no line for image 'kodim03"):
        codec.declared("kodim03.png", Setting("setting", 1))


def test_an_archive_is_unpacked_once_and_its_fingerprint_is_of_its_content(tmp_path, photo):
    place, _ = afp(tmp_path, photo)
    first = Folder(path=str(place)).describe().fingerprint
    (kept,) = (tmp_path / "cache").glob("*/published/*")
    before = kept.stat().st_mtime_ns
    assert Folder(path=str(place)).describe().fingerprint == first
    assert kept.stat().st_mtime_ns == before
    unpacked = Folder(path=str(tmp_path / "made"))
    assert unpacked.describe().fingerprint == first, "the same files, unpacked by hand"
    save(tmp_path / "made", "point_1/kodim01.png", photo)
    assert Folder(path=str(tmp_path / "made")).describe().fingerprint != first


def test_what_authors_state_is_compared_with_what_is_measured(tmp_path, photo):
    photos = tmp_path / "photos"
    for name in IMAGES:
        save(photos, f"{name}.png", pixels(photo, name, 0))
    place, _ = afp(tmp_path, photo)
    words = ("run", "--codecs", f"folder:path={place}:name=afp", "--dataset", photos)
    words += ("--metrics", "psnr", "--results", tmp_path / "r")
    done = bench(*words, "--no-table", code=0)
    first = done.stderr.splitlines()[1]
    assert first == "afp: 2 points (point_1, point_2), 2 of 2 images, bpp of metrics.csv"

    def here(name, point):
        return psnr(pixels(photo, name, 0), pixels(photo, name, point))

    mean = np.mean([here(name, point) for name in IMAGES for point in (1, 2)])
    line = f"stated   afp: PSNR (dB) 31.500, measured {mean:.3f} (4 pictures, at most "
    assert line in done.stdout
    assert "another network, scale or rounding" in done.stdout
    records = json.loads(bench(*words, "--json").stdout)["stated"]
    assert [(it["setting"], it["metric"], it["stated"]) for it in records] == [
        ("setting=1", "psnr_db", 31), ("setting=2", "psnr_db", 32)
    ]  # fmt: skip
    first = np.mean([here(name, 1) for name in IMAGES])
    assert records[0]["measured"] == pytest.approx(first, abs=1e-9)
    assert all(it["differs"] for it in records)
    for folder in (tmp_path / "made").iterdir():
        point = int(folder.name[-1])
        lines = [[n, BPP[n], f"{here(n, point):.3f}"] for n in IMAGES]
        table(folder / "metrics.csv", ["image", "rate_bpp", "psnr"], *lines)
    words = (*words[:2], f"folder:path={tmp_path / 'made'}:name=mended", *words[3:])
    mended = bench(*words, "--no-table")
    assert mended.stdout.count("stated   mended: PSNR (dB)") == 1
    assert "another network" not in mended.stdout


def test_a_line_of_several_pictures_is_refused_with_its_place(tmp_path, photo):
    for point in "xy":
        save(tmp_path, f"{point}/kodim01.png", photo)
    table(tmp_path / "all.csv", ["image", "bpp"], ["kodim01", 0.5])
    with pytest.raises(BadOption, match=r"line 2 of .*all\.csv may be of .*: a column has to say"):
        Folder(path=str(tmp_path))
    lines = [["x/kodim01.png", 0.5], ["y/kodim01.png", 0.25]]
    table(tmp_path / "all.csv", ["image", "bpp"], *lines)
    codec = Folder(path=str(tmp_path))
    assert codec.understood(["kodim01.png"]).startswith("folder: 2 points (y, x)")
    table(tmp_path / "all.csv", ["image", "bpp"], *lines, lines[0])
    with pytest.raises(BadOption, match=r"line 4 of .* is of x/kodim01\.png, as a line before"):
        Folder(path=str(tmp_path))
    table(tmp_path / "all.csv", ["image", "bpp"], ["x/kodim01.png", 0])
    with pytest.raises(BadOption, match="bpp is a number above 0, not '0'"):
        Folder(path=str(tmp_path))


def test_pictures_without_sizes_two_of_one_image_and_no_archive_are_one_sentence(tmp_path, photo):
    save(tmp_path / "a", "kodim01.png", photo)
    with pytest.raises(BadOption, match="says no size of its pictures: it needs a csv"):
        Folder(path=str(tmp_path / "a"))
    for name in ("kodim01.png", "kodim01.webp"):
        save(tmp_path / "b", name, photo)
    table(tmp_path / "b" / "s.csv", ["image", "bpp"], ["kodim01", 1])
    with pytest.raises(BadOption, match=r"may be of kodim01\.png, kodim01\.webp"):
        Folder(path=str(tmp_path / "b"))
    (tmp_path / "c.zip").write_bytes(b"PK\3\4 no zip")
    with pytest.raises(BadOption, match="holds no zip or tar of pictures that can be read"):
        Folder(path=str(tmp_path / "c.zip"))


def test_a_webp_that_is_none_is_refused_alone(tmp_path, photo):
    place, _ = streams_beside(tmp_path, photo)
    (place / "low" / "kodim01.webp").write_bytes(b"RIFF....WEBP")
    codec = Folder(path=str(place))
    with pytest.raises(ImageRefused, match=r"low/kodim01\.webp is not a whole WebP"):
        codec.declared("kodim01.png", codec.sweep[0])
    assert codec.declared("kodim02.png", codec.sweep[0]).num_bytes > 0
