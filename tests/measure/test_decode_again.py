"""Streams decoded again: by a second decoder in a run, and to show pixels of many rows."""

import json
from multiprocessing import active_children

import pytest
from PIL import Image

import benchmark
from benchmark.codec import Setting
from benchmark.measure import decode_again
from benchmark.measure.cells import Failed
from benchmark.measure.decode_again import DecoderProcess
from benchmark.measure.pictures import Pictures, open_pictures
from benchmark.rows.codecs import ALL_CODECS
from benchmark.spec import CodecSpec, load_codec
from benchmark.system.digest import pixels_sha256
from support.bench.command import bench
from support.codecs.files import FAKES, MINE


def run(kind, *options):
    words = ("--dataset", "photos", "--metrics", "psnr", "--results", "r", "--json", *options)
    result = bench("run", "--codecs", f"{MINE}:{kind}", *words)
    return result.returncode, json.loads(result.stdout)


def record_of(folder):
    (path,) = folder.glob("r/*/runs/*.json")
    return json.loads(path.read_text())


@pytest.mark.parametrize(("kind", "samples"), [("DiffersByCall", 1), ("DiffersByInstance", 3)])
def test_a_decoder_that_is_not_deterministic_fails_its_cells(kind, samples, photos):
    code, reported = run(kind)
    failed = {failure["cell"]: failure for failure in reported["failed"]}
    first = failed[f"mine.py:{kind} step=1 1.png"]
    assert (code, first["stage"]) == (1, "decode")
    assert f" {samples} of 3600 samples" in first["reason"]
    assert all("not deterministic" in failure["reason"] for failure in failed.values())
    assert "decoded_twice" not in record_of(photos)


def test_one_stream_of_each_variant_is_decoded_twice_by_two_instances(photos):
    log = photos / "log"
    code, _ = run(f"CountsDecodes:log={log}", "--jobs", "1")
    lines = [line.split() for line in log.read_text().splitlines()]
    assert (code, len(lines)) == (0, 6 + 1)
    smallest_decodes = [instance for size, instance in lines if size == "3600"]
    assert len(smallest_decodes) == 3  # two settings, the first of them twice
    assert len(set(smallest_decodes)) == 2
    (cell,) = record_of(photos)["decoded_twice"].values()
    assert cell == "step=1 1.png"


def test_there_are_no_more_decoders_than_jobs_and_none_is_left(monkeypatch, photo):
    decoders, processes = [], active_children()

    def decoder(*arguments):
        decoders.append(DecoderProcess(*arguments))
        return decoders[-1]

    monkeypatch.setattr(decode_again, "DecoderProcess", decoder)
    stream = load_codec(CodecSpec("jpeg", ())).encode(photo, Setting("quality", 50))
    streams = [(name, stream) for name in "abc"]
    decoded = filter(None, decode_again.decode_all(CodecSpec("jpeg", ()), streams, "cpu", 1))
    assert len([*decoded]) == 3
    assert (len(decoders), active_children()) == (1, processes)


@pytest.fixture
def pictures(tmp_path, photo, monkeypatch):
    """Photograph coded by a codec whose pixels on a GPU differ from those on a CPU."""
    (tmp_path / "photos").mkdir()
    Image.fromarray(photo).save(tmp_path / "photos" / "cup.png")
    outcome = benchmark.run(
        f"{FAKES}:Drifts", str(tmp_path / "photos"), metrics="psnr", device="cpu",
        results=tmp_path / "results", jobs=1,
    )  # fmt: skip
    assert not outcome.failures
    return open_pictures(tmp_path / "results", outcome.matrix.store.folder.name, f"{FAKES}:Drifts")


def decode(rows, pictures, device):
    result = (pair for pair in pictures.decode_rows(rows, device, 1) if pair is not None)
    return [pixels for _, pixels in sorted(result, key=lambda pair: pair[0])]


def on_gpu(row, pictures, monkeypatch):
    monkeypatch.setenv("BENCH_DEVICE", "cuda")
    decoder = load_codec(CodecSpec.parse(row["codec"], row["variant"]))
    pixels = decoder.decode(pictures.contents.stream(row))
    monkeypatch.setenv("BENCH_DEVICE", "cpu")
    return {**row, "device": "cuda", "decoded_sha256": pixels_sha256(pixels)}


def test_rows_scored_on_another_kind_of_device_are_decoded_on_that_kind(pictures, monkeypatch):
    rows = pictures.table.rows(named=True)
    all_rows = [*rows, *(on_gpu(row, pictures, monkeypatch) for row in rows)]
    assert all_rows[0]["decoded_sha256"] != all_rows[len(rows)]["decoded_sha256"]
    result = decode(all_rows, pictures, "cuda")
    assert [*map(pixels_sha256, result)] == [row["decoded_sha256"] for row in all_rows]
    cpu_result = decode(all_rows, pictures, "cpu")
    failures = [isinstance(outcome, Failed) for outcome in cpu_result]
    assert failures == [False] * len(rows) + [True] * len(rows)
    assert cpu_result[-1].stage == "verify"


def test_a_stream_that_was_not_kept_does_not_end_the_others_and_unnamed_code_is_not_run(pictures):
    result = decode(pictures.table.rows(named=True), Pictures(pictures.contents, ALL_CODECS), "cpu")
    assert {failure.stage for failure in result} == {"load"}
    assert all(" --codecs " in failure.reason for failure in result)
    first, *other_rows = pictures.table.rows(named=True)
    (stream,) = pictures.contents.store.folder.rglob(first["stream_sha256"])
    stream.unlink()
    result = decode([first, *other_rows], pictures, "cpu")
    assert (result[0].stage, "stream" in result[0].reason) == ("load", True)
    assert not any(isinstance(outcome, Failed) for outcome in result[1:])
