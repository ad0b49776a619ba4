"""`bench rank`: the codecs of the experiment and its anchor, marked; a table for each dataset."""

import csv
import json

import pytest

from benchmark.rows.store import Store
from support.bench.command import output_of
from support.rows.measured import failed, row, table


def rows_of(codec, decibels, **columns):
    return [
        row(codec, number, image, num_bytes=rate, psnr_db=decibels + 3.0 * number, **columns)
        for number, rate in enumerate((500, 1000, 2000, 4000))
        for image in ("a", "b")
    ]


@pytest.fixture
def results(tmp_path):
    for dataset in ("photos", "more"):
        store = Store(tmp_path / "results" / dataset)
        store.append(rows_of("jpeg", 30.0))
        store.write_bundled("field", table([*rows_of("vtm", 35.0), *rows_of("webp", 32.0)]))
    return tmp_path / "results"


def rank(results, dataset, *words):
    options = ("--at", "bpp=1.5", "--metrics", "psnr", "--dataset", dataset)
    return output_of("rank", *options, "--results", results, *words)


def test_the_codecs_measured_here_are_ranked_with_the_anchor(results):
    lines = [line.split() for line in rank(results, "photos").splitlines()]
    assert lines[1][:3] == ["1", "vtm", "(bundled)"]
    assert lines[2][:2] == ["2", "jpeg"]
    assert "webp" not in rank(results, "photos")
    assert "webp (bundled)" in rank(results, "photos", "--bundled", "webp")
    webp_text = rank(results, "photos", "--anchor", "webp")
    assert "webp (bundled)" in webp_text
    assert "vtm" not in webp_text
    assert "2 images" in rank(results, "photos", "--codecs", "vtm,webp")


def test_a_codec_that_failed_for_an_image_is_ranked_on_the_common_ones(results):
    rows = [record for record in rows_of("elic", 31.0) if record["image"] == "a"]
    Store(results / "photos").append([*rows, failed("elic", 0, "b", "encode", "too large")])
    assert "elic: no curve for bpp=1.5" in rank(results, "photos")
    lines = rank(results, "photos", "--common").splitlines()
    assert [line.split()[1] for line in lines[1:4]] == ["vtm", "elic", "jpeg"]
    assert "bpp=1.5 on 1 of 2 images vtm" in lines[4]


def test_each_dataset_has_a_table_a_record_and_its_lines_of_csv(results, tmp_path):
    single_texts = [rank(results, dataset) for dataset in ("photos", "more")]
    file = tmp_path / "ranks.csv"
    assert rank(results, "photos,more", "--csv", file) == "\n".join(single_texts)
    records = list(csv.DictReader(file.read_text().splitlines()))
    assert [record["dataset"] for record in records] == ["photos", "photos", "more", "more"]
    assert [record["bundled"] for record in records] == ["True", "False"] * 2
    first, second = json.loads(rank(results, "photos,more", "--json"))
    assert (first["dataset"], second["dataset"]) == ("photos", "more")
    assert json.loads(rank(results, "photos", "--json")) == first
    assert rank(results, "all") == "\n".join(reversed(single_texts)), "in the order of their names"
