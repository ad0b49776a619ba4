"""Rows and streams on disk: whole or absent, merged by cell, readable whatever happened."""

import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from benchmark.errors import DamagedResults, StoreError
from benchmark.measure.outcome import Recorder
from benchmark.measure.workbench import Measured
from benchmark.registry import metric_class
from benchmark.rows.runs import folder_store_name
from benchmark.rows.schema import WHERE_READ, table_schema
from benchmark.rows.shard import to_parquet
from benchmark.rows.store import Store, stores_below

ROOT = Path(__file__).parents[2]


def row(cell="a", status="ok", **more):
    of = {"codec": "jpeg", "variant": "", "setting_name": "quality", "setting_value": 10.0}
    of |= {"image": "a.png", "width_px": 8, "height_px": 8, "num_bytes": 32, "bpp": 4.0}
    base = {"cell": cell, "status": status, "timing": False, "finished_utc": "2026-01-01T00:00:00"}
    return {**of, **base, **more}


def older(shard):
    """Return the path of a shard without a sha256 in its name, which takes the place of another."""
    shard.unlink()
    return shard.with_name(f"{'0' * 32}.parquet")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results with späces" / "kodak")


def test_what_is_appended_is_read_back_with_types_and_units(store):
    store.append([row(num_bytes=12, bpp=0.5, psnr_db=30.25, setting_value=10.0)])
    table = store.table()
    assert table.select(["cell", "num_bytes", "bpp", "psnr_db"]).to_pylist() == [
        {"cell": "a", "num_bytes": 12, "bpp": 0.5, "psnr_db": 30.25}
    ]
    assert table.schema.equals(table_schema())
    (shard,) = (store.folder / "per_image").glob("*.parquet")
    assert pq.read_schema(shard).field("encode_seconds").metadata[b"unit"] == b"s"


def test_a_record_that_is_a_list_is_damaged(store):
    store.begin("run", {})
    next(store.folder.glob("runs/*.json")).write_text("[]")
    with pytest.raises(StoreError, match=r"run\.json cannot be read: it is no record"):
        store.record("run")


def test_an_empty_store_has_no_rows_and_nothing_done(store):
    assert store.table().num_rows == 0
    assert store.read().done() == set()


def test_only_cells_without_failure_are_done(store):
    store.append([row("a"), row("b", "failed"), row("c", timing=True)])
    assert store.read().done() == {"a", "c"}
    assert store.read().done(timed=True) == {"c"}


def test_rows_that_come_with_the_project_stand_until_their_cell_is_measured_here(store):
    ours, vtm = {"codec": "ours", "variant": "beta=0"}, {"codec": "vtm", "variant": ""}
    store.append([row("a", bpp=0.5, **ours), row("b", bpp=0.25, **ours), row("v", **vtm)])
    shipped = store.ship("checkpoints", store.table())
    for own in (store.folder / "per_image").glob("[0-9a-f]*.parquet"):
        own.unlink()
    assert store.read().done() == set(), "nothing was measured here"
    assert {one["cell"]: one["recorded"] for one in store.table().to_pylist()} == {
        "a": True,
        "b": True,
        "v": True,
    }
    content = shipped.read_bytes()
    store.append([row("a", bpp=0.75, **ours)])
    store.append([row("c", bpp=1.0, **{**ours, "variant": "beta=3.84"})])
    store.compact()
    assert shipped.read_bytes() == content
    assert store.read().done() == {"a", "c"}
    shown = {one["cell"]: (one["bpp"], one["bundled"]) for one in store.table().to_pylist()}
    assert shown == {"a": (0.75, None), "b": (0.25, True), "c": (1.0, None), "v": (4.0, True)}


