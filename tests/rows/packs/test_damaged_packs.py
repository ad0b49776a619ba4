"""Packs damaged in every way: each is one sentence, or a failed cell."""

import csv
import re

import pytest

from benchmark.errors import BadPack
from benchmark.measure.cells import plan
from benchmark.measure.workbench import Workbench
from benchmark.rows.packs.contents import export_pack, import_pack
from benchmark.rows.packs.pack import open_pack
from support.codecs.files import conditions
from support.packs.honest_pack import HONEST, recorded_contender, rewrite


def read_all(path):
    pack = open_pack(path)
    return [pack.read(stream) for stream in pack.streams.values()]


def one_stream(pack):
    return sorted((pack / "streams").iterdir())[0]


SPOILT = {
    "no index": lambda pack: (pack / "pack.json").unlink(),
    "no rows": lambda pack: (pack / "rows.csv").unlink(),
    "index cut off": lambda pack: (pack / "pack.json").write_text('{"format": "rdr'),
    "a list": lambda pack: (pack / "pack.json").write_text("[]"),
    "another format": lambda pack: rewrite(pack / "pack.json", "rdrbench-pack/1", "zip"),
    "an info that lacks a field": lambda pack: rewrite(pack / "pack.json", '"licence"', '"l"'),
    "another codec": lambda pack: rewrite(pack / "pack.json", "Honest", "Shrinks"),
    "rows cut off": lambda pack: (pack / "rows.csv").write_text("codec,variant\njpeg,\n"),
    "a row cut off": lambda pack: (pack / "rows.csv").write_text(
        (pack / "rows.csv").read_text()[:-200]
    ),
    "a row lost": lambda pack: rewrite(
        pack / "rows.csv", (pack / "rows.csv").read_text().splitlines(True)[3], ""
    ),
    "bytes": lambda pack: (pack / "rows.csv").write_bytes(b"\xff\xfe\x00"),
    "a text without end": lambda pack: rewrite(
        pack / "rows.csv", one_stream(pack).name, "9" * 9999
    ),
    "a text of two lines": lambda pack: rewrite(pack / "rows.csv", one_stream(pack).name, '"a\nb"'),
    "an option without a value": lambda pack: rewrite(
        pack / "pack.json", '"variant": "', '"variant": ")'
    ),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT.keys())
def test_a_damaged_pack_is_one_sentence(folder_pack, spoil):
    spoil(folder_pack)
    with pytest.raises(BadPack) as raised:
        read_all(folder_pack)
    message = str(raised.value)
    assert message.startswith(f"the pack {folder_pack} cannot be used: ")
    assert message.endswith("get or export it again")
    assert "\n" not in message
    assert len(message) < len(str(folder_pack)) + 600


def test_a_damaged_tar_is_one_sentence(measured, tmp_path):
    path = tmp_path / "x.tar"
    export_pack(path, [measured], [HONEST], ())
    whole = path.read_bytes()
    for spoilt in (b"", b"text", whole[:700], whole[: len(whole) // 2]):
        path.write_bytes(spoilt)
        with pytest.raises(BadPack, match=r"x\.tar cannot be used"):
            read_all(path)
    with pytest.raises(BadPack, match="it cannot be read"):
        open_pack(tmp_path / "none.tar")


def test_a_changed_stream_is_a_failed_cell_and_the_others_run(folder_pack, sources):
    stream = one_stream(folder_pack)
    stream.write_bytes(stream.read_bytes()[:-1] + b"?")
    cells = plan([recorded_contender(folder_pack)], "photos", sources)
    rows = [Workbench(conditions()).carry_out(cell).row for cell in cells]
    (failed,) = [row for row in rows if row["status"] == "failed"]
    assert (failed["stage"], failed["recorded"]) == ("encode", True)
    assert f"its stream {stream.name[:8]} is damaged" in failed["reason"]


@pytest.mark.parametrize(("name", "text", "why"), [
    ("height_px", "0", "height_px is not a whole number from 1 to 2^53: '0'"),
    ("width_px", "", "width_px is not a whole number from 1 to 2^53: ''"),
    ("num_bytes", "-1", "num_bytes is not a whole number from 1 to 2^53: '-1'"),
    ("setting_value", "nan", "setting_value is not a number: 'nan'"),
    ("psnr_db", "high", "psnr_db is not a number: 'high'"),
    ("timing", "no", "timing is not True or False: 'no'"),
    ("image_sha256", "0", "image_sha256 is no sha256: '0'"),
    ("codec", "", "codec is empty"),
    *(("jobs", text, f"jobs is not a whole number up to 2^53: {text!r}")
      for text in ("one", str(2**53 + 1), str(2**63), str(-(2**60)))),
])  # fmt: skip
def test_a_wrong_value_is_named_with_its_line_and_column(folder_pack, tmp_path, name, text, why):
    head, *lines = csv.reader((folder_pack / "rows.csv").read_text().splitlines())
    lines[1][head.index(name)] = text
    with (folder_pack / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows([head, *lines])
    said = f"the pack {folder_pack} cannot be used: rows.csv: line 3: {why}; get or export it again"
    with pytest.raises(BadPack, match=re.escape(said)):
        import_pack(open_pack(folder_pack), tmp_path / "results", [])
    assert not (tmp_path / "results").exists()


def test_a_time_that_no_shard_may_have_is_refused_by_the_import(folder_pack, tmp_path):
    rewrite(folder_pack / "rows.csv", ",123.0,", ",-1,")
    with pytest.raises(BadPack, match="values of 'encode_seconds'"):
        import_pack(open_pack(folder_pack), tmp_path / "results", [])
    assert not (tmp_path / "results" / "photos" / "per_image").exists()


@pytest.mark.parametrize("name", ["height_px", "coding_protocol", "encode_seconds"])
def test_a_column_that_is_missing_is_named(folder_pack, name):
    rewrite(folder_pack / "rows.csv", f",{name},", f",x_{name},")
    with pytest.raises(BadPack, match=rf"rows\.csv: it has no column {name}; get"):
        open_pack(folder_pack)
