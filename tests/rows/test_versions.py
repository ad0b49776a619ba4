"""Versions of a row: the one that counts, by rules applied one row at a time, and agreement."""

import random

import numpy as np
import polars as pl
import pytest

from benchmark.codec import CODING
from benchmark.registry import FEATURE_SPACES, METRICS, metric_class
from benchmark.rows.agreement import mark_agreeing
from benchmark.rows.comparable import ComparableRows, newest_rows
from benchmark.rows.schema import metric_columns, table_columns
from benchmark.rows.shard import table_of
from benchmark.rows.versions import merge_versions, prefer_own_rows
from support.rows import measured

NAMES = (*METRICS, *FEATURE_SPACES)
FLAGS = [True, False, None]


def by_hand(rows):
    """The rules of `merge_versions`, one row at a time: the rows that count."""

    def rank(row):
        age = bool(row["timing"]), not row["recorded"], row["finished_utc"] or ""
        return not row["bundled"], row["status"] == "ok", *age

    cells = {}
    for row in sorted(rows, key=rank, reverse=True):
        cells.setdefault((row["cell"], bool(row["bundled"])), []).append(row)
    return [counting(versions, rows, rank) for versions in cells.values()]


def counting(versions, rows, rank):
    """The best version, with what rows know of its pictures."""
    version = dict(versions[0])
    content = ("cell", "stream_sha256", "decoded_sha256")
    cell_rows = [row for row in rows if row["cell"] == version["cell"]]
    equal_rows = [row for row in cell_rows if all(row[name] == version[name] for name in content)]
    if len(cell_rows) > 1 and any(row["attested"] for row in equal_rows):
        version["attested"] = True
    if version["status"] != "ok" or not version["image_sha256"]:
        return version
    candidates = [row for row in rows if row["status"] == "ok" and row["image_sha256"]]
    candidates = sorted(candidates, key=rank, reverse=True)
    pictured_rows = pictured(versions[0], candidates)
    pixels = [row for row in pictured_rows if row["decoded_sha256"] == version["decoded_sha256"]]
    for name in NAMES:
        value, protocol, reason = metric_columns(metric_class(name).column)
        present = metric_class(name).protocol

        def worth(row, value=value, protocol=protocol, present=present):
            return 2 * (row[protocol] == present) + (row[value] is not None)

        donors = pictured_rows if name in METRICS else pixels if version["decoded_sha256"] else []
        donor = max([versions[0], *donors], key=worth)
        version.update({column: donor[column] for column in (value, protocol, reason)})
    return version


def pictured(row, rows):
    """The rows of a row's picture: of equal pixels, or of equal streams and builds, in order."""
    stream = ("image_sha256", "stream_sha256", "fingerprint", "revision")
    pixels = ("image_sha256", "decoded_sha256")

    def same(member, candidate, names):
        return member[names[1]] and all(member[name] == candidate[name] for name in names)

    group = [row]
    for member in group:
        for candidate in rows:
            of_it = same(member, candidate, stream) or same(member, candidate, pixels)
            if of_it and candidate not in group:
                group.append(candidate)
    return [candidate for candidate in rows if candidate in group]


def some_row(chance, cells):
    row = dict.fromkeys(column.name for column in table_columns())
    choices = {
        "status": ["ok", "ok", "failed"], "timing": FLAGS, "recorded": FLAGS, "bundled": FLAGS,
        "attested": [True, None, None], "stream_sha256": ["a", "a", "b", None],
        "finished_utc": [None, "2026-01-01", "2026-01-02", "2026-01-03"],
        "decoded_sha256": ["c", "c", "d"], "num_bytes": [9, 9, 9, None],
    }  # fmt: skip
    row |= {name: chance.choice(values) for name, values in choices.items()}
    number = str(chance.randrange(cells))
    key = {"codec": "x", "variant": "", "fingerprint": number[-1], "revision": 1}
    row |= {"cell": f"cell{number}", "image_sha256": number[-1], "machine": str(chance.random())}
    return row | key | some_values(chance, NAMES, [None, chance.randrange(3)])


def some_values(chance, names, values):
    """Return values of metrics or none, under protocols of today, older or none."""
    row = {}
    for name in names:
        value, protocol, reason = metric_columns(metric_class(name).column)
        row[value] = chance.choice(values)
        row[protocol] = chance.choice([None, metric_class(name).protocol, "older"])
        row[reason] = chance.choice([None, "why"])
    return row