@pytest.mark.parametrize("change", [{"num_bytes": 7}, {"decoded_sha256": "e"}, None])
def test_bundled_rows_stay_beside_rows_that_came_out_otherwise_here(store, change):
    same = {"stream_sha256": "s", "decoded_sha256": "d", "codec": "ours", "fingerprint": "f"}
    same["revision"] = 1
    bundled = [row(cell, **same, variant=variant) for cell, variant in ("aw", "bw", "cx")]
    store.append([*bundled, row("g", **{**same, "fingerprint": "g"})])
    store.ship("checkpoints", store.table())
    for own in (store.folder / "per_image").glob("[0-9a-f]*.parquet"):
        own.unlink()
    failed = {"status": "failed", "stream_sha256": None, "decoded_sha256": None}
    store.append([row("a", **same, variant="w") | (change or failed)])
    rows = [(one["cell"], bool(one["bundled"])) for one in store.table().to_pylist()]
    assert sorted(rows) == [("a", False), ("a", True), ("b", True), ("c", True), ("g", True)]
    assert store.read().done() == ({"a"} if change else set())


def test_equal_streams_and_pixels_share_their_metrics_whatever_coded_them(store):
    same = {"stream_sha256": "s", "decoded_sha256": "d", "image_sha256": "i", "codec": "jpeg"}
    lpips = metric_class("lpips")
    known = {"lpips_alex": 0.25, "lpips_alex_protocol": lpips.protocol}
    bundled = row("a", **same, **known, variant="", fingerprint="theirs", revision=1)
    store.append([bundled])
    store.ship("field", store.table())
    for own in (store.folder / "per_image").glob("[0-9a-f]*.parquet"):
        own.unlink()
    here = {"variant": "", "fingerprint": "mine", "revision": 1, "lpips_alex_reason": "no weights"}
    store.append([row("b", **same, **here)])
    store.append([row("c", **{**same, "decoded_sha256": "e"}, **here)])
    store.append([row("d", **{**same, "stream_sha256": "t"}, **here)])
    found = {
        one["cell"]: (one["lpips_alex"], one["lpips_alex_protocol"], one["lpips_alex_reason"])
        for one in store.table().to_pylist()
    }
    without = (None, None, "no weights")
    assert found == {"a": found["b"], "b": (0.25, lpips.protocol, None), "c": without, "d": without}
    assert store.versions().filter(pc.is_valid(store.versions()["lpips_alex"])).num_rows == 0


PSNR = {"psnr_db": 30.0, "psnr_db_protocol": "psnr-rgb8/1"}
DAY_2 = {"finished_utc": "2026-01-02"}


@pytest.mark.parametrize(
    ("rows", "valid"),
    [
        (
            [
                row("a", "failed", reason="disk"),
                row("a", num_bytes=5, **DAY_2),
                row("a", "failed", finished_utc="2026-01-03"),
            ],
            {"status": "ok", "num_bytes": 5, "reason": None},
        ),
        (
            [
                row("a", encode_seconds=9.0, **DAY_2, **PSNR),
                row("a", timing=True, encode_seconds=1.0),
            ],
            {"encode_seconds": 1.0, "timing": True, "psnr_db": 30.0},
        ),
        ([row("a", **DAY_2, psnr_db=1.0, psnr_db_protocol="psnr/0"), row("a", **PSNR)], PSNR),
        (
            [row("a", encode_seconds=1.0), row("a", encode_seconds=9.0, recorded=True, **DAY_2)],
            {"encode_seconds": 1.0, "recorded": None},
        ),
    ],
    ids=["success", "timed, with the others' metrics", "present protocol", "coded here"],
)
def test_the_best_version_of_a_row_is_valid(store, rows, valid):
    for one in rows:
        store.append([one])
    (merged,) = store.table().to_pylist()
    assert {name: merged[name] for name in valid} == valid


def test_rows_from_before_a_column_are_read_and_put_together_with_later_ones(store):
    store.append([row("old", num_bytes=1, **PSNR)])
    (shard,) = (store.folder / "per_image").glob("*.parquet")
    lacking = ["recorded", "reason", "psnr_db_protocol"]
    pq.write_table(pq.ParquetFile(shard).read().drop(lacking), older(shard))
    assert store.table()["recorded"].to_pylist() == [None]
    store.append([row("new", recorded=True, **PSNR)])
    assert store.read().done() == {"old", "new"}
    for _ in range(2):
        rows = {
            r["cell"]: (r["recorded"], r["psnr_db_protocol"]) for r in store.table().to_pylist()
        }
        assert rows == {"old": (None, None), "new": (True, "psnr-rgb8/1")}
        store.compact()


