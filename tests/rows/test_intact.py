"""Changed bits and lost files in results: noticed, reported, and measured again."""

import json
import os
import random
import shutil
from dataclasses import replace

import polars as pl
import pytest

from benchmark.errors import DamagedResults
from benchmark.measure.loop import run
from benchmark.measure.request import Request
from benchmark.measure.select import open_matrix
from benchmark.rows.intact import verify_results
from benchmark.rows.shard import write_shard
from benchmark.rows.store import Store
from benchmark.system.foreign_files import MAX_FOREIGN_FILE_BYTES
from support.bench.command import bench
from support.files.noise import noise_images
from support.rows.bundled_results import bundled_results
from support.rows.stable_rows import only_store, stable

pytestmark = pytest.mark.filterwarnings("always::benchmark.errors.DamagedResults")


POINTS = "jpeg.quality=10,50,90"


def request(images, results, **options):
    places = {"dataset": str(images), "results": results}
    run = {"codecs": ("jpeg",), "points": (POINTS,), "metrics": ("psnr",), "jobs": 1}
    return Request(**run, **places, **options)


def run_again(images, results, *options, code):
    words = ("run", "--codecs", "jpeg", "--points", POINTS, "--metrics", "psnr", "--jobs", 1)
    return bench(*words, "--dataset", images, "--results", results, *options, code=code)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return noise_images(tmp_path_factory.mktemp("images") / "photos", [(64, 48), (64, 49)])


@pytest.fixture(scope="module")
def measured(images, tmp_path_factory):
    results = tmp_path_factory.mktemp("measured")
    assert run(request(images, results)).failures == ()
    return results


@pytest.fixture
def results(measured, tmp_path):
    return shutil.copytree(measured, tmp_path / "results")


