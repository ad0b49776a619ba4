"""A failure names the line in the author's file; its traceback is in the run's record once."""

import json

import numpy as np

from benchmark.codec import Setting
from benchmark.errors import CorruptStream
from benchmark.measure.cells import failed_by
from benchmark.measure.record import RunNotes
from benchmark.rows.store import Store
from benchmark.spec import load_codec, parse_codec
from support.bench.command import bench
from support.codecs.files import MINE

LINE = MINE.read_text().partition("# the line that is told")[0].count("\n") + 1
BROKEN = MINE.read_text().replace("self.after_decoding(pixels)\n", "pixels[99, 99] = 1\n", 1)


def tracebacks(folder):
    records = [json.loads(path.read_text()) for path in folder.glob("*/runs/*.json")]
    return [entry for record in records for entry in record.get("tracebacks", ())]


def test_row_and_terminal_have_the_authors_line_and_the_record_has_equal_tracebacks_once(photos):
    words = ("--dataset", "photos", "--metrics", "psnr", "--results", "r", "-v", "--jobs", "2")
    result = bench("run", "--codecs", f"{MINE}:RaisesInLibrary", *words, code=1)
    reported = f"encode: mine.py, line {LINE}, in before_encoding: JSONDecodeError: Expecting"
    (failed,) = [line for line in result.stdout.splitlines() if ": failed: " in line]
    assert " and 3 more: failed: " in failed
    assert reported in failed
    assert str(MINE.parent) not in failed

    (entry,) = tracebacks(photos / "r")
    assert entry["traceback"].startswith("Traceback (most recent call last):\n")
    assert f'File "{MINE}", line {LINE}, in before_encoding' in entry["traceback"]
    assert "json.decoder.JSONDecodeError" in entry["traceback"]
    assert len(set(entry["cells"])) == 6
    assert "mine.py:RaisesInLibrary step=2 1.png" in entry["cells"]


def test_an_independent_decode_and_a_rescore_have_the_line_and_add_tracebacks_to_a_record(photos):
    codec, place = ("--codecs", "./sound.py:Plain"), ("--dataset", "photos", "--results", "s")
    (photos / "sound.py").write_text(MINE.read_text())
    bench("run", *codec, *place, "--metrics", "psnr", code=0)
    (photos / "sound.py").write_text(BROKEN)  # its fingerprint does not change
    for words in (("rescore", "--metrics", "ssim"), ("run", "--metrics", "psnr", "--verify")):
        assert ": decode: sound.py, line " in bench(*words, *codec, *place, code=1).stdout
    audited = bench("audit", "decode", "s", *codec, "--json")
    reported = [*tracebacks(photos / "s"), *json.loads(audited.stdout)["tracebacks"]]
    assert [len(entry["cells"]) for entry in reported] == [6, 6, 6]
    assert all("IndexError" in entry["traceback"] for entry in reported)


def failure(codec, action):
    try:
        action()
    except Exception as error:
        return failed_by(codec, "encode", error)
    raise AssertionError("nothing was raised")


def test_a_contender_of_the_project_is_named_by_its_file_and_not_for_its_own_messages():
    jpeg = load_codec(parse_codec("jpeg"))
    failed = failure(jpeg, lambda: jpeg.encode("no pixels", Setting("quality", 30)))
    assert failed.reason.startswith("jpeg.py, line ")

    def explained():
        raise CorruptStream("a marker is missing")

    assert failure(jpeg, explained).reason == "a marker is missing"
    codec = load_codec(parse_codec(f"{MINE}:RaisesOurError"))
    pixels = np.zeros((8, 8, 3), np.uint8)
    stream = load_codec(parse_codec(f"{MINE}:Plain")).encode(pixels, Setting("step", 1))
    reason = failure(codec, lambda: codec.decode(stream)).reason
    assert reason.startswith("mine.py, line ")
    assert reason.endswith(", in after_decoding: a marker is missing")


def test_a_record_gets_facts_after_it_was_first_written_and_after_an_earlier_part(tmp_path):
    notes = RunNotes(Store(tmp_path), "r")
    for name in ("jpeg", "webp", "avif"):
        if name == "avif":
            notes = RunNotes(Store(tmp_path), "r")  # in a later part of the run
        notes.decoded_twice[name] = "quality=5 a.png"
        notes.tracebacks.add("A", name)
        notes.tracebacks.add("", name)
        notes.write()
    record = Store(tmp_path).record("r")
    assert set(record["decoded_twice"]) == {"jpeg", "webp", "avif"}
    assert record["tracebacks"] == [{"traceback": "A", "cells": ["jpeg", "webp", "avif"]}]
    assert "commit" in record
