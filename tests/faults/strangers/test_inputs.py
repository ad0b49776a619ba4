"""A folder of whatever people keep as images: measured or refused with a reason, never a crash."""

import io
import json
import os
from hashlib import sha256

import numpy as np
import pytest
from PIL import Image

from baselines.neural.training.photographs import choose_validation
from benchmark.system.atomic import write_file
from benchmark.system.text import json_bytes
from support.bench.command import bench
from support.files.noise import effect_noise
from support.rows.stable_rows import only_store


def noise(width, height, seed=0):
    random = np.random.default_rng(seed)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8))


def encode(image, form="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def measured_files():
    """Return content and (width, height) of files to be measured, by name."""
    palette, turned = noise(12, 11, 2).quantize(16), Image.Exif()
    turned[0x0112] = 6
    return {
        "1x1.png": (encode(noise(1, 1, 3)), (1, 1)), "1x77.png": (encode(noise(1, 77, 4)), (1, 77)),
        "77x1.png": (encode(noise(77, 1, 5)), (77, 1)),
        "wide.png": (encode(noise(8193, 2, 6)), (8193, 2)),
        "tall.png": (encode(noise(2, 8193, 6)), (2, 8193)),
        "palette.png": (encode(palette), (12, 11)),
        "grey.png": (encode(noise(13, 12, 8).convert("L")), (13, 12)),
        "opaque.png": (encode(noise(14, 13, 9).convert("RGBA")), (14, 13)),
        "turned.png": (encode(noise(9, 5, 7), exif=turned), (5, 9)),
        "profile.png": (encode(noise(15, 14, 10), icc_profile=b"nothing" * 99), (15, 14)),
        "photo.jpg": (encode(noise(16, 15, 11), "JPEG", quality=80), (16, 15)),
        "a/same name.png": (encode(noise(17, 16, 12)), (17, 16)),
        "b/same name.png": (encode(noise(17, 16, 13)), (17, 16)),
        "new\nline.png": (encode(noise(18, 17, 14)), (18, 17)),
        "ünï 結果 'quoted', with: comma.png": (encode(noise(19, 18, 15)), (19, 18)),
        "-dash.png": (encode(noise(20, 19, 16)), (20, 19)),
    }  # fmt: skip


def refused_files():
    """Return content and a word of the reason of files to be refused, by name."""
    return {
        "zero bytes.png": (b"", "empty"),
        "truncated.jpg": (encode(noise(40, 40, 22), "JPEG")[:-300], "truncated"),
        "cmyk.jpg": (encode(noise(9, 9, 23).convert("CMYK"), "JPEG"), "CMYK"),
        "copy.png": (encode(noise(1, 77, 4)), "pixels"),
    }


def test_a_folder_of_odd_images_is_measured_but_for_what_is_named(tmp_path):
    folder, good, bad = tmp_path / "odd", measured_files(), refused_files()
    for name, (content, _) in {**good, **bad}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    words = ("run", "--codecs", "raw,jpeg,webp", "--dataset", folder, "--metrics", "psnr", "--json")
    points = ("--points", "jpeg.quality=90", "--points", "webp.quality=90")
    result = bench(*words, *points, "--results", tmp_path / "results")
    reported = json.loads(result.stdout)
    assert result.returncode == 0, "refused images are left out"
    assert reported["failed"] == []
    by_image = {}
    for row in only_store(tmp_path / "results").table().rows(named=True):
        by_image.setdefault(row["image"], []).append(row)
        assert (row["width_px"], row["height_px"]) == good[row["image"]][1]
        assert row["status"] == "ok"
        assert row["codec"] != "raw" or row["psnr_db"] == float("inf")
    assert {name: len(rows) for name, rows in by_image.items()} == dict.fromkeys(good, 3)
    assert reported["refused"].keys() == bad.keys()
    for name, reason in reported["refused"].items():
        assert bad[name][1] in reason
        assert reason.isprintable()
    for command in (["report", "--results"], ["audit", "decode"]):
        assert bench(*command, tmp_path / "results").returncode == 0


# Names that are not UTF-8, as old zips and Latin-1 have them

FOLDER, PICTURE = os.fsdecode(b"b\xff"), os.fsdecode(b"\xe4.png")


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / FOLDER).mkdir()
    for name in (PICTURE, "ok.png"):
        effect_noise((64, 64), 40).convert("RGB").save(tmp_path / FOLDER / name)
    return tmp_path / FOLDER


def test_a_run_and_its_report_with_a_page_name_the_folder_by_escapes(photos):
    for words in (("run", "--codecs", "jpeg", "--jobs", 1), ("report", "--page")):
        result = bench(*words, "--dataset", FOLDER, "--metrics", "psnr")
        assert (result.returncode, "Traceback" in result.stderr) == (0, False), result.stderr
    (report_file,) = photos.parent.glob("results/*/report/report.json")
    assert json.loads(report_file.read_bytes())["command"].split()[3] == "'b\\xff'"
    assert "xe4.png" in (report_file.parent / "page.html").read_text(encoding="utf-8")


def test_an_experiment_that_cannot_name_its_folder_is_refused_before_it_is_measured(photos):
    result = bench("run", "--codecs", "jpeg", "--dataset", FOLDER, "--save", "e.toml")
    assert (result.returncode, "UTF-8" in result.stderr) == (2, True)
    assert not list(photos.parent.glob("*.toml"))
    assert not (photos.parent / "results").exists()


def test_photographs_are_held_out_by_the_text_of_their_names():
    names = [PICTURE, *(f"{number}.png" for number in range(9))]
    (validation_name,) = choose_validation(names)
    texts = {name: name.replace(PICTURE, "\\xe4.png").encode() for name in names}
    assert validation_name == min(names, key=lambda name: sha256(texts[name]).digest())


def test_records_and_texts_have_its_escapes(tmp_path):
    assert json.loads(json_bytes({"of": [FOLDER, "ä"]})) == {"of": ["b\\xff", "ä"]}
    write_file(tmp_path / "a", f"{FOLDER} ä")
    assert (tmp_path / "a").read_bytes() == b"b\\xff \xc3\xa4"