def test_compaction_leaves_one_shard_and_the_same_table(store):
    for cell in "cab":
        store.append([row(cell, num_bytes=ord(cell))])
    store.append([row("a", "failed")])
    before = sorted(store.table().to_pylist(), key=lambda r: r["cell"])
    store.compact()
    assert sorted(store.table().to_pylist(), key=lambda r: r["cell"]) == before
    assert len(list((store.folder / "per_image").glob("*.parquet"))) == 1


@pytest.mark.skipif(
    int(pa.__version__.partition(".")[0]) > 25, reason="pyarrow 26 gives equal rows other bytes"
)
def test_compaction_that_comes_out_as_one_of_its_shards_keeps_that_one(store):
    store.append([row("a", finished_utc="2026-01-02"), row("b")])
    (first,) = store.folder.glob("per_image/*.parquet")
    store.append([row("a")])
    store.compact()
    assert list(store.folder.glob("per_image/*.parquet")) == [first], "the content is another"
    assert store.read().done() == {"a", "b"}


def test_a_crash_between_the_compacted_shard_and_the_removal_of_the_small_ones_loses_nothing(
    store, monkeypatch
):
    store.append([row("a", num_bytes=1)])
    store.append([row("b", num_bytes=2)])

    def crash(path, missing_ok=False):
        if path.suffix == ".parquet":
            raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.unlink", crash)
    with pytest.raises(KeyboardInterrupt):
        store.compact()
    monkeypatch.undo()
    assert len(list((store.folder / "per_image").glob("*.parquet"))) == 3
    assert sorted(r["num_bytes"] for r in store.table().to_pylist()) == [1, 2]


def test_runs_that_append_compact_and_read_at_once_lose_no_row(store):
    store.append([row("start")])
    problems = []

    def use(name):
        mine = Store(store.folder)
        try:
            for number in range(12):
                mine.append([row(f"{name}{number}")])
                mine.compact()
                assert f"{name}{number}" in mine.read().done()
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=use, args=(name,)) for name in "xyz"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(store.read().done()) == 37


def test_a_stream_is_named_by_its_sha256_and_a_damaged_one_is_an_error_until_written_again(store):
    digest = store.keep(b"abc")
    assert digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180
    for damaged in (b"abd", b"ab"):
        (store.folder / "streams" / digest[:2] / digest).write_bytes(damaged)
        with pytest.raises(StoreError, match=digest):
            store.stream(digest)
        store.keep(b"abc")
        assert store.stream(digest) == b"abc"
    assert store.stream("0" * 64) is None
    assert store.stream(None) is None


def test_slow_rows_are_written_at_once_and_fast_ones_soon(store):
    now = [0.0]
    recorder = Recorder(store, keep_streams=True, clock=lambda: now[0])
    recorder.add(Measured(row("fast"), b"bytes"))
    assert store.read().done() == set()
    now[0] = 4.9
    recorder.tick()
    assert store.read().done() == {"fast"}
    recorder.add(Measured(row("slow", encode_seconds=0.9, decode_seconds=0.2), None))
    assert store.read().done() == {"fast", "slow"}


def test_a_long_run_of_slow_rows_never_leaves_a_shard_for_each(store, monkeypatch):
    monkeypatch.setattr("benchmark.measure.outcome.MANY_SHARDS", 5)
    recorder = Recorder(store, keep_streams=True)
    for number in range(12):
        recorder.add(
            Measured(row(f"slow{number:02d}", encode_seconds=2.0, decode_seconds=0.1), None)
        )
    assert len(list((store.folder / "per_image").glob("*.parquet"))) == 1 + 2
    assert len(store.read().done()) == 12


def test_a_row_of_a_stranger_leads_to_no_file_elsewhere(store, tmp_path):
    (tmp_path / "secret").write_text("of the user")
    for name in ("../../../secret", str(tmp_path / "secret"), "ab/../../secret"):
        assert not store.has_stream(name)
        with pytest.raises(StoreError, match="has a row whose stream is called"):
            store.stream(name)


