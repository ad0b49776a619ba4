"""A folder of whatever people keep as images: measured or refused with a reason, never a crash."""

import io
import json

import numpy as np
from PIL import Image

from support.bench.command import bench
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
        "1x1.png": (encode(noise(1, 1, 3)), (1, 1)),
        "1x77.png": (encode(noise(1, 77, 4)), (1, 77)),
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
    }


def refused_files():
    """Return content and a word of the reason of files to be refused, by name."""
    return {
        "zero bytes.png": (b"", "empty"),
        "truncated.jpg": (encode(noise(40, 40, 22), "JPEG")[:-300], "damaged or truncated"),
        "cmyk.jpg": (encode(noise(9, 9, 23).convert("CMYK"), "JPEG"), "is CMYK"),
        "copy.png": (encode(noise(1, 77, 4)), "has the same pixels as"),
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
