"""Kept streams decoded by processes that receive nothing else: what they find and verify."""

import csv
import json

import polars as pl
import pytest

from benchmark.codec import Setting
from benchmark.measure.cells import Failed
from benchmark.measure.decode_again import decode_all
from benchmark.measure.record import Tracebacks
from benchmark.measure.request import Request
from benchmark.measure.select import open_matrix
from benchmark.measure.verify import verifiable_rows, verify
from benchmark.rows.codecs import NamedCodecs
from benchmark.rows.store import Store
from benchmark.spec import CodecSpec
from support.bench.command import bench
from support.codecs.fakes import Honest
from support.codecs.files import FAKES, conditions, keep


def run(images, results, codec, *options):
    words = ("run", "--codecs", codec, "--dataset", images, "--metrics", "psnr")
    return bench(*words, "--results", results, "--json", *options)


def measure(images, results, codec):
    options = {"codecs": (f"{FAKES}:{codec}",), "metrics": ("psnr",), "results": results}
    matrix = open_matrix(Request(dataset=str(images), **options))
    store = keep(matrix.store, matrix.cells)
    assert store.table()["status"].to_list() == ["ok"] * 6
    return store


def select_rows(store, cells=None):
    """Return the verifiable rows of a store, or of some cells; all codecs may run."""
    rows = store.table().rows(named=True)
    texts = {CodecSpec.parse(row["codec"], row["variant"]).text for row in rows}
    return verifiable_rows(store, NamedCodecs(",".join(texts)), lambda spec: True, cells)


def audit(store, device="cpu"):
    selection = select_rows(store)
    decoded = selection.pictures.decode_rows(selection.rows, device, 2)
    outcomes = [pair[1] for pair in decoded if pair]
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    return len(outcomes) - len(failures), failures


@pytest.fixture
def store(images, tmp_path):
    return measure(images, tmp_path / "r", "Honest")


def forge(store, folder, **columns):
    """Copy a store; each of these columns has one value in all rows."""
    rows, forgery = store.table(), Store(folder)
    for name, value in columns.items():
        rows = rows.with_columns(pl.lit(value).alias(name))
    forgery.add(rows)
    for path in store.streams():
        forgery.keep(path.read_bytes())
    return forgery


def test_a_decoder_gives_the_codecs_pixels_and_one_that_is_killed_takes_nothing_with_it(photo):
    spec = CodecSpec(f"{FAKES}:DiesOnDecode", ())
    streams = [(str(step), Honest().encode(photo, Setting("step", step))) for step in (64, 16, 1)]
    decodings = [*filter(None, decode_all(spec, streams, "cpu", 2))]
    assert {device for _, device, _ in decodings} == {"cpu"}
    result = {name: pixels for name, _, pixels in decodings}
    lost = Failed("worker", "the process that decoded the stream was killed by SIGSEGV")
    assert result.pop("16") == lost
    assert sorted(result) == ["1", "64"]
    for name, pixels in result.items():
        assert (pixels == Honest().decode(dict(streams)[name])).all()


def test_an_honest_store_is_identical_on_both_kinds_of_device(store, tmp_path):
    for device in ("cpu", "cuda"):  # Honest uses neither
        assert audit(store, device) == (6, [])
    # Pixels that cannot be reproduced are different.
    verified, failures = audit(forge(store, tmp_path / "other", decoded_sha256="0" * 64))
    assert (verified, [failure.stage for failure in failures]) == (0, ["verify"] * 6)


def test_streams_that_only_the_encoding_process_could_decode_are_found(images, tmp_path):
    store = measure(images, tmp_path / "r", "Whispers")
    verified, failures = audit(store)
    assert (verified, [failure.stage for failure in failures]) == (0, ["decode"] * 6)
    assert "never heard of it" in failures[0].reason
    result = run(images, tmp_path / "r", f"{FAKES}:Whispers", "--verify")
    assert result.returncode == 1
    assert len(json.loads(result.stdout)["failed"]) == 6
    assert store.table()["attested"].to_list() == [None] * 6


def test_damaged_lost_and_undecodable_streams_are_not_confused(store):
    damaged, lost, *_ = sorted(store.streams())
    damaged.write_bytes(b"other bytes")
    lost.unlink()
    verified, (problem,) = audit(store)
    assert (verified, select_rows(store).not_kept) == (4, 1)
    assert "damaged" in problem.reason


def test_a_missing_codec_is_counted_and_is_no_fault(store, tmp_path):
    forgery = forge(store, tmp_path / "other", codec="compressai", variant="model=mbt2018")
    verified, failures = audit(forgery)
    assert (verified, [failure.stage for failure in failures]) == (0, ["load"] * 6)
    result = bench("audit", "decode", forgery.folder.parent, "--dataset", "other", "--json")
    facts = json.loads(result.stdout)
    assert (result.returncode, [*facts["skipped"].values()], facts["wrong"]) == (0, [6], [])


def test_a_run_can_be_verified_at_once_or_afterwards_and_is_verified_once(store, images, tmp_path):
    results = tmp_path / "r"
    assert store.table()["attested"].to_list() == [None] * 6
    assert run(images, results, f"{FAKES}:Honest", "--verify").returncode == 0
    assert store.table()["attested"].to_list() == [True] * 6
    assert select_rows(store, store.table()["cell"].to_list()).rows == []
    result = run(images, results, "jpeg", "--points", "jpeg.quality=50", "--verify")
    assert result.returncode == 0, result.stderr
    assert store.table()["attested"].to_list() == [True] * 8


def test_reports_and_figures_may_insist_on_verified_rows(store, images, tmp_path):
    results = tmp_path / "r"
    assert "--verify" in bench("report", "--results", results, "--verified-only", code=2).stderr
    selection = select_rows(store, store.table()["cell"].to_list()[:3])
    assert verify(selection, conditions(jobs=1), lambda progress: None, Tracebacks()) == []
    assert bench("report", "--results", results, "--verified-only").returncode == 0
    (means,) = results.rglob("means.csv")
    with means.open(newline="") as file:
        assert sum(int(line["images"]) for line in csv.DictReader(file)) == 3
    bench("figures", "crdr", "--results", results, "--verified-only", "--only", "crops", code=0)
    maps = "figures", "maps", "--metrics", "psnr_y", "--dataset", images
    assert "--verified-only" in bench(*maps, "--results", results, "--verified-only").stderr


@pytest.mark.parametrize(
    "verb",
    ["report", "table", "figures rd", "figures bd", "figures crops", "figures maps", "study new",
     "rank --at bpp=1"],
)  # fmt: skip
def test_a_folder_without_bundled_rows_has_none_to_compare_with(store, tmp_path, verb):
    words = verb.split()
    if verb == "study new":
        words += ["--out", str(tmp_path / "study")]
    result = bench(*words, "--results", store.folder.parent, "--bundled", "all", code=2)
    assert str(store.folder.parent) in result.stderr
