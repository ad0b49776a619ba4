"""Results of several machines merged into one folder, with every conflict reported."""

import json
import os
import re
import shlex
import shutil
import warnings
from contextlib import suppress
from hashlib import sha256

import numpy as np
import pytest

from benchmark.errors import DamagedResults, UsageError
from benchmark.rows.intact import verify_results
from benchmark.rows.packs.contents import import_pack
from benchmark.rows.packs.merge import merge_folders
from benchmark.rows.packs.pack import open_pack
from benchmark.rows.reduce import Reductions
from benchmark.rows.store import Store
from benchmark.rows.streams import FeatureFolder, ImageFeatures
from benchmark.system.digest import pixels_sha256
from support.bench.command import output_of
from support.rows.measured import failed, row, table

LATER = "2025-01-02T00:00:00.000+00:00"


def cell(quality, image, data=None, **changes):
    """A row and its stream, which differ between cells unless given."""
    stream = data or f"stream {quality} {image}".encode()
    digests = (sha256(content).hexdigest() for content in (stream, b"decoded " + stream))
    columns = dict(zip(("stream_sha256", "decoded_sha256"), digests, strict=True))
    return row("jpeg", quality, image, **{"num_bytes": len(stream), **columns, **changes}), stream


def machine(results, cells, run, dataset="kodak"):
    store = Store(results / dataset)
    store.write_record(run, {"machine": run})
    for record, stream in cells:
        store.keep(stream)
        store.append([{**record, "run": run, "machine": f"machine of {run}"}])
    return results


def merge(into, *folders):
    return list(merge_folders(folders, into))


def rows(results, dataset="kodak"):
    return Store(results / dataset).table().sort("cell").rows(named=True)


CELLS = [cell(quality, image) for quality in (10, 20) for image in "abc"]


@pytest.fixture
def machines(tmp_path):
    """Two machines with a part each, and one with everything."""
    first = machine(tmp_path / "first", CELLS[:4], "run-a")
    second = machine(tmp_path / "second", CELLS[3:], "run-b")
    return first, second, machine(tmp_path / "whole", CELLS, "run-w")


def without_place(records):
    return [{k: v for k, v in record.items() if k not in ("run", "machine")} for record in records]


def test_two_halves_are_the_whole_in_any_order_and_merge_once(machines, tmp_path):
    first, second, whole_results = machines
    into = tmp_path / "into"
    (result,) = merge(into, first, second)
    assert (result.dataset, result.rows, result.streams, result.runs) == ("kodak", 6, 6, 2)
    assert (result.conflicts, result.damaged) == ((), ())
    merge(tmp_path / "other", second)
    merge(tmp_path / "other", first)
    for results in (into, tmp_path / "other"):
        assert without_place(rows(results)) == without_place(rows(whole_results))
    stores = Store(into / "kodak"), Store(whole_results / "kodak")
    merged_streams, whole_streams = ({path.name for path in store.streams()} for store in stores)
    assert merged_streams == whole_streams
    assert Store(into / "kodak").record("run-b") == {"machine": "run-b"}
    files = {path: path.read_bytes() for path in into.rglob("*") if path.is_file()}
    (second_merge,) = merge(into, second, first)
    assert second_merge[1:6] == (0, 0, 0, 0, 0)
    assert {path: path.read_bytes() for path in into.rglob("*") if path.is_file()} == files


def test_into_a_folder_that_is_in_use_only_what_is_new_is_added(machines):
    first, second, whole_results = machines
    (result,) = merge(first, second)
    assert (result.rows, result.streams, result.runs) == (2, 2, 1)
    assert without_place(rows(first)) == without_place(rows(whole_results))
    assert len(list(first.glob("kodak/per_image/*"))) == 1, "the shards are combined"
    shared = CELLS[3][0]["cell"]
    assert next(record["run"] for record in rows(first) if record["cell"] == shared) == "run-a"


DIFFERENT = {
    "bytes": cell(10, "a", data=b"other bytes of another length")[0],
    "pixels": cell(10, "a", decoded_sha256="d" * 64, psnr_db=9.0)[0],
    "value": cell(10, "a", psnr_db=9.0)[0],
    "size": cell(10, "a", num_bytes=1)[0],
    "stream": cell(10, "a", stream_sha256="5" * 64, decoded_sha256=None, psnr_db=9.0)[0],
}


