"""One folder, one answer: every verb and call shows the same edition of a codec."""

import csv
import json
import re

import pytest

import benchmark
from benchmark.rows.store import Store
from support.bench.command import output_of
from support.rows.measured import failed, row, table

WHOLE = [f"{number:02}.png" for number in range(24)]
DYNAMIC = ("absent", "files", "folder", "notes", "remarks")


def rows_of(codec, images, psnr_db, **columns):
    return [
        row(codec, number, image, num_bytes=500 * 2**number + 7 * index,
            psnr_db=psnr_db + 3 * number + index % 5, lpips_alex=0.5 - number / 10 - psnr_db / 1000,
            cell=f"{codec}/{number}/{image}/{columns.get('fingerprint', 'b')}", **columns)
        for number in range(5)
        for index, image in enumerate(images)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """VTM: 6 images measured here, 24 bundled. WebP: an old build, and a new one with a failure.

    The second folder has only the rows that are shown.
    """
    bundled = [*rows_of("vtm", WHOLE, 35.0), *rows_of("jpeg", WHOLE, 30.0)]
    new = {"fingerprint": "new", "run": "20270101T000000-aa"}
    webp = [record for record in rows_of("webp", WHOLE, 32.0, **new) if record["setting_value"] < 4]
    webp += rows_of("webp", WHOLE[1:], 32.0, **new)[-23:]
    webp.append(failed("webp", 4, WHOLE[0], "encode", "too large") | new)
    hidden = rows_of("vtm", WHOLE[:6], 39.0, **new)
    hidden += rows_of("webp", WHOLE, 20.0, fingerprint="old")
    places = []
    for name, rows in (("whole", [*hidden, *webp]), ("shown", webp)):
        place = tmp_path_factory.mktemp(name)
        store = Store(place / "results" / "set")
        store.write_bundled("field", table(bundled))
        store.append(rows)
        places.append(place / "results")
    return places


VERBS = {
    "rank": "rank --at bpp=.5 --at psnr=38 --metrics psnr --json",
    "rank, named": "rank --at bpp=.5 --metrics psnr --codecs vtm,jpeg --json",
    "match": "match webp vtm --tolerance .1 --json",
    "tradeoff": "tradeoff vtm webp --realism lpips --json",
    "report": "report --metrics psnr,lpips --json",
    "report, bundled": "report --bundled jpeg --metrics psnr --json",
    "table": "table --metrics psnr,lpips --out {out}",
    "rd": "figures rd --metrics psnr DRAWN",
    "bd": "figures bd --metrics psnr DRAWN",
    "realism": "figures realism --codecs vtm,webp --bpp 1 --metrics psnr,lpips DRAWN",
    "complexity": "figures complexity DRAWN",
}


def answer(results, words, out):
    """Return what a verb prints as JSON, or its csv files, without sentences and paths."""
    words = words.replace("DRAWN", "--out {out} --format svg")
    printed = output_of(*words.format(out=out).split(), "--results", results)
    if "--json" in words:
        return drop_dynamic(json.loads(printed))
    paths = sorted(out.rglob("*.csv"))
    return {path.name: [*csv.reader(path.read_text().splitlines())] for path in paths}


def drop_dynamic(value):
    if isinstance(value, dict):
        return {name: drop_dynamic(entry) for name, entry in value.items() if name not in DYNAMIC}
    return [*map(drop_dynamic, value)] if isinstance(value, list) else value


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_shows_the_same_editions(folders, verb, tmp_path):
    first, second = (answer(folders[n], VERBS[verb], tmp_path / str(n)) for n in (0, 1))
    assert first == second
    assert {"vtm", "webp"} & {*re.findall(r"\w+", str(first).lower())}


def test_so_does_every_python_call(folders):
    def load(results, codecs):
        return benchmark.load(results / "set", codecs=codecs)

    first, second = (load(results, "vtm,webp") for results in folders)
    assert first.equals(second)
    assert set(first.loc[first["codec"] == "vtm", "bundled"]) == {True}
    assert set(first.loc[first["codec"] == "webp", "fingerprint"]) == {"new"}
    for call in (
        lambda results: benchmark.summary(results / "set", metrics="psnr"),
        lambda results: benchmark.rank(results / "set", "bpp=.5", metrics="psnr"),
        lambda results: benchmark.bd_rate(load(results, "vtm,jpeg"), "jpeg"),
    ):
        first, second = map(call, folders)
        assert first.equals(second)


def test_what_is_not_shown_is_named_with_the_command_that_measures_the_rest(folders):
    words = "rank", "--at", "bpp=.5", "--metrics", "psnr", "--results"
    printed, other = (output_of(*words, folder) for folder in folders)
    assert "6 of 24 images" in printed
    assert "bench run --codecs vtm --dataset set" in printed
    assert "6 of 24 images" not in other
    words = "report", "--metrics", "psnr", "--json", "--results", folders[0]
    (report,) = json.loads(output_of(*words))
    reasons = {absence["what"]: absence["why"] for absence in report["absent"]}
    assert "6 of 24 images" in reasons["vtm"]
    assert "build" in reasons["webp"]


def test_a_codec_that_only_you_have_makes_its_images_those_that_are_compared(folders, tmp_path):
    store = Store(tmp_path / "results" / "set")
    store.write_bundled("field", table(rows_of("vtm", WHOLE, 35.0)))
    store.append(rows_of("vtm", WHOLE[:6], 39.0, fingerprint="new"))
    store.append(rows_of("./mine.py:Mine", WHOLE[:6], 36.0))
    means = benchmark.summary(store.folder, metrics="psnr")
    assert set(means["images"]) == {6}
    maximum = means[means["codec"] == "vtm"]["psnr_db"].max()
    assert maximum == pytest.approx(39.0 + 12 + sum(index % 5 for index in range(6)) / 6)
