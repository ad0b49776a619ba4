"""Batches for codec-compare: the JSON that its README documents, and the numbers of the rows."""

import json
import math
import re

import pytest

import benchmark
from benchmark.errors import UsageError
from benchmark.metrics.measure import Measure
from benchmark.rows.means import summarise
from benchmark.show.report.codec_compare import batches
from support.bench.invoked import bench
from support.rows.bundled_results import bundled_results
from support.rows.measured import row, sweep, table

RESULTS = bundled_results()
MEASURES = [Measure.named(name) for name in ("psnr", "ms_ssim", "lpips", "dists")]
# Names in src/entry.ts that the page gives a meaning, as far as they are used here.
KNOWN_CONSTANTS = {"name", "codec", "version", "time", "source_data_set", "encoding_cmd"}
KNOWN_FIELDS = {
    *("original_name", "width", "height", "quality", "encoded_size"),
    *("psnr", "msssim", "lpips"),
}


def refuse(constant):
    raise AssertionError(f"JSON has no {constant}")


def strict(text):
    return json.loads(text, parse_constant=refuse)


def exported(rows):
    rows = table(rows)
    result = batches(summarise(rows), rows, MEASURES, "set")
    return {name: strict(text) for name, text in result.files.items()}, result.left_out


def columns(batch):
    names = [name for item in batch["field_descriptions"] for name in item]
    return dict(zip(names, zip(*batch["field_values"], strict=True), strict=True))


def constants(batch):
    names = [name for item in batch["constant_descriptions"] for name in item]
    return dict(zip(names, batch["constant_values"], strict=True))


@pytest.fixture(scope="module")
def kodak(tmp_path_factory):
    folder = tmp_path_factory.mktemp("batches") / "kodak"
    bench("export", "codec-compare", "--to", folder, "--results", RESULTS)
    return folder


@pytest.mark.parametrize("name", ["batches.json", "vtm.json"])
def test_files_of_others_are_not_replaced_and_earlier_batches_are(kodak, tmp_path, name):
    words = ["export", "codec-compare", "--codecs", "vtm", "--to", tmp_path, "--results", RESULTS]
    (tmp_path / name).write_text('{\n "mine": 1\n}\n')
    with pytest.raises(UsageError, match=f"{name} was not written by this command"):
        bench(*words)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    (tmp_path / name).write_bytes((kodak / name).read_bytes())
    assert "1 batches" in bench(*words)


def test_every_batch_has_the_documented_form_and_the_list_names_it(kodak):
    listed = strict((kodak / "batches.json").read_text())
    assert all(isinstance(one, list) and len(one) == 1 for one in listed)
    names = {path.name for path in kodak.iterdir()} - {"batches.json"}
    assert {name for (name,) in listed} == names
    assert len(names) == len(listed) > 5
    for name in names:
        batch = strict((kodak / name).read_text())
        assert list(batch) == [
            "constant_descriptions", "constant_values", "field_descriptions", "field_values",
        ]  # fmt: skip
        for kind in ("constant", "field"):
            for item in batch[f"{kind}_descriptions"]:
                ((described, text),) = item.items()
                assert re.fullmatch("[a-z_0-9]+", described)
                assert text
                assert isinstance(text, str)
        assert len(batch["constant_values"]) == len(batch["constant_descriptions"])
        assert all(isinstance(value, str) and value for value in batch["constant_values"])
        assert constants(batch).keys() >= KNOWN_CONSTANTS
        assert columns(batch).keys() >= KNOWN_FIELDS
        for values in batch["field_values"]:
            assert len(values) == len(batch["field_descriptions"])
            assert isinstance(values[0], str)
            assert all(isinstance(v, int | float) and math.isfinite(v) for v in values[1:])


def test_a_batch_has_the_rows_of_its_codec_by_image_and_rate(kodak):
    batch = strict((kodak / "avif.json").read_text())
    frame = benchmark.load(RESULTS / "kodak")
    frame = frame[(frame["codec"] == "avif") & (frame["variant"] == "")]
    frame = frame.sort_values(["image", "num_bytes"])
    result = columns(batch)
    assert list(result["original_name"]) == frame["image"].tolist()
    assert list(result["encoded_size"]) == frame["num_bytes"].tolist()
    assert list(result["quality"]) == frame["setting_value"].tolist()
    assert list(result["psnr"]) == frame["psnr_db"].tolist()
    assert list(result["lpips"]) == frame["lpips_alex"].tolist()
    decibels = [-10 * math.log10(1 - value) for value in frame["ms_ssim"]]
    assert result["msssim"] == pytest.approx(decibels, rel=1e-12)
    assert set(zip(result["width"], result["height"], strict=True)) == {(768, 512), (512, 768)}
    message = constants(batch)
    assert message["codec"] == "avif"
    assert "${quality}" in message["encoding_cmd"]
    assert "encoding_time" not in result  # precomputed rows


def test_seconds_are_fields_where_all_rows_were_timed_alone():
    timed = {"timing": True, "jobs": 1, "encode_seconds": 0.25}
    files, _ = exported([*sweep("jpeg", **timed), *sweep("webp")])
    assert columns(files["jpeg.json"])["encoding_time"] == pytest.approx([0.25] * 18, rel=1e-12)
    assert columns(files["jpeg.json"])["decoding_time"] == pytest.approx([0.1] * 18, rel=1e-12)
    assert not {"encoding_time", "decoding_time"} & columns(files["webp.json"]).keys()


def test_a_metric_without_a_number_in_some_row_is_no_field_and_said():
    files, left_out = exported([row("jpeg", 5, "a"), row("jpeg", 9, "a", psnr_db=math.inf)])
    assert "psnr" not in columns(files["jpeg.json"])
    assert "dists" not in columns(files["jpeg.json"])  # measured nowhere: nothing to say
    assert left_out == ("jpeg: no PSNR (dB): 1 of 2 rows have no number",)


def test_failed_cells_are_no_rows_and_names_of_files_are_distinct():
    rows = [row("jpeg", 5, "a"), row("jpeg", 9, "a", status="failed")]
    rows += [row("jpeg", 5, "a", variant="x=1"), row("jpeg", 5, "a", variant="x=a/b")]
    files, _ = exported(rows)
    assert [one for (one,) in files["batches.json"]] == [
        "jpeg.json", "jpeg_x=1.json", "jpeg_x=a_b.json",
    ]  # fmt: skip
    assert len(files["jpeg.json"]["field_values"]) == 1
    assert constants(files["jpeg_x=a_b.json"])["name"] == "jpeg:x=a/b"


def test_rows_are_ordered_by_rate_within_an_image_as_pairs_are_matched():
    sizes = {"b": (300, 100), "a": (200, 900)}
    rows = [
        row("jpeg", quality, image, num_bytes=size)
        for image, both in sizes.items()
        for quality, size in zip((5, 9), both, strict=True)
    ]
    result = columns(exported(rows)[0]["jpeg.json"])
    assert list(result["encoded_size"]) == [200, 900, 100, 300]
    assert list(result["quality"]) == [5, 9, 9, 5]
