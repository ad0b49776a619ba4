"""Results as they are read from a folder: which datasets it has, which rows, which means."""

import pyarrow as pa
import pytest

from benchmark.analysis.stored import datasets_with_results, read_results
from benchmark.errors import UnknownName, UsageError
from benchmark.rows.schema import table_schema
from benchmark.rows.store import Store
from support.rows.measured import row

RUN = "20250101T000000-aa"


def stored(results, name, rows):
    store = Store(results / name)
    store.begin(RUN, {"machine": "a"})
    store.append(pa.Table.from_pylist(rows, schema=table_schema()).to_pylist())
    return store.folder


def labels(found):
    return sorted({point.label for point in found.summary.points})


@pytest.fixture
def results(tmp_path):
    """Two codecs, one in two variants, on images of two parts of a dataset."""
    rows = [
        row(codec, 10, image, variant=variant)
        for codec, variant in (("jpeg", ""), ("jpeg", "optimize=1"), ("webp", ""))
        for image in ("mobile/a", "mobile/b", "professional/c")
    ]
    stored(tmp_path, "set", rows)
    (tmp_path / "empty" / "per_image").mkdir(parents=True)
    return tmp_path


def test_datasets_are_those_with_rows(results):
    stored(results, "other", [row("jpeg", 10, "a")])
    assert datasets_with_results(results, "all") == ["other", "set"]
    assert datasets_with_results(results, "set:mobile") == ["set:mobile"]
    with pytest.raises(UnknownName, match=r"No results of a dataset or folder 'empty'.*other, set"):
        datasets_with_results(results, "empty")
    with pytest.raises(UsageError, match="holds no results: measure something with `bench run`"):
        datasets_with_results(results / "empty", "all")


def test_means_are_of_one_dataset(results):
    stored(results, "other", [row("jpeg", 10, "a")])
    with pytest.raises(UnknownName, match="No results of a dataset or folder 'all'"):
        read_results(results, "all", "all", ["psnr"])


def test_codecs_are_asked_for_by_name_or_by_label(results):
    of = {
        "all": ["jpeg", "jpeg:optimize=1", "webp"],
        "jpeg": ["jpeg", "jpeg:optimize=1"],
        "jpeg:optimize=1": ["jpeg:optimize=1"],
        "webp, jpeg:optimize=1": ["jpeg:optimize=1", "webp"],
    }
    for asked, expected in of.items():
        assert labels(read_results(results, "set", asked, ["psnr"])) == expected
    with pytest.raises(UnknownName, match="No codec with results 'avif'"):
        read_results(results, "set", "jpeg,avif", ["psnr"])


def test_a_codec_of_a_file_is_once_among_the_known_ones(results):
    mine = [row("./mine.py:Mine", 10, "a"), row("jpeg", 10, "a", variant="optimize=1")]
    stored(results, "other", mine)
    with pytest.raises(UnknownName, match=r"Known: jpeg, jpeg:optimize=1, mine\.py:Mine\.$"):
        read_results(results, "other", "avif", ["psnr"])


def test_a_part_of_a_dataset_has_its_images_and_a_report_of_its_own(results):
    whole, part = (read_results(results, name, "webp", ["psnr"]) for name in ("set", "set:mobile"))
    assert [found.summary.points[0].images for found in (whole, part)] == [3, 2]
    assert whole.folder == results / "set" / "report"
    assert part.folder == results / "set" / "report-mobile"
    assert sorted(set(part.table["image"].to_pylist())) == ["mobile/a", "mobile/b"]
    assert [record["machine"] for record in whole.runs] == ["a"]
    with pytest.raises(UsageError, match="has no rows of set:desktop: measure some"):
        read_results(results, "set:desktop", "all", ["psnr"])


def test_unless_asked_for_otherwise_every_row_counts_by_the_mean_of_the_images(tmp_path):
    sizes = {"a": 100, "b": 300}  # bytes; b has twice the pixels
    rows = [
        row("jpeg", 10, image, num_bytes=size, width_px=width, bpp=8 * size / (width * 80))
        for (image, size), width in zip(sizes.items(), (100, 200), strict=True)
    ]
    stored(tmp_path, "set", [*rows, row("webp", 10, "a")])

    def bpp(**options):
        (point,) = (
            point
            for point in read_results(tmp_path, "set", "all", ["psnr"], **options).summary.points
            if point.label == "jpeg"
        )
        return point.bpp, point.images

    each = [8 * 100 / 8000, 8 * 300 / 16000]
    assert bpp() == (pytest.approx(sum(each) / 2), 2)
    assert bpp(pooled=True) == (pytest.approx(8 * 400 / 24000), 2)
    assert bpp(common=True) == (pytest.approx(each[0]), 1)
    with pytest.raises(UsageError, match="has no verified rows: run the same with --verify"):
        bpp(verified_only=True)