@pytest.mark.parametrize("cells", [1, 7, 60, 1000])
@pytest.mark.parametrize("lean", [False, True], ids=["texts", "categories"])
def test_the_row_that_counts_is_the_one_that_the_rules_name(cells, lean):
    chance = random.Random(cells)
    rows = [some_row(chance, cells) for _ in range(120)]
    table = table_of(rows)
    if lean:
        categories = ("status", "machine", "psnr_db_protocol")
        table = table.with_columns(pl.col(categories).cast(pl.Categorical))
    result = merge_versions(table).rows(named=True)

    def key(row):
        return row["cell"], bool(row["bundled"])

    assert sorted(result, key=key) == sorted(by_hand(rows), key=key)


def test_values_go_to_equal_pixels_of_any_build_and_to_equal_streams_of_one():
    common = {"image_sha256": "i", "psnr_db": 30.0, "lpips_alex": None, "lpips_alex_protocol": None}
    lpips = {"lpips_alex": 0.25, "lpips_alex_protocol": metric_class("lpips").protocol}
    rows = [
        measured.row("x", 5, "a", cell=f"{number}", fingerprint=build, **common)
        | {"stream_sha256": stream, "decoded_sha256": pixels} | changes
        for number, (build, stream, pixels, changes) in enumerate((
            ("f1", "s", "p", lpips), ("f1", "s", "q", {}), ("f2", "s", "z", {}),
            ("f2", "t", "p", {}), ("f2", None, "p", {"codec": "y"}), ("f1", "t", "r", {}),
            ("f1", "s", "p", {"image_sha256": "other"}), ("f1", None, "p", {"status": "failed"}),
        ))
    ]  # fmt: skip
    merged = merge_versions(measured.table(rows)).sort("cell")
    assert merged["lpips_alex"].to_list() == [0.25, 0.25, None, 0.25, 0.25, None, None, None]


def test_features_of_other_pixels_of_a_stream_are_given_once_under_their_own_name():
    first_space, second_space = (metric_class(name).column for name in ("alex256", "squeeze256"))
    common = {"image_sha256": "i", "stream_sha256": "s", "psnr_db": 30.0, "fingerprint": "f"}
    versions = (("p", {first_space: 7}), ("q", {}), ("r", {second_space: 9}), ("p", {}))
    rows = [measured.row("x", 5, "a", decoded_sha256=pixels, cell=f"{number}", **common, **count)
            for number, (pixels, count) in enumerate(versions)]  # fmt: skip
    merged = merge_versions(measured.table(rows), features=True).sort("cell")
    assert merged[first_space].to_list() == [7, 7, None, 7]
    assert merged[second_space].to_list() == [None, None, 9, None]
    assert merged["features_of"].to_list() == ["p", "p", "r", "p"]
    merged_rows = merge_versions(measured.table(rows)).sort("cell")
    assert merged_rows[first_space].to_list() == [7, None, None, 7]
    assert merged_rows["features_of"].null_count() == 4


def test_a_bundled_row_beside_an_own_one_of_its_cell_is_left_out():
    cells = pl.DataFrame({"cell": ["a", "a", "b", "c"], "bundled": [True, None, True, False]})
    assert prefer_own_rows(cells).rows() == cells[[1, 2, 3]].rows()
    for origin in (True, False, None):
        single_origin = cells.with_columns(bundled=pl.lit(origin, pl.Boolean))
        assert prefer_own_rows(single_origin) is single_origin


