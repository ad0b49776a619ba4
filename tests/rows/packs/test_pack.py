"""Anchor packs: their export, import and contents, never as timed rows, and the commands."""

import io
import json
import shutil
import tarfile
from functools import partial
from hashlib import sha256
from unittest.mock import patch

import polars as pl
import pytest
from PIL import Image

from benchmark.errors import StoreError, UsageError
from benchmark.measure.cells import Failed
from benchmark.measure.pictures import Pictures, read_declared
from benchmark.rows.codecs import NamedCodecs
from benchmark.rows.means import summarise
from benchmark.rows.packs.contents import dataset_contents, export_pack, import_pack, name_of
from benchmark.rows.packs.pack import open_pack
from benchmark.rows.store import Store, finished_rows
from benchmark.spec import CodecSpec
from benchmark.system.digest import pixels_sha256
from support.bench.command import bench
from support.packs.honest_pack import HONEST, NOTES
from support.packs.pictures import measure_declared, pictures_of


def test_a_pack_is_read_without_this_project_and_equal_for_equal_rows(measured_store, tmp_path):
    path, equal_pack = tmp_path / "anchor.tar", tmp_path / "equal" / "anchor.tar"
    equal_pack.parent.mkdir()
    for place in (path, equal_pack):
        export_pack(place, [measured_store], [HONEST], NOTES)
    assert equal_pack.read_bytes() == path.read_bytes()
    with tarfile.open(path) as tar:
        content = tar.extractfile("anchor/rows.parquet").read()
        names = [name for name in tar.getnames() if name.startswith("anchor/streams/")]
        streams = {name.rpartition("/")[2]: tar.extractfile(name).read() for name in names}
    assert all(sha256(data).hexdigest() == name for name, data in streams.items())
    metadata = json.loads(pl.read_parquet_metadata(io.BytesIO(content))["pack"])
    assert metadata == {"notes": ["made for a test"], "licences": {HONEST.text: "MIT"}}
    rows = pl.read_parquet(content).rows(named=True)
    assert len(rows) == len(streams) == 6
    for row in rows:
        data = streams[row["stream_sha256"]]
        assert len(data) == row["num_bytes"]
        assert row["bpp"] == 8 * len(data) / (row["width_px"] * 30)
        assert (row["encode_seconds"], row["command"]) == (123.0, "encode({step})")


@pytest.mark.parametrize("fixture", ["pack_path", "folder_pack"])
def test_imported_rows_are_the_exported_ones(fixture, measured_store, tmp_path, request):
    store, pack_path = Store(tmp_path / "photos"), request.getfixturevalue(fixture)
    (result,) = import_pack(open_pack(pack_path), tmp_path)
    assert (result.dataset, result.rows, result.streams) == ("photos", 6, 6)
    exported_rows = {row["cell"]: row for row in measured_store.table().rows(named=True)}
    imported_rows = {row["cell"]: row for row in store.table().rows(named=True)}
    assert imported_rows.keys() == exported_rows.keys()
    for cell, row in imported_rows.items():
        changed = {name for name in row if row[name] != exported_rows[cell][name]}
        assert changed == {"recorded", "run"}
        assert store.stream(row["stream_sha256"]) == measured_store.stream(row["stream_sha256"])
    (repeat,) = import_pack(open_pack(pack_path), tmp_path)
    assert (repeat.rows, repeat.streams, repeat.runs, repeat.conflicts) == (0, 0, 0, ())
    (run,) = {row["run"] for row in imported_rows.values()}
    assert store.record(run)["notes"] == ["made for a test"]
    second_pack = tmp_path / "again.tar"
    export_pack(second_pack, [store], [HONEST], NOTES)
    first, second = open_pack(pack_path), open_pack(second_pack)
    assert (first.rows, first.infos) == (second.rows, second.infos)