@pytest.mark.parametrize(
    ("change", "in_target"), [*((name, False) for name in DIFFERENT), ("bytes", True)]
)
def test_two_results_of_a_cell_are_named_and_the_first_stays(tmp_path, change, in_target):
    changed_record = DIFFERENT[change]
    first = machine(tmp_path / "first", [cell(10, "a")], "run-a")
    (expected,) = rows(first)
    changed = {**changed_record, "finished_utc": LATER, "timing": True}, b"other"
    second = machine(tmp_path / "second", [changed, cell(20, "a")], "run-b")
    into, folders = (first, [second]) if in_target else (tmp_path / "into", [first, second])
    for _ in range(2):
        (result,) = merge(into, *folders)
        (sentence,) = result.conflicts
        assert sentence.startswith("jpeg quality=10 a: ")
        for record, run in ((cell(10, "a")[0], "run-a"), (changed_record, "run-b")):
            pixels = record["decoded_sha256"][:8] if record["decoded_sha256"] else "unknown pixels"
            stream = f"{record['num_bytes']} bytes ({record['stream_sha256'][:8]})"
            text = f"{stream}, decoded to {pixels} with {record['psnr_db']:.4f} dB, in "
            assert re.search(f"{re.escape(text)}[^;]*run {run}, machine of {run}", sentence)
        valid_row, other_row = rows(into)
        assert valid_row == expected
        assert other_row["run"] == "run-b", "the other cells are merged all the same"
    assert len(list(Store(into / "kodak").streams())) == 3, "both streams are kept"


def test_rounding_failures_seconds_and_absent_metrics_are_no_conflict(tmp_path):
    """The later of rounded pixels, a success and the row with more metrics win."""
    later = {"finished_utc": LATER}
    exact, (success, stream), (full, full_stream) = (cell(quality, "a") for quality in (10, 20, 30))
    bare = {key: value for key, value in full.items() if not key.startswith("lpips_alex")}
    first = machine(tmp_path / "first", [exact, (bare, full_stream)], "run-a")
    Store(first / "kodak").append([failed("jpeg", 20, "a", "worker", "lost") | later])
    changes = {"decoded_sha256": "d" * 64, "psnr_db": exact[0]["psnr_db"] + 1e-5} | later
    slower = success | {"encode_seconds": 9.0}, stream
    cells = [(exact[0] | changes, exact[1]), slower, (full, full_stream)]
    second = machine(tmp_path / "second", cells, "run-b")
    assert [row["lpips_alex"] is None for row in rows(first)] == [False, True, True]
    (result,) = merge(first, second)
    assert (result.conflicts, result.rows) == ((), 3)
    merged = rows(first)
    assert (merged[0]["run"], [row["status"] for row in merged]) == ("run-b", ["ok"] * 3)
    assert merged[2]["lpips_alex"] == full["lpips_alex"]
    assert merge(first, second)[0].rows == 0


def test_a_conflict_within_one_folder_is_reported_and_its_valid_row_stays(tmp_path):
    changed = cell(10, "a", data=b"other", finished_utc=LATER)
    first = machine(tmp_path / "first", [cell(10, "a"), changed], "run-a")
    (result,) = merge(tmp_path / "into", first)
    assert len(result.conflicts) == 1
    for results in (first, tmp_path / "into"):
        assert [row["stream_sha256"] for row in rows(results)] == [changed[0]["stream_sha256"]]


def test_datasets_and_conflicts_come_in_order_and_other_folders_are_no_datasets(tmp_path):
    first = machine(tmp_path / "first", CELLS, "run-a")
    other_cells = [cell(quality, image, b"other") for quality in (10, 20) for image in "abc"]
    second = machine(tmp_path / "second", other_cells, "run-b")
    for name in ("clic", ".kodak", "kodak.py"):
        machine(second, CELLS[:1], "run-b", name)
    (second / "empty").mkdir()
    clic, kodak = merge(tmp_path / "into", first, second)
    assert (clic.dataset, kodak.dataset) == ("clic", "kodak")
    assert list(kodak.conflicts) == sorted(kodak.conflicts)
    assert len(kodak.conflicts) == 6


def test_rows_that_bench_would_not_write_are_left_out_and_counted(tmp_path):
    declared = cell(30, "a", num_bytes=9, stream_sha256=None, decoded_sha256=None)[0], b""
    machine(tmp_path / "first", [declared], "run-a")
    odd = (
        {"run": "../run"}, {"run": None}, {"stream_sha256": "5" * 63}, {"image_sha256": "A" * 64},
        {"decoded_sha256": "../x"}, {"variant": "quality"}, {"codec": ""},
    )  # fmt: skip
    store = Store(tmp_path / "first" / "kodak")
    sound_rows = [cell(number, "b", run="run-a")[0] for number in range(len(odd))]
    store.append([row | change for row, change in zip(sound_rows, odd, strict=True)])
    (result,) = merge(tmp_path / "into", tmp_path / "first")
    (message,) = result.damaged
    assert message.startswith(f"{store.folder}: 7 rows ")
    assert [record["setting_value"] for record in rows(tmp_path / "into")] == [30]


