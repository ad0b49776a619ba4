"""Rows of photographs that have left their folder, in every verb that reads rows."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import benchmark
from benchmark.rows.store import Store
from benchmark.rows.stored import read_results
from benchmark.system.digest import pixels_sha256
from support.bench.verbs import app
from support.rows.measured import row

NAMES = [f"kodim0{number}.png" for number in range(1, 5)]


def picture(path, number):
    pixels = np.full((80, 100, 3), number, np.uint8)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels_sha256(pixels)


def measured(sha256s, codecs=("jpeg", "webp")):
    return [
        row(codec, quality, name, image_sha256=sha256, cell=f"{codec}/{quality}/{sha256}",
            num_bytes=int(20 * quality + 100 * (codec == "webp") + number))
        for codec in codecs
        for quality in (10, 30, 50, 70)
        for number, (name, sha256) in enumerate(sha256s)
    ]  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Four photographs measured; then a picture copied over the fourth, and all measured again."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photos"
    before = [(name, picture(folder / name, number)) for number, name in enumerate(NAMES)]
    store = Store(tmp_path / "results" / "photos-1a2b3c")
    store.begin("20250101T000000-aa", {"request": {"dataset": "photos"}})
    store.append(measured(before))
    store.append(measured([(NAMES[3], picture(folder / NAMES[3], 99))]))
    return tmp_path


def images(place, dataset="photos-1a2b3c", **options):
    result = read_results(place / "results", dataset, "all", ["psnr"], **options)
    return result.summary.images, result.gone


@pytest.mark.parametrize("dataset", ["photos", "photos-1a2b3c"])
def test_a_picture_copied_over_another_is_counted_once(place, dataset):
    assert images(place, dataset) == (4, (NAMES[3],))
    assert images(place, dataset, all_rows=True) == (5, ())
    for name in NAMES[:2]:
        (place / "photos" / name).unlink()
    assert images(place, dataset) == (2, (*NAMES[:2], NAMES[3]))
    for number, name in enumerate(NAMES[:2]):  # half of its own pictures are enough
        picture(place / "photos" / name, 200 + number)
    assert images(place, dataset) == (2, (*NAMES[:2], NAMES[3]))


def test_a_renamed_photograph_is_still_there(place):
    (place / "photos" / NAMES[0]).rename(place / "photos" / "first.png")
    assert images(place) == (4, (NAMES[3],))


def test_without_the_dataset_every_row_counts(place):
    for number, name in enumerate(NAMES):  # a folder of that name with other pictures
        picture(place / "photos" / name, 200 + number)
    assert images(place) == (5, ())
    shutil.rmtree(place / "photos")
    assert images(place) == (5, ())


@pytest.mark.parametrize("name", ["/", "..", "kodak", "code.py:data", "photos\0", 7])
def test_a_record_leads_to_no_folder_without_the_rows_own_files(place, name, monkeypatch):
    record = {"request": {"dataset": name}}
    Store(place / "results" / "photos-1a2b3c").begin("20250101T000000-aa", record)
    walked = []
    monkeypatch.setattr("benchmark.rows.stored.open_folder", walked.append)
    monkeypatch.setattr("benchmark.rows.stored.open_dataset", walked.append)
    assert images(place) == (5, ())
    assert not walked


VERBS = {
    "report": ("report", "--metrics", "psnr"),
    "match": ("match", "jpeg", "webp", "--tolerance", "20"),
    "rank": ("rank", "--at", "bpp=1", "--metrics", "psnr"),
    "figures": ("figures", "rd", "--metrics", "psnr"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_says_in_one_line_what_is_left_out(place, verb):
    def lines(*more):
        asked = *VERBS[verb], "--dataset", "photos", *more
        done = CliRunner().invoke(app, asked)
        assert done.exit_code == 0, done.output
        return [line for line in done.output.splitlines() if "no longer in the folder" in line]

    (place / "photos" / NAMES[0]).unlink()
    (message,) = lines()
    assert "2 photographs" in message
    assert not lines("--all-rows")


def test_json_counts_and_names_the_photographs_of_the_folder(place):
    done = CliRunner().invoke(app, ["report", "--metrics", "psnr", "--json"])
    (reported,) = json.loads(done.stdout)
    assert reported["images"] == 4
    assert [gap["name"] for gap in reported["left_out"] if gap["unit"] == "photograph"] == [
        NAMES[3]
    ]


def test_python_counts_the_photographs_of_the_folder(place):
    folder = place / "results" / "photos-1a2b3c"
    frame = benchmark.load(folder)
    assert sorted(set(frame["image"])) == NAMES
    assert len(frame) == len(benchmark.load(folder, all_rows=True)) - 8
    assert frame.attrs["gone"] == [NAMES[3]]
    assert set(benchmark.summary(folder, metrics="psnr")["images"]) == {4}