def test_streams_are_on_disk_before_their_row_and_only_if_wanted(store):
    for keep, stream in ((True, b"kept"), (False, b"dropped")):
        recorder = Recorder(store, keep_streams=keep)
        recorder.add(Measured(row(), stream))
        recorder.close()
    kept = [path.read_bytes() for path in (store.folder / "streams").rglob("*") if path.is_file()]
    assert kept == [b"kept"]


def test_the_folder_says_how_to_read_it_and_plain_readers_of_parquet_are_not_in_its_way(store):
    store.begin("1", {})
    store.append([row("a"), row("b")])
    store.append([row("a", timing=True)])
    said = (store.folder / "README.md").read_text()
    assert "`benchmark.load`" in said
    assert said.count("\n") == 1
    assert pq.read_table(store.folder / "per_image").num_rows == 3  # what the line warns of
    assert store.table().num_rows == 2
    for bundled in ("kodak", "sample"):
        assert (ROOT / "results" / bundled / "README.md").read_text() == said


@pytest.mark.parametrize(
    ("column", "values", "why"),
    [
        ("width_px", [1, 2, -(1 << 63)], r"'width_px' beyond 2\^53"),  # averaged as floats
        ("height_px", [1, 0, 2], "'height_px' beyond .* or below 1"),
        ("setting_value", [1.0, None, 2.0], "without a value of 'setting_value'"),
        ("setting_value", [1.0, 2.0, float("inf")], "'setting_value' that are no numbers"),
        ("psnr_db", [1.0, float("nan"), None], "'psnr_db' that are no numbers"),
        ("decode_seconds", [1.0, -1.0, None], "'decode_seconds' that are no numbers"),
        ("bpp", [1.0, None, 2.0], "measured rows without a value of 'bpp'"),
        ("image", ["a.png", "b.png", "./"], "images without a name"),
    ],
)
def test_a_shard_with_a_value_that_no_run_writes_is_left_out(tmp_path, column, values, why):
    store = Store(tmp_path / "kodak")
    rows = Store(ROOT / "results" / "kodak").versions(True).slice(0, 3)
    none = pa.array([0.0] * 3)  # seconds that a clock did not see
    store.add(rows.drop_columns(["encode_seconds"]).append_column("encode_seconds", none))
    at = rows.schema.get_field_index(column)
    odd = rows.set_column(at, rows.schema.field(column), pa.array(values))
    foreign = store.folder / "per_image" / "foreign.parquet"
    foreign.write_bytes(to_parquet(odd.drop_columns(list(WHERE_READ))))
    with pytest.warns(DamagedResults, match=rf"foreign\.parquet .*{why}"):
        assert store.table().num_rows == 3


def test_results_belong_to_the_folder_that_shares_the_largest_part_of_their_images(tmp_path):
    def measure(name, images):
        rows = [row(f"{name}-{one}", image_sha256=f"{one:064x}") for one in images]
        Store(tmp_path / name).append(rows)

    def name_of(images):
        digests = [f"{one:064x}" for one in images]
        return folder_store_name("trip", digests, stores_below(tmp_path), [("a.png", 1)])

    measure("trip-00000a", range(50))
    measure("trip-00000b", range(3))
    measure("other-00000c", range(4))
    assert name_of(range(4)) == "trip-00000b", "3 of 4 are more than 4 of 50"
    assert name_of(range(40, 44)) == "trip-00000a", "all of the folder, few of the results"
    assert name_of([*range(49, 52)]) not in ("trip-00000a", "trip-00000b"), "less than half"


def test_a_cell_has_lost_its_stream_only_if_no_row_of_it_has_one(store):
    store.begin("run-a", {})
    digest = store.keep(b"stream")
    lost = {"run": "run-a", "stream_sha256": "0" * 64, "num_bytes": 6}
    kept = {"run": "run-a", "stream_sha256": digest, "num_bytes": 6}
    store.append([row("both", **lost), row("gone", **lost)])
    store.append([row("both", **kept, finished_utc="2026-01-02T00:00:00")])
    assert store.read().without_stream(store, ["both", "gone"]) == {"gone"}