def test_a_damaged_stream_is_left_out_and_reported_until_a_whole_one_comes(machines, tmp_path):
    first, second, whole_results = machines
    shutil.rmtree(second)
    victim = next(Store(first / "kodak").streams())
    victim.write_bytes(b"damaged")
    (result,) = merge(tmp_path / "into", first)
    assert [text.split()[0] for text in result.damaged] == [f"{victim}"]
    into = Store(tmp_path / "into" / "kodak")
    assert not into.has_stream(victim.name)
    assert not into.has_stream(sha256(b"damaged").hexdigest()), "nor by another name"
    assert result.streams == len(list(into.streams()))
    merge(tmp_path / "into", whole_results)
    assert Store(tmp_path / "into" / "kodak").stream(victim.name)


def test_pictures_are_copied_and_damaged_ones_left_out(picture_pack, declared_results, tmp_path):
    import_pack(open_pack(picture_pack), tmp_path / "first")
    victim, other_picture, *_ = sorted(Store(tmp_path / "first" / "photos").pictures())
    victim.write_bytes(other_picture.read_bytes()[:-1] + b"?")
    (result,) = merge(tmp_path / "into", tmp_path / "first")
    assert [text.split()[0] for text in result.damaged] == [f"{victim}"]
    into = Store(tmp_path / "into" / "photos")
    assert (result.pictures, into.has_picture(victim.stem)) == (7, False)
    damaged = [finding.path for finding in next(verify_results(tmp_path / "first")).findings]
    assert damaged == [str(victim)]
    import_pack(open_pack(picture_pack), tmp_path / "into")
    assert pixels_sha256(into.picture(victim.stem)) == victim.stem


def test_bundled_rows_of_two_versions_are_a_conflict_and_the_first_stand(tmp_path):
    first, _ = (
        Store(tmp_path / name / "kodak").write_bundled("x", table([cell(10, "a", run=name)[0]]))
        for name in "ab"
    )
    content = first.read_bytes()
    (result,) = merge(tmp_path / "a", tmp_path / "b")
    assert any(first.name in text and "versions" in text for text in result.conflicts)
    assert first.read_bytes() == content


def test_features_and_bundled_rows_are_merged_and_differing_records_conflict(machines, tmp_path):
    first, second, _ = machines
    store = Store(second / "kodak")
    store.write_record("run-a", {"machine": "another"})
    Store(first / "kodak").write_bundled("checkpoints", store.table())
    features = ImageFeatures("squeeze256/1", "ab" * 32, np.ones((2, 3), np.float32))
    FeatureFolder(store.folder).keep(features)
    Reductions(store.folder).add([("key", "fd", "fd/1", 1.5, [0.25])])
    (result,) = merge(tmp_path / "into", first, second)
    assert (result.features, result.reductions) == (1, 1)
    (sentence,) = result.conflicts
    assert "runs/run-a.json " in sentence
    into = Store(tmp_path / "into" / "kodak")
    assert into.record("run-a") == {"machine": "run-a"}
    assert FeatureFolder(into.folder).read("squeeze256/1", "ab" * 32).tolist() == [[1, 1, 1]] * 2
    reduction = Reductions(into.folder).get("key")
    assert (reduction.value, reduction.influence.tolist()) == (1.5, [0.25])
    assert (into.folder / "features" / "CACHEDIR.TAG").exists()
    assert into.versions(bundled=True).height == 3
    assert len(into.finished_cells()) == 6, "bundled rows never count as finished"


def test_an_interrupted_merge_is_repeated_and_ends_the_same(tmp_path, monkeypatch):
    """It is interrupted before each of its files is moved into place, one after another."""
    first, second, whole_results = (
        machine(tmp_path / run, cells, f"run-{run}")
        for run, cells in {"a": CELLS[:1], "b": CELLS[:2], "whole": CELLS[:2]}.items()
    )
    original_replace, into = os.replace, tmp_path / "into"
    for limit in range(40):
        remaining = [limit]

        def replace(draft, path, remaining=remaining):
            if not remaining[0]:
                raise KeyboardInterrupt
            remaining[0] -= 1
            original_replace(draft, path)

        shutil.rmtree(into, ignore_errors=True)
        interrupted = True
        with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
            patch.setattr(os, "replace", replace)
            merge(into, first, second)
            interrupted = False
        assert not list(into.rglob(".*.part")), "a draft was left"
        for record in rows(into):
            digest = record["stream_sha256"]
            assert Store(into / "kodak").has_stream(digest), "a row before its stream"
        merge(into, first, second)
        assert without_place(rows(into)) == without_place(rows(whole_results))
        if not interrupted:
            break
    assert limit > 4