def flip(path, random_source):
    """Change one bit of a file in place, keeping its times."""
    content, status = bytearray(path.read_bytes()), path.stat()
    content[random_source.randrange(len(content))] ^= 1 << random_source.randrange(8)
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("flips", [25, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_flipped_bit_in_a_shard_changes_no_row(flips, tmp_path):
    bundled = Store(bundled_results() / "kodak").versions(bundled=True)
    store = Store(tmp_path / "kodak")
    store.add(bundled)
    (shard,) = store.folder.glob("per_image/*.parquet")
    content, columns = shard.read_bytes(), ["cell", "psnr_db", "bpp"]
    single_row = bundled[:1].with_columns(cell=pl.lit("alone"))
    store.add(single_row)
    expected = single_row.select(columns).rows()
    for seed in range(flips):
        shard.write_bytes(content)
        flip(shard, random.Random(seed))
        with pytest.warns(DamagedResults, match=str(shard)) as reported:
            assert store.table().select(columns).rows() == expected
        assert len(reported) == 1
    shard.write_bytes(content)
    assert store.table().height == bundled.height + 1


def test_a_damaged_shard_is_set_aside_and_its_cells_are_measured_again(images, results):
    store = only_store(results)
    expected = stable(store)
    (shard,) = store.folder.glob("per_image/*.parquet")
    flip(shard, random.Random(1))
    assert [result.has_findings for result in verify_results(results)] == [True]
    assert run_again(images, results, "--json", code=0).stderr.count(str(shard)) == 1
    assert stable(store) == expected
    assert (store.folder / "damaged" / shard.name).exists()
    assert [result.has_findings for result in verify_results(results)] == [False]


def test_a_cell_with_a_lost_or_cut_stream_is_measured_again(images, results):
    store = only_store(results)
    expected = stable(store)
    lost, cut, *_ = sorted(store.streams())
    contents = {path: path.read_bytes() for path in (lost, cut)}
    lost.unlink()
    cut.write_bytes(contents[cut][:-1])
    assert not open_matrix(request(images, results, keep=False)).to_do
    with pytest.warns(DamagedResults, match="2 cells"):
        matrix = open_matrix(request(images, results))
    digests = {row["cell"]: row["stream_sha256"] for row in store.table().rows(named=True)}
    assert {digests[cell.key] for cell in matrix.to_do} == {lost.name, cut.name}
    run_again(images, results, code=0)
    assert stable(store) == expected
    assert {path: path.read_bytes() for path in contents} == contents
    assert not open_matrix(request(images, results)).to_do


def test_streams_that_were_never_kept_are_not_missed(images, tmp_path):
    assert run(request(images, tmp_path, keep=False)).failures == ()
    assert not list(only_store(tmp_path).streams())
    assert not open_matrix(request(images, tmp_path)).to_do
    second_request = replace(request(images, tmp_path), metrics=("psnr", "psnr_y"))
    outcome = run(second_request)  # nothing else can compute the new metric
    assert (outcome.measured, outcome.failures) == (len(outcome.cells), ())
    assert outcome.rows["psnr_y_db"].null_count() == 0
    assert not open_matrix(second_request).to_do


@pytest.mark.parametrize("verified_before", [False, True])
def test_a_flipped_bit_of_a_stream_is_found_by_verifying(images, results, verified_before):
    store = only_store(results)
    if verified_before:
        run_again(images, results, "--verify", code=0)
    stream = sorted(store.streams())[0]
    content = stream.read_bytes()
    flip(stream, random.Random(2))
    result = run_again(images, results, "--verify", code=1)
    assert (result.stdout + result.stderr).count("is damaged: ") == 1
    run_again(images, results, "--verify", code=0)
    assert stream.read_bytes() == content
    assert store.table()["attested"].to_list() == [True] * 6


def test_doctor_names_what_is_damaged_or_missing(results, tmp_path):
    store = only_store(results)
    assert [intact.findings for intact in verify_results(results)] == [()]
    bad = write_shard(store.folder / "per_image", store.versions().slice(0, 1))
    older = store.folder / "per_image" / f"{'0' * 32}.parquet"
    pl.DataFrame({"cell": ["a"], "status": ["failed"]}).write_parquet(older)
    flip(bad, random.Random(3))
    flipped, lost, *_ = sorted(store.streams())
    flip(flipped, random.Random(4))
    lost.unlink()
    (record,) = store.folder.glob("runs/*.json")
    record.write_text("{")
    (store.folder / "streams" / ".draft.part").write_bytes(b"")
    reported = json.loads(bench("doctor", results, "--json", code=1).stdout)
    outcome = {(entry["path"], entry["state"]) for entry in reported["records"]}
    damaged = {(str(path), "damaged") for path in (bad, flipped, record)}
    assert outcome == {*damaged, (str(store.folder / "streams"), "missing")}
    assert reported["wrong"] is True
    assert all(entry["remedy"] for entry in reported["records"])
    assert bench("doctor", tmp_path / "none", code=2).stderr.count("bench: ") == 1


def test_doctor_names_a_run_whose_name_no_file_can_have(results):
    store, run = only_store(results), 300 * "x"
    rows = store.versions().slice(0, 1).with_columns(run=pl.lit(run))
    shutil.rmtree(store.folder / "per_image")
    write_shard(store.folder / "per_image", rows)
    ((missing,),) = (result.findings for result in verify_results(results))
    assert (missing.path, missing.state) == (str(store.folder / "runs" / f"{run}.json"), "missing")


def test_doctor_reads_no_stream_beyond_the_limit_of_any_file(results):
    stream = sorted(only_store(results).streams())[0]
    os.truncate(stream, MAX_FOREIGN_FILE_BYTES + 1)
    ((damaged, _),) = (result.findings for result in verify_results(results))
    assert (damaged.path, damaged.state) == (str(stream), "damaged")
    assert damaged.what.startswith(f"it has {MAX_FOREIGN_FILE_BYTES + 1} ")


def test_bundled_results_are_intact():
    for place in ("", "ablation/results", "budgets/results", "seconds/results"):
        assert all(result.findings == () for result in verify_results(bundled_results() / place))