def test_an_imported_timed_row_is_no_timed_row_here(measured_store, tmp_path):
    store = Store(shutil.copytree(measured_store.folder, tmp_path / "photos"))
    store.append([row | {"timing": True} for row in store.table().rows(named=True)])
    export_pack(tmp_path / "timed.tar", [store], [HONEST], ())
    import_pack(open_pack(tmp_path / "timed.tar"), tmp_path / "other")
    imported = Store(tmp_path / "other" / "photos")
    assert len(imported.finished_cells()) == 6
    assert finished_rows(imported.read()[1], timed=True).is_empty()
    means = [point.means for point in summarise(imported.table()).points]
    for name in ("encode_seconds", "decode_seconds", "encode_seconds_per_megapixel"):
        assert {mean[name].value for mean in means} == {None}


def test_a_stream_that_was_not_kept_cannot_be_exported(measured_store, tmp_path):
    store = Store(tmp_path / "photos")
    store.append(measured_store.table().rows(named=True)[:1])
    with pytest.raises(UsageError, match=r"[01]\.png .*photos"):
        export_pack(tmp_path / "x.tar", [store], [HONEST], ())
    with pytest.raises(UsageError, match=r"photos .* jpeg"):
        export_pack(tmp_path / "x.tar", [measured_store], [HONEST, CodecSpec("jpeg", ())], ())
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
    rows = measured_store.table().rows(named=True)
    store.keep(*(measured_store.stream(row["stream_sha256"]) for row in rows))
    store.append(rows[1:])
    later = {"codec_version": "2", "run": "3", "finished_utc": "2100-01-01T00:00:00.000+00:00"}
    store.append([{**rows[0], **later}])
    with pytest.raises(UsageError, match=rf"`bench run --dataset photos .*{HONEST.text}"):
        export_pack(tmp_path / "x.tar", [store], [HONEST], ())


def test_pictures_are_files_of_scored_pixels(declared_results, picture_pack, photos, tmp_path):
    rows = pl.read_parquet(picture_pack / "rows.parquet").rows(named=True)
    assert {row["bytes_origin"] for row in rows} == {"declared"}
    assert sorted(path.name for path in picture_pack.iterdir()) == ["pictures", "rows.parquet"]
    for row in rows:
        with Image.open(picture_pack / "pictures" / f"{row['decoded_sha256']}.png") as image:
            assert sha256(image.convert("RGB").tobytes()).hexdigest() == row["decoded_sha256"]
            assert image.size == (row["width_px"], row["height_px"])
    (result,) = import_pack(open_pack(picture_pack), tmp_path / "r")
    assert (result.rows, result.streams, result.pictures) == (8, 0, 8)
    (result,) = import_pack(open_pack(picture_pack), tmp_path / "r")
    assert (result.rows, result.pictures, result.damaged) == (0, 0, ())
    words = ("--codecs", declared_results[1].text, "--dataset", photos, "--pack", picture_pack)
    run = bench("run", *words, "--results", tmp_path / "r", code=2)
    assert f"`bench pack import {picture_pack}`" in run.stderr, "no pictures in place of streams"
    store = Store(tmp_path / "r" / "photos")
    assert {*store.table()["recorded"]} == {True}
    assert export_pack(tmp_path / "again", [store], [declared_results[1]], NOTES)[:2] == (0, 8)
    for path in picture_pack.rglob("pictures/*.png"):
        assert (tmp_path / "again" / "pictures" / path.name).read_bytes() == path.read_bytes()


def test_a_picture_of_two_datasets_is_in_a_pack_once(declared_results, photos, tmp_path):
    results, spec = declared_results
    other_store, altered = Store(tmp_path / "r" / "others"), tmp_path / "altered"
    altered.mkdir()
    for photo in photos.iterdir():
        with Image.open(photo) as image:
            image.point(lambda value: value ^ 1).save(altered / photo.name)
    measure_declared(other_store, altered, spec.text, "others")
    stores, read = [Store(results / "photos"), other_store], partial(read_declared, spec.text)
    exported = export_pack(tmp_path / "p.tar", stores, [spec], NOTES, read)
    pack = open_pack(tmp_path / "p.tar")
    assert (exported.num_pictures, len({*map(name_of, pack.rows.values())})) == (16, 2)
    with tarfile.open(tmp_path / "p.tar") as tar:
        assert len(tar.getnames()) == 1 + 8
    for name in ("photos", "others"):
        assert {*dataset_contents(tmp_path / "none", name, [pack]).table["dataset"]} == {name}