def several_builds(chance):
    """Rows of two builds of two codecs at few places, as a store reads them: one per cell."""
    rows = []
    for number in range(chance.randrange(2, 40)):
        codec, image = chance.choice("xy"), "a"
        row = measured.row(codec, chance.choice([9, 10]), image, cell=str(number), num_bytes=9)
        choices = {
            "stream_sha256": ["s", "s", "t", None], "decoded_sha256": ["d", "d", "e", None],
            "image_sha256": [image, image, None], "psnr_db": [30.0, 30.0, 31.0],
            "fingerprint": "fg", "status": ["ok", "ok", "ok", "failed"],
        }  # fmt: skip
        row |= {name: chance.choice(values) for name, values in choices.items()}
        others = [name for name in NAMES if name != "psnr"]
        rows.append(row | some_values(chance, others, [None, None, number]))
    return rows


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("protocol", [CODING, "coding/0"])
def test_editions_are_ordered_by_variant_age_setting_and_image(seed, protocol):
    """Settings are numbers, 9 before 10; of repeated rows, the latest is taken."""
    chance = random.Random(seed)
    rows = several_builds(chance)
    choices = {
        "variant": ["", "v=1"], "revision": [1, 1, 2], "run": "123", "bundled": [True, None],
        "coding_protocol": [CODING, CODING, "coding/0", None],
    }  # fmt: skip
    for number, row in enumerate(rows):
        row |= {name: chance.choice(values) for name, values in choices.items()}
        row["finished_utc"] = f"2026-01-01T00:{number:02}"  # no two rows are equally new
    table = measured.table(rows)
    result = ComparableRows(table, protocol)
    indices = [index for index, row in enumerate(rows) if row["coding_protocol"] == protocol]

    def edition(index):
        names = ("codec", "variant", "fingerprint", "revision", "bundled")
        return tuple(rows[index][name] for name in names)

    def lateness(index):
        return not rows[index]["bundled"], rows[index]["run"], rows[index]["finished_utc"]

    latest = {edition(index): lateness(index) for index in sorted(indices, key=lateness)}

    def place(index):
        variant, age = edition(index)[:2], latest[edition(index)]
        newer = [key for key in latest if key[:2] == variant and latest[key] > age]
        image = rows[index]["image_sha256"] or rows[index]["image"]
        return *variant, len(newer), rows[index]["setting_value"], image

    by_place = {place(index): index for index in sorted(indices, key=lateness)}
    expected = [by_place[key] for key in sorted(by_place)]
    assert result.index.tolist() == expected
    ages = result.point_table["age"].to_numpy()[result.point]
    assert ages.tolist() == [place(index)[2] for index in expected]
    for numbers, depth in ((result.edition, 3), (result.point, 4)):
        kinds = sorted({place(index)[:depth] for index in expected})
        assert numbers.tolist() == [kinds.index(place(index)[:depth]) for index in expected]
    order = sorted(range(len(expected)), key=lambda index: lateness(expected[index]))
    assert np.argsort(result.recency).tolist() == order
    assert sum(int(absence.why.split()[0]) for absence in result.absent) == len(rows) - len(indices)
    if protocol == CODING:
        latest_alone = [rows[index]["cell"] for index in expected if not place(index)[2]]
        assert newest_rows(table)["cell"].to_list() == latest_alone


@pytest.mark.parametrize(("change", "agreement"), [
    ({}, True),
    ({"decoded_sha256": "e", "psnr_db": 30 + 5e-5}, True),
    ({"decoded_sha256": "e", "stream_sha256": "t", "psnr_db": 30 - 5e-4}, True),
    ({"decoded_sha256": "e", "psnr_db": 30 + 2e-4}, False),
    ({"decoded_sha256": "e", "stream_sha256": "t", "psnr_db": 30 - 2e-3}, False),
    ({"decoded_sha256": "e", "psnr_db": None}, False),
    ({"decoded_sha256": "e", "psnr_db_protocol": "psnr/0"}, False),
    ({"num_bytes": 99}, False), ({"status": "failed"}, False),
])  # fmt: skip
def test_rows_agree_at_equal_length_if_pixels_are_equal_or_rounded(change, agreement):
    columns = {"psnr_db": 30.0, "stream_sha256": "s", "decoded_sha256": "d", "num_bytes": 100}
    record = measured.row("ours", 2, "a", **columns)
    first_table, second_table = measured.table([record]), measured.table([record | change])
    assert mark_agreeing(first_table, second_table).to_list() == [agreement]
    assert mark_agreeing(second_table, first_table).to_list() == [agreement]


def test_lossless_rows_agree_with_each_other_and_so_do_failed_ones():
    endless = measured.row("raw", 1, "a", psnr_db=np.inf, decoded_sha256="d")
    broken = measured.failed("raw", 1, "a", "encode", "no")
    tables = [measured.table([endless, broken, last]) for last in (endless, broken)]
    assert mark_agreeing(*tables).to_list() == [True, True, False]
