"""Damaged packs: each gives one sentence or a failed cell."""

import math
import re
import shutil
from zlib import crc32

import polars as pl
import pytest
from PIL import Image

from benchmark.errors import BadPack
from benchmark.measure.cells import plan
from benchmark.measure.workbench import Workbench
from benchmark.rows.packs.contents import export_pack, import_pack
from benchmark.rows.packs.pack import ROWS, open_pack
from support.codecs.files import conditions
from support.packs.honest_pack import HONEST, edit_rows, recorded_contender, rows_in, write_rows


def read_all(path):
    pack = open_pack(path)
    return [pack.read(stream) for stream in pack.rows.values()]


def change_values(**values):
    return lambda pack: edit_rows(pack, lambda rows: rows[1].update(values))


def change_bytes(change):
    return lambda pack: (pack / ROWS).write_bytes(change((pack / ROWS).read_bytes()))


def rewrite_rows(number=None, **options):
    return lambda pack: pl.read_parquet(pack / ROWS)[:number].write_parquet(pack / ROWS, **options)


DAMAGES = {
    "no rows": lambda pack: (pack / ROWS).unlink(), "no row at all": rewrite_rows(0),
    "rows cut off": change_bytes(lambda content: content[:-200]),
    "a byte flipped in the footer": change_bytes(lambda data: data[:-20] + b"?" + data[-19:]),
    "bytes": change_bytes(lambda _: b"\xff\xfe\x00"),
    "a text without end": change_values(stream_sha256="9" * 9999),
    "a text of two lines": change_values(stream_sha256="a\nb"),
    "an option without a value": change_values(variant=")"),
    "a strange column": lambda pack: write_rows(pack, [{**r, "x": 1} for r in rows_in(pack)]),
    "notes of another kind": rewrite_rows(metadata={"pack": '{"notes": 1}'}),
    "notes that are no text": rewrite_rows(metadata={"pack": "[" * 100_000}),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_pack_is_one_sentence(folder_pack, damage):
    damage(folder_pack)
    with pytest.raises(BadPack) as raised:
        read_all(folder_pack)
    message = str(raised.value)
    assert f"{folder_pack} " in message
    assert "\n" not in message
    assert len(message) < len(str(folder_pack)) + 600


def test_a_damaged_tar_is_one_sentence(measured_store, tmp_path):
    path = tmp_path / "x.tar"
    export_pack(path, [measured_store], [HONEST], ())
    content = path.read_bytes()
    for damaged in (b"", b"text", content[:700], content[: len(content) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(BadPack, match=r"x\.tar "):
            read_all(path)
    with pytest.raises(BadPack, match=r"none\.tar .*No such file"):
        open_pack(tmp_path / "none.tar")


def test_a_changed_stream_is_a_failed_cell_and_the_others_run(folder_pack, sources):
    stream, *_ = sorted((folder_pack / "streams").iterdir())
    stream.write_bytes(stream.read_bytes()[:-1] + b"?")
    cells = plan([recorded_contender(folder_pack)], "photos", sources)
    rows = [Workbench(conditions()).carry_out(cell).row for cell in cells]
    (failed,) = [row for row in rows if row["status"] == "failed"]
    assert (failed["stage"], failed["recorded"]) == ("encode", True)
    assert f" stream {stream.name[:8]} " in failed["reason"]


@pytest.mark.parametrize(("name", "value", "reason"), [
    ("height_px", 0, "'height_px'"),
    ("width_px", None, "'width_px'"),
    ("num_bytes", -1, "'num_bytes'"),
    ("num_bytes", 0, "num_bytes 0"),
    ("setting_value", math.nan, "'setting_value'"),
    ("psnr_db", -math.inf, "'psnr_db'"), ("decode_seconds", -1.0, "'decode_seconds'"),
    ("timing", "no", "'timing'"),
    ("jobs", 2**53 + 1, "'jobs'"),
    ("image_sha256", "0", "image_sha256 '0'"),
    ("stream_sha256", "../../x", "stream_sha256 '../../x'"),
    ("codec", "", "codec ''"),
    ("dataset", "../x", "dataset '../x'"),
    ("dataset", "x.py", "dataset 'x.py'"),
    ("fingerprint", "other", "row 2 "),
])  # fmt: skip
def test_a_wrong_value_is_named_and_nothing_is_imported(folder_pack, tmp_path, name, value, reason):
    change_values(**{name: value})(folder_pack)
    with pytest.raises(BadPack, match=rf"rows\.parquet: .*{re.escape(reason)}"):
        import_pack(open_pack(folder_pack), tmp_path / "results")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("name", ["height_px", "coding_protocol", "codec"])
def test_a_column_that_is_missing_is_named(folder_pack, name):
    edit_rows(folder_pack, lambda rows: [row.pop(name) for row in rows])
    with pytest.raises(BadPack, match=rf"rows\.parquet: .*{name}"):
        open_pack(folder_pack)


def one_picture(pack):
    return sorted((pack / "pictures").iterdir())[0]


def copy_another(pack):
    first, second, *_ = sorted((pack / "pictures").iterdir())
    shutil.copy(second, first)


def write_as_jpeg(pack):
    with Image.open(one_picture(pack)) as image:
        image.convert("RGB").save(one_picture(pack), "JPEG", quality=100)


def move_and_link(pack):
    picture = one_picture(pack)
    picture.symlink_to(picture.rename(pack.parent / "elsewhere.png"))


def write_huge(pack):
    """Write a picture whose header states more pixels than any photograph has."""
    data = one_picture(pack).read_bytes()
    header = data[12:16] + (1 << 20).to_bytes(4, "big") * 2 + data[24:29]
    one_picture(pack).write_bytes(data[:12] + header + crc32(header).to_bytes(4, "big") + data[33:])


@pytest.mark.parametrize("damage", [
    lambda pack: one_picture(pack).unlink(),
    lambda pack: one_picture(pack).write_bytes(b""),
    lambda pack: one_picture(pack).write_bytes(one_picture(pack).read_bytes()[:-40]),
    copy_another, write_as_jpeg, move_and_link, write_huge,
], ids=["missing", "empty", "cut", "another", "jpeg", "link", "huge"])  # fmt: skip
def test_a_picture_that_is_not_the_recorded_one_is_not_imported(picture_pack, tmp_path, damage):
    name = one_picture(picture_pack).stem
    damage(picture_pack)
    pack = open_pack(picture_pack)
    with pytest.raises(BadPack, match=name[:8]):
        import_pack(pack, tmp_path / "results")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(("name", "value"), [
    ("decoded_sha256", "../../x"), ("decoded_sha256", None), ("num_bytes", 0), ("num_bytes", None),
])  # fmt: skip
def test_a_row_of_a_declared_size_has_a_picture_and_a_size(picture_pack, name, value):
    change_values(**{name: value})(picture_pack)
    with pytest.raises(BadPack, match=name):
        open_pack(picture_pack)


def test_a_row_of_a_declared_size_has_no_stream(folder_pack):
    change_values(bytes_origin="declared")(folder_pack)
    rows = open_pack(folder_pack).rows.values()
    assert [row["stream_sha256"] for row in rows if row["bytes_origin"] != "measured"] == [None]


def test_columns_that_no_author_decides_are_those_of_every_pack(folder_pack):
    pack = open_pack(folder_pack)
    columns = {"cell": "0", "timing": True, "recorded": False, "attested": True}
    columns |= {"bytes_origin": "unknown", "reason": "none"}
    write_rows(folder_pack, [{**row, **columns} for row in rows_in(folder_pack)])
    assert open_pack(folder_pack).rows == pack.rows