def test_pictures_of_a_pack_next_to_the_results_come_before_those_of_their_folder(picture_pack):
    contents = dataset_contents(picture_pack / "none", "photos", [open_pack(picture_pack)])
    rows = contents.table.rows(named=True)
    pictures = Pictures(contents, NamedCodecs())
    assert {(pictures.absence_reason(row), contents.stream(row)) for row in rows} == {("", None)}
    decoded = dict(filter(None, pictures.decode_rows(rows, "cpu", 1)))
    digests = [pixels_sha256(decoded[index]) for index in range(len(rows))]
    assert digests == [row["decoded_sha256"] for row in rows]
    (picture_pack / "pictures" / f"{rows[0]['decoded_sha256']}.png").unlink()
    decoded = dict(filter(None, pictures.decode_rows(rows, "cpu", 1)))
    assert [index for index, picture in decoded.items() if isinstance(picture, Failed)] == [0]


def test_a_picture_that_has_changed_since_it_was_scored_is_in_no_pack(photos, tmp_path):
    spec = pictures_of(photos, tmp_path / "pictures")
    stored = measure_declared(Store(tmp_path / "r" / "photos"), photos, spec)
    words = ("pack", "export", tmp_path / "p.tar", "--codecs", spec, "--results", tmp_path / "r")
    for name in ("0", "1"):
        shutil.copy(tmp_path / "pictures/3" / f"{name}.png", tmp_path / "pictures/5")
    assert "setting=5 of " in bench(*words, code=2).stderr
    shutil.rmtree(tmp_path / "pictures")
    assert "pictures" in bench(*words, code=2).stderr
    assert not (tmp_path / "p.tar").exists()
    with pytest.raises(UsageError, match="kept"):
        export_pack(tmp_path / "p.tar", [Store(tmp_path / "r" / "photos")], [stored], ())


def test_bundled_rows_without_streams_are_left_out_and_counted(measured_store, tmp_path):
    results, out = tmp_path / "results", tmp_path / "x.tar"
    shutil.copytree(measured_store.folder, results / "photos")
    Store(results / "kodak").write_bundled("field", measured_store.table().slice(0, 4))
    words = ("pack", "export", out, "--codecs", HONEST.text, "--results", results)
    nothing = bench(*words, "--dataset", "kodak", code=2)
    assert all(word in nothing.stderr for word in ("4 bundled", " kodak"))
    assert f"`bench run --codecs {HONEST.text} --dataset kodak`" in nothing.stderr
    assert not out.exists()
    result = bench(*words, "--dataset", "all", code=0)
    assert result.stdout.startswith(f"{out}: 6 streams\n4 bundled rows of kodak ")
    assert {row["dataset"] for row in open_pack(out).rows.values()} == {"photos"}


@pytest.mark.parametrize("name", ["y.tar", "y"])
def test_a_pack_that_cannot_be_finished_leaves_nothing(name, measured_store, tmp_path):
    full = patch("os.replace", side_effect=OSError(28, "full"))
    with full, pytest.raises(StoreError, match=f"{name} .*full"):
        export_pack(tmp_path / name, [measured_store], [HONEST], ())
    assert list(tmp_path.iterdir()) == []


def test_the_commands_turn_a_run_into_a_pack_and_back(photos, tmp_path):
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    run = ["run", "--dataset", photos, "--metrics", "psnr", "--no-table", "--codecs", HONEST.text]
    bench(*run, "--results", first, code=0)
    pack = tmp_path / "honest.tar"
    result = bench("pack", "export", pack, "--codecs", HONEST.text, "--results", first, code=0)
    assert result.stdout == f"{pack}: 6 streams\n"
    result = bench(*run, "--results", second, "--pack", pack, code=0)
    assert f"{HONEST.text}: streams of 1 from {pack}" in result.stdout
    result = bench("pack", "import", pack, "--results", third)
    assert result.stdout.splitlines()[1].split()[1:4] == ["6", "6", "1"]
    tables = [Store(next(results.iterdir())).table() for results in (second, third)]
    assert [{*table["recorded"]} for table in tables] == [{True}] * 2
    values = [dict(table.select("cell", "psnr_db").rows()) for table in tables]
    assert values[0] == values[1]