def test_invalid_folders_are_refused_before_anything_is_written(machines, tmp_path):
    first, _, _ = machines
    empty, linked, into = (tmp_path / name for name in ("empty", "linked", "into"))
    for folder in (empty, linked, into):
        folder.mkdir()
    (linked / "kodak").symlink_to(first / "kodak")
    for folders, message in [
        ([first, empty], "results"), ([into, first], "--into"),
        ([first, tmp_path / "absent"], "results"),
        ([linked], "kodak .*linked"), ([first / "kodak"], "kodak.*parent"),
    ]:  # fmt: skip
        with pytest.raises(UsageError, match=message):
            merge(into, *folders)
        assert not list(into.iterdir())


def test_the_command_names_conflicts_and_ends_with_1(machines, tmp_path):
    into = "--into", tmp_path / "into"
    output = output_of("merge", *machines[:2], *into)
    assert output.splitlines()[1].split()[:4] == ["kodak", "6", "6", "2"]
    odd = machine(tmp_path / "odd", [cell(10, "a", data=b"other")], "run-o")
    output = output_of("merge", odd, *into, code=1)
    assert ": jpeg quality=10 a: " in output
    (facts,) = json.loads(output_of("merge", odd, *into, "--json", code=1))["records"]
    assert (facts["rows"], len(facts["conflicts"])) == (0, 1)


def test_a_damaged_shard_is_warned_of_in_the_target_and_listed_for_a_source(tmp_path, monkeypatch):
    source = machine(tmp_path / "source", [cell(10, "a")], "run-a")
    into = machine(tmp_path / "into", [cell(20, "b")], "run-b")
    shards = [next(folder.glob("kodak/per_image/*.parquet")) for folder in (into, source)]
    shards[0].write_bytes(b"damaged")
    with pytest.warns(DamagedResults) as caught:
        (result,) = merge(into, source)
    assert {warning.message.file for warning in caught} == {shards[0]}
    assert result.damaged == ()
    shards[1].write_bytes(b"damaged")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert len(merge(tmp_path / "other", source)[0].damaged) == 1
    monkeypatch.setattr(Reductions, "add", lambda *_: warnings.warn("another", stacklevel=1))
    with pytest.warns(UserWarning, match="another"):
        merge(tmp_path / "other", source)


def run_of(results, run, part, quality):
    store = Store(results / "kodak")
    request = {"codecs": ["jpeg"], "dataset": "kodak", "part": part, "results": f"parts/{run}"}
    store.write_record(run, {"request": request})
    store.append([{**cell(quality, "a")[0], "run": run}])
    return results


def test_a_missing_part_is_reported_until_it_or_the_whole_is_there(tmp_path):
    parts = [run_of(tmp_path / f"p{n}", f"r{n}", f"{n}/4", 10 * n) for n in (1, 3)]
    (first,) = merge(tmp_path / "all", *parts)
    command = "`bench run --codecs jpeg --dataset kodak --part 2/4`"
    (missing,) = first.missing
    assert (missing[:15], command in missing) == ("part 2, 4 of 4 ", True)
    (second,) = merge(tmp_path / "all", run_of(tmp_path / "p2", "r2", "2/4", 20))
    assert [text[:12] for text in second.missing] == ["part 4 of 4 "]
    (third,) = merge(tmp_path / "all", run_of(tmp_path / "p4", "r4", "4/4", 40))
    assert third.missing == ()
    (fourth,) = merge(tmp_path / "other", *parts, run_of(tmp_path / "whole", "r9", "", 50))
    assert fourth.missing == ()
    words = ["merge", *parts, "--into", tmp_path / "again"]
    assert "part 2, 4 of 4 " in output_of(*words, code=1)
    output_of(*words, "--incomplete")


def test_the_command_of_an_absent_part_is_that_of_the_run_with_all_its_options(tmp_path):
    arguments = ["run", "--codecs=jpeg", "--data-dir=my data", "--part", "1/2", "--metrics=psnr"]
    part = run_of(tmp_path / "p1", "r1", "1/2", 10)
    Store(part / "kodak").amend("r1", {"arguments": arguments})
    (result,) = merge(tmp_path / "all", part)
    command = result.missing[0].split("`")[1]
    assert shlex.split(command) == ["bench", *arguments[:4], "2/2", *arguments[5:]]
