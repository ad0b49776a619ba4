"""Rows and streams on disk: whole or absent, merged by cell, readable whatever happened."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmark.errors import DamagedResults, StoreError
from benchmark.rows.codecs import folder_store_name
from benchmark.rows.reduce import Reductions
from benchmark.rows.shard import schema_of, write_shard
from benchmark.rows.store import DIGESTS, UNUSED_COLUMNS, Store, finished_rows, stores_below
from benchmark.rows.streams import FeatureFolder, ImageFeatures
from support.rows import measured
from support.rows.bundled_results import bundled_results


def row(cell="a", status="ok", **columns):
    base = {"cell": cell, "status": status, "finished_utc": "2026-01-01T00:00:00"}
    return measured.row("jpeg", 10, "a.png") | base | {"image_sha256": None, "bpp": 4.0} | columns


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results with späces" / "kodak")


def finished_cells(store):
    return {*finished_rows(store.read()[1])["cell"]}


def shards_of(store):
    return list(store.folder.glob("per_image/*.parquet"))


def test_what_is_appended_is_read_back_with_types_and_units(store):
    store.append([row(num_bytes=12, bpp=0.5, psnr_db=30.25, setting_value=10.0)])
    table = store.table()
    assert table.select("cell", "num_bytes", "bpp", "psnr_db").rows() == [("a", 12, 0.5, 30.25)]
    assert table.schema == schema_of()
    meanings = pl.read_parquet_metadata(*shards_of(store))
    assert meanings["encode_seconds"] == "s wall clock of the one call"
    assert "dataset" in meanings["image"]


def test_records_of_runs_are_read_oldest_first_and_damaged_ones_warned_of(store):
    store.write_record("2", {"z": Path("p"), "a": [1]})
    text = next(store.folder.glob("runs/*.json")).read_text()
    assert text == '{\n "a": [\n  1\n ],\n "z": "p"\n}'
    store.write_record("1", {"request": {"keep": False}})
    store.amend("1", {"rows": 3})
    store.write_record("3", {"request": {"keep": True}})
    store.write_record("4", {"request": ["keep"]})
    assert [record.get("rows") for record in store.records()] == [3, None, None, None]
    assert [store.keeps_streams(run) for run in "12345"] == [False, True, True, True, True]
    (store.folder / "runs" / "2.json").write_text("[]")
    with pytest.raises(StoreError, match=r"2\.json .*`array`"):
        store.record("2")
    assert store.keeps_streams("2")
    for content in ("[]", "{", "\xff", "[" * 100_000):
        (store.folder / "runs" / "2.json").write_text(content, encoding="latin-1")
        with pytest.warns(DamagedResults, match=r"2\.json"):
            assert len(store.records()) == 3
    assert [store.has_record(run) for run in ("1", "5", "../runs/1", "")] == [True, *[False] * 3]
    with pytest.raises(StoreError, match=r"run .*'\.\./1'"):
        store.record("../1")


def test_rows_that_come_with_the_project_stay_beside_those_measured_here(store):
    ours, vtm = {"codec": "ours", "variant": "beta=0"}, {"codec": "vtm", "variant": ""}
    rows = [row("a", bpp=0.5, **ours), row("b", bpp=0.25, **ours), row("v", **vtm)]
    shipped = store.write_bundled("checkpoints", measured.table(rows))
    assert finished_cells(store) == set(), "nothing was measured here"
    assert store.table()["recorded"].to_list() == [True] * 3
    content = shipped.read_bytes()
    store.append([row("a", bpp=0.75, **ours)])
    store.append([row("c", bpp=1.0, **{**ours, "variant": "beta=3.84"})])
    store.compact()
    assert shipped.read_bytes() == content
    assert finished_cells(store) == {"a", "c"}
    editions = [("a", 0.5, True), ("a", 0.75, None)]
    rows = sorted(store.table().select("cell", "bpp", "bundled").rows())
    assert rows == [*editions, ("b", 0.25, True), ("c", 1.0, None), ("v", 4.0, True)]


def test_rows_from_before_a_column_are_read_and_put_together_with_later_ones(store):
    store.append([row("old")])
    (shard,) = shards_of(store)
    older = shard.with_name(f"{'0' * 32}.parquet")
    pl.read_parquet(shard).drop("recorded", "reason", "psnr_db_protocol").write_parquet(older)
    shard.unlink()
    assert store.table()["recorded"].to_list() == [None]
    store.append([row("new", recorded=True)])
    assert finished_cells(store) == {"old", "new"}
    for _ in range(2):
        rows = {*store.table().select("cell", "recorded", "psnr_db_protocol").rows()}
        assert rows == {("old", None, None), ("new", True, "psnr-rgb8/1")}
        store.compact()


@pytest.mark.parametrize("builds", [1, 2])
def test_means_are_over_the_rows_of_the_table_in_narrow_types(store, builds):
    """Cells of one row, of two that agree or not, bundled; two shards."""
    codes = {"codec": "jpeg", "variant": "", "fingerprint": "f", "revision": 1}
    cells = [f"{number:064x}"[::-1] for number in range(1, 7)]
    rows = [row(cell, **codes, stream_sha256=cell, image=f"{cell[0]}.png") for cell in cells]
    rows[0] |= {"fingerprint": "f" if builds == 1 else "g"}
    bundled = [{**rows[4], "psnr_db": 30.0}, {**rows[5], "num_bytes": 9}]
    store.write_bundled("elsewhere", measured.table(bundled))
    store.append(rows[:3])
    store.append([{**rows[1], "status": "failed"}, rows[5]])
    table, means = store.table(), store.means_table()
    assert len(table) == 6
    compared_columns = [name for name in means.columns if name not in (*UNUSED_COLUMNS, *DIGESTS)]
    order = ["image", "bundled"]
    texts = means.select(compared_columns).cast({pl.Categorical: pl.String})
    assert texts.sort(order).equals(table.select(compared_columns).sort(order))
    for name in DIGESTS:  # equal numbers where the digests are equal, null where they are
        pairs = pl.DataFrame({"text": table.sort(order)[name], "number": means.sort(order)[name]})
        assert (pairs["text"].is_null() == pairs["number"].is_null()).all()
        kinds = pairs.unique().drop_nulls()
        assert kinds["text"].n_unique() == kinds["number"].n_unique() == len(kinds)


def test_compaction_leaves_one_shard_and_the_same_table(store):
    for cell in "cab":
        store.append([row(cell, num_bytes=ord(cell))])
    store.append([row("a", "failed")])
    expected = store.table().sort("cell")
    store.compact()
    assert store.table().sort("cell").equals(expected)
    assert len(shards_of(store)) == 1


def test_compaction_that_comes_out_as_one_of_its_shards_keeps_that_one(store):
    store.append([row("b"), row("a", finished_utc="2026-01-02")])
    (first,) = shards_of(store)
    store.append([row("a")])
    store.compact()
    assert shards_of(store) == [first], "the content is another"
    assert finished_cells(store) == {"a", "b"}


@pytest.mark.parametrize(("rows", "files"), [(50_000, 2), (49_999, 1)])
def test_shards_below_fifty_thousand_rows_are_small(store, monkeypatch, rows, files):
    monkeypatch.setattr("benchmark.rows.store._row_count", lambda path: rows)
    for cell in "ab":
        store.append([row(cell)])
    store.compact()
    assert len(shards_of(store)) == files


def test_a_shard_alone_beside_a_damaged_one_stays_as_it_is_and_that_is_set_aside(store):
    store.append([row("a")])
    (shard,) = shards_of(store)
    content = shard.read_bytes()
    names = [f"{'0' * 32}.parquet", f"{'1' * 64}.parquet", f"{'2' * 64}.parquet"]
    for name in (*names, "shipped-x.parquet"):
        shard.with_name(name).write_bytes(content if name == names[0] else b"damaged")
    shard.unlink()
    with pytest.warns(DamagedResults):
        store.compact()
    assert shard.with_name(names[0]).read_bytes() == content
    with pytest.warns(DamagedResults) as caught:
        assert store.table().height == 1
    remedies = sorted(str(warning.message).rpartition("; ")[2] for warning in caught)
    assert "bundled" in remedies[0]
    assert ["damaged/" in remedy for remedy in remedies] == [False, True, True]
    assert store.move_damaged_shards() == [store.folder / "damaged" / name for name in names[1:]]
    assert {path.name for path in shards_of(store)} == {names[0], "shipped-x.parquet"}
    shard.mkdir()
    with pytest.raises(StoreError, match=shard.name):
        store.table()


def test_images_count_with_bundled_ones_and_earlier_rows_of_a_picture_coded_again_do_not(store):
    store.write_bundled("x", measured.table([row("c", image_sha256="3" * 64)]))
    store.append([row("a", image_sha256="1" * 64)])
    recoded = measured.table([row("b"), row("d")]).with_columns(generation=pl.Series([None, 3]))
    write_shard(store.folder / "per_image", recoded)
    assert sorted(store.table()["cell"].to_list()) == ["a", "b", "c"]
    assert store.images() == {None, *(digit * 64 for digit in "13")}


def test_a_crash_before_compacted_shards_are_removed_loses_nothing(store, monkeypatch):
    store.append([row("a", num_bytes=1)])
    store.append([row("b", num_bytes=2)])

    def crash(path, missing_ok=False):
        if path.suffix == ".parquet":
            raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.unlink", crash)
    with pytest.raises(KeyboardInterrupt):
        store.compact()
    monkeypatch.undo()
    assert len(shards_of(store)) == 3
    assert sorted(store.table()["num_bytes"]) == [1, 2]


def test_runs_that_append_compact_and_read_at_once_lose_no_row(store):
    store.append([row("start")])

    def use(name):
        local_store = Store(store.folder)
        for number in range(4):
            local_store.append([row(f"{name}{number}")])
            local_store.compact()
            assert f"{name}{number}" in finished_cells(local_store)

    with ThreadPoolExecutor(3) as pool:
        assert [*pool.map(use, "xyz")] == [None] * 3
    assert len(finished_cells(store)) == 13


def test_a_stream_is_named_by_its_sha256_and_a_damaged_one_is_an_error_until_written_again(store):
    digest = store.keep(b"abc")
    assert digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180
    for damaged in (b"abd", b"ab"):
        (store.folder / "streams" / digest[:2] / digest).write_bytes(damaged)
        with pytest.raises(StoreError, match=digest):
            store.stream(digest)
        store.keep(b"abc")
        assert store.stream(digest) == b"abc"
    assert store.stream("0" * 64) is store.stream(None) is None
    path = store.folder / "streams" / digest[:2] / digest
    written = path.stat().st_ino
    store.keep(b"abc")
    assert path.stat().st_ino == written, "what is there is not written again"
    path.with_name(".draft").write_bytes(b"")
    assert list(store.streams()) == [path]
    assert [store.has_stream(digest, size) for size in (None, 3, 4)] == [True, True, False]
    for content in (b"abc", b"again"):
        path.write_bytes(content)
        moved_path = store.set_stream_aside(digest)
        assert moved_path == store.folder / "damaged" / digest
        assert (path.exists(), moved_path.read_bytes()) == (False, content)
    path.mkdir()
    with pytest.raises(StoreError, match=digest):
        store.stream(digest)


@pytest.mark.parametrize("part", ["features", "sets", "per_image", "runs", "streams", "damaged"])
def test_a_folder_that_is_a_link_to_elsewhere_gets_and_loses_nothing(store, tmp_path, part):
    features = FeatureFolder(store.folder)
    first, second = (ImageFeatures("space/1", f"{n:064x}", np.zeros((1, 2))) for n in (1, 2))
    features.keep(first)
    store.append([row("a")])
    store.write_record("1", {})
    digest = store.keep(b"abc")
    next(store.folder.rglob("*.npy")).write_bytes(b"damaged")
    for name in ("sets", "damaged"):
        (store.folder / name).mkdir()
    (store.folder / part).symlink_to((store.folder / part).rename(tmp_path / "elsewhere"))

    def content():
        return {p: p.is_file() and p.read_bytes() for p in tmp_path.rglob("elsewhere/**/*")}

    expected = content()
    for act in (
        lambda: features.read("space/1", f"{1:064x}"), lambda: features.keep(second),
        lambda: features.prune(0), lambda: store.set_stream_aside(digest),
        lambda: Reductions(store.folder).add([("key", "fid256", "fid/1", 1.0, None)]),
        lambda: store.append([row("b")]), lambda: store.write_record("2", {}),
        lambda: store.keep(b"abcd"),
    ):  # fmt: skip
        with suppress(StoreError):
            act()
    assert content() == expected


def test_a_row_of_a_stranger_leads_to_no_file_elsewhere(store, tmp_path):
    (tmp_path / "secret").write_text("of the user")
    for name in ("../../../secret", str(tmp_path / "secret"), "ab/../../secret"):
        assert not store.has_stream(name)
        with pytest.raises(StoreError, match="secret"):
            store.stream(name)


def test_the_folder_says_how_to_read_it_and_plain_readers_of_parquet_are_not_in_its_way(store):
    store.write_record("1", {})
    store.append([row("a"), row("b")])
    store.append([row("a", timing=True)])
    message = (store.folder / "README.md").read_text()
    assert "`benchmark.load`" in message
    assert pl.read_parquet(store.folder / "per_image").height == 3  # what the line warns of
    assert store.table().height == 2
    for bundled in ("kodak", "sample"):
        assert (bundled_results() / bundled / "README.md").read_text() == message


def test_results_belong_to_the_folder_that_shares_the_largest_part_of_their_images(tmp_path):
    def measure(name, images):
        rows = [row(f"{name}-{image}", image_sha256=f"{image:064x}") for image in images]
        Store(tmp_path / name).append(rows)

    def name_of(images):
        digests = [f"{image:064x}" for image in images]
        return folder_store_name("trip", digests, stores_below(tmp_path), [("a.png", 1)])

    measure("trip-00000a", range(50))
    measure("trip-00000b", range(3))
    measure("other-00000c", range(4))
    assert name_of(range(4)) == "trip-00000b", "3 of 4 are more than 4 of 50"
    assert name_of(range(40, 44)) == "trip-00000a", "all of the folder, few of the results"
    assert name_of([2, 97]) == "trip-00000b", "half of them"
    for name in "ed":
        measure(f"trip-00000{name}", range(900, 903))
    assert name_of([900]) == "trip-00000d", "the first of equal ones"
    new = name_of([*range(49, 52)])
    assert new not in ("trip-00000a", "trip-00000b"), "less than half"
    files = [("b.png", 2), ("a.png", 1)]
    names = [folder_store_name("trip", [], {}, order) for order in (files, files[::-1])]
    assert names[0] == names[1] != new
    measure(new, [5000])
    assert name_of([*range(49, 52)]) != new, "the same files were other images"
    assert list(stores_below(tmp_path)) == sorted(path.name for path in tmp_path.iterdir())
    (tmp_path / "a.py" / "per_image").mkdir(parents=True)
    assert "a.py" not in stores_below(tmp_path)


def test_a_cell_has_lost_its_stream_only_if_no_row_of_it_has_one(store):
    store.write_record("run-a", {})
    lost = {"run": "run-a", "stream_sha256": "0" * 64, "num_bytes": 6}
    kept = lost | {"stream_sha256": store.keep(b"stream"), "finished_utc": "2026-01-02T00:00:00"}
    store.write_record("run-b", {"request": {"keep": False}})
    rows = [row(cell, **lost) for cell in ("both", "gone", "other")]
    rows += [row("listed", run="run-a"), row("both", **kept)]
    store.append([*rows, *(row(f"{run}", **{**lost, "run": run}) for run in (None, "run-b"))])
    cells = ["both", "gone", "listed", "run-b", "None"]
    assert store.cells_without_stream(store.read()[1], cells) == {"gone", "None"}
    assert store.cells_without_stream(store.read()[1], cells, timed=True) == set()
