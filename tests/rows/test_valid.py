"""Versions of a row: the one that stands, against the rules applied one row at a time."""

import random

import numpy as np
import polars as pl
import pytest

from benchmark.codec import CODING
from benchmark.registry import FEATURE_SPACES, METRICS, metric_class
from benchmark.rows.comparable import ComparableRows
from benchmark.rows.schema import metric_columns, table_columns
from benchmark.rows.shard import table_of
from benchmark.rows.valid import merge_versions, one_per_cell, share_values, with_equal_builds
from support.rows import measured

NAMES = (*METRICS, *FEATURE_SPACES)


def by_hand(rows):
    """The rules of `merge_versions`, one row at a time: the rows that stand."""

    def rank(row):
        return (
            not row["bundled"],
            row["status"] == "ok",
            bool(row["timing"]),
            not row["recorded"],
            row["finished_utc"] or "",
        )

    def build(row):
        return row["codec"], row["fingerprint"], row["revision"]

    cells = {}
    for row in rows:
        cells.setdefault(row["cell"], []).append(row)
    for versions in cells.values():
        versions.sort(key=rank, reverse=True)
    differing = {
        build(row)
        for first, *others in cells.values()
        for row in others
        if row["bundled"] and not first["bundled"] and not alike(row, first)
    }
    result = []
    for versions in cells.values():
        apart = [row for row in versions if row["bundled"] and build(row) in differing]
        rest = [row for row in versions if row not in apart]
        result += [standing(some, versions) for some in (rest, apart) if some]
    return result


def alike(row, other):
    """Whether rows have equal sizes, and equal pixels or the same PSNR by one rule; or failed."""
    if not row["status"] == other["status"] == "ok":
        return row["status"] == other["status"]
    of_psnr = [(record["psnr_db"], record["psnr_db_protocol"]) for record in (row, other)]
    pixels = row["decoded_sha256"] == other["decoded_sha256"]
    rounded = of_psnr[0] == of_psnr[1] and of_psnr[0][0] is not None
    return row["num_bytes"] == other["num_bytes"] and (pixels or rounded)


def standing(rows, versions):
    """The best of these rows, sorted from the best, with what versions of its cell have."""
    best = dict(rows[0])
    same = [
        row
        for row in rows
        if all(row[name] == best[name] for name in ("stream_sha256", "decoded_sha256"))
    ]
    if any(row["attested"] for row in same):
        best["attested"] = True
    if best["status"] != "ok":
        return best

    def content(row):
        row = versions[0] if alike(row, versions[0]) else row
        stream = row["stream_sha256"]
        return stream, None if stream else row["decoded_sha256"]

    of_stream = [row for row in versions if content(row) == content(rows[0])]
    of_pixels = [row for row in of_stream if row["decoded_sha256"] == best["decoded_sha256"]]
    for name in NAMES:
        value, protocol, reason = metric_columns(metric_class(name).column)
        present = metric_class(name).protocol

        def worth(row, value=value, protocol=protocol, present=present):
            return row[protocol] == present, row[value] is not None

        donor = max([rows[0], *(of_stream if name in METRICS else of_pixels)], key=worth)
        best.update({column: donor[column] for column in (value, protocol, reason)})
    return best


def some_row(chance, cells):
    row = dict.fromkeys(column.name for column in table_columns())
    row |= {
        "cell": f"cell{chance.randrange(cells)}",
        "status": chance.choice(["ok", "ok", "failed"]),
        "timing": chance.choice([True, False, None]),
        "recorded": chance.choice([True, False, None]),
        "bundled": chance.choice([True, False, None]),
        "attested": chance.choice([True, None, None]),
        "finished_utc": chance.choice([None, *(f"2026-01-0{day}" for day in range(1, 4))]),
        "stream_sha256": chance.choice(["a", "a", "b", None]),
        "decoded_sha256": chance.choice(["c", "c", "d"]),
        "num_bytes": chance.choice([9, 9, 9, None]),
        "machine": str(chance.random()),
    }
    # what a cell's key is made of
    row |= {"codec": "x", "variant": "", "fingerprint": row["cell"][-1], "revision": 1}
    for name in NAMES:
        value, protocol, reason = metric_columns(metric_class(name).column)
        row[value] = chance.choice([None, chance.randrange(3)])
        row[protocol] = chance.choice([None, metric_class(name).protocol, "older"])
        row[reason] = chance.choice([None, "why"])
    return row


@pytest.mark.parametrize("cells", [1, 7, 60, 1000])
@pytest.mark.parametrize("lean", [False, True], ids=["texts", "categories"])
def test_the_row_that_stands_is_the_one_that_the_rules_name(cells, lean):
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


def test_own_rows_that_differ_set_no_bundled_row_apart_that_agrees_with_the_valid_one():
    row = {"cell": "a", "status": "ok", "codec": "x", "fingerprint": "f", "decoded_sha256": "d"}
    rows = [
        row | {"num_bytes": 8, "finished_utc": "2026-01-01"},
        row | {"num_bytes": 9, "finished_utc": "2026-01-02"},
        row | {"num_bytes": 9, "bundled": True},
    ]
    merged = merge_versions(table_of(rows))
    assert merged["num_bytes"].to_list() == [9]


def test_what_is_verified_of_one_stream_says_nothing_of_another():
    row = {"cell": "a", "status": "ok", "stream_sha256": "s", "decoded_sha256": "d"}
    first = {**row, "attested": True, "finished_utc": "2026-01-01"}
    for change in ({"stream_sha256": "t"}, {"decoded_sha256": "e"}, {}):
        later = {**row, **change, "finished_utc": "2026-01-02"}
        table = table_of([first, later])
        (merged,) = merge_versions(table).rows(named=True)
        assert merged["finished_utc"] == "2026-01-02"
        assert merged["attested"] is (None if change else True)


def test_no_rows_are_comparable():
    rows = ComparableRows(measured.table([]))
    assert (rows.index.tolist(), rows.points, rows.left_out) == ([], 0, ())


def test_a_bundled_row_beside_an_own_one_of_its_cell_is_left_out():
    cells = pl.DataFrame({"cell": ["a", "a", "b", "c"], "bundled": [True, None, True, False]})
    assert one_per_cell(cells).rows() == cells[[1, 2, 3]].rows()
    for same in (True, False, None):
        alone = cells.with_columns(bundled=pl.lit(same, pl.Boolean))
        assert one_per_cell(alone) is alone


def several_builds(chance):
    """Rows of two builds of two codecs at few places, as a store reads them: one per cell."""
    rows = []
    for number in range(chance.randrange(2, 40)):
        codec, image = chance.choice("xy"), chance.choice("ab")
        row = measured.row(codec, chance.choice([9, 10]), image, cell=str(number))
        row |= {
            "stream_sha256": chance.choice(["s", "s", "t", None]),
            "decoded_sha256": chance.choice(["d", "d", "e", None]),
            "image_sha256": chance.choice([image, image, None]),
            "num_bytes": 9,
            "psnr_db": chance.choice([30.0, 30.0, 31.0]),
            "fingerprint": chance.choice("fg"),
            "status": chance.choice(["ok", "ok", "ok", "failed"]),
        }
        for name in NAMES:
            if name != "psnr":
                value, protocol, reason = metric_columns(metric_class(name).column)
                row[value] = chance.choice([None, None, number])
                row[protocol] = chance.choice([None, metric_class(name).protocol, "older"])
                row[reason] = chance.choice([None, "why"])
        rows.append(row)
    return rows


def shared_by_hand(rows):
    """The rules of `share_values`, one row at a time."""
    names = ("image_sha256", "stream_sha256", "decoded_sha256")
    by_stream = {}
    for row in rows:
        if all(row[name] for name in names):
            by_stream.setdefault((row["codec"], *(row[n] for n in names[:2])), []).append(row)
    result = {row["cell"]: dict(row) for row in rows}
    for group in by_stream.values():
        for row in group if len(group) > 1 else ():
            of_first = alike(row, group[0])
            same = [
                other
                for other in group
                if (alike(other, group[0]) and of_first)
                or (not of_first and not alike(other, group[0])
                    and other["decoded_sha256"] == row["decoded_sha256"])
            ]  # fmt: skip
            equal = [one for one in same if one["decoded_sha256"] == row["decoded_sha256"]]
            filled = result[row["cell"]]
            for name in NAMES:
                columns = metric_columns(metric_class(name).column)
                present = metric_class(name).protocol

                def worth(one, columns=columns, present=present):
                    return one[columns[1]] == present, one[columns[0]] is not None

                donors = [row, *reversed(same if name in METRICS else equal)]
                donor = max(donors, key=worth) if row["status"] == "ok" else row
                filled.update({column: donor[column] for column in columns})
            counts = [metric_class(name).column for name in FEATURE_SPACES]
            if row["status"] == "ok" and all(filled[count] is None for count in counts):
                for donor in reversed(same):
                    if any(donor[count] is not None for count in counts):
                        of_spaces = [name for count in counts for name in metric_columns(count)]
                        filled.update({name: donor[name] for name in of_spaces})
                        filled["features_of"] = donor["decoded_sha256"]
                        break
    return result


@pytest.mark.parametrize("seed", range(25))
def test_equal_streams_share_what_the_rules_name(seed):
    rows = several_builds(random.Random(seed))
    table = measured.table(rows)
    several = len({(row["codec"], row["fingerprint"]) for row in rows}) > len(
        {row["codec"] for row in rows}
    )
    expected = shared_by_hand(table.rows(named=True)) if several else {}
    result = share_values(table)
    assert result.height == len(rows)
    for row in result.rows(named=True):
        assert row == expected.get(row["cell"], row)


def test_features_that_a_row_was_given_are_not_given_on():
    space, other = (metric_class(name).column for name in ("alex256", "squeeze256"))
    same = {"image_sha256": "i", "stream_sha256": "s", "psnr_db": 30.0}
    builds = (("f1", "p", {}), ("f2", "p", {space: 7}), ("f3", "q", {}), ("f4", "p", {other: 9}))
    rows = [
        measured.row("x", 5, "a", fingerprint=f, decoded_sha256=pixels, cell=f, **same) | count
        for f, pixels, count in builds
    ]
    shared = share_values(measured.table(rows)).sort("fingerprint")
    assert shared[space].to_list() == [7, 7, None, 7]
    assert shared[other].to_list() == [9, 9, 9, 9]


def test_rows_of_one_build_share_nothing():
    rows = [measured.row("x", quality, "a", stream_sha256="s", decoded_sha256="d")
            | {"lpips_alex": value} for quality, value in ((5, None), (10, 0.5))]  # fmt: skip
    table = measured.table(rows)
    assert share_values(table) is with_equal_builds(table) is table


@pytest.mark.parametrize("seed", range(25))
def test_builds_that_share_cells_and_agree_in_all_of_them_have_one_name(seed):
    chance = random.Random(seed)
    rows = several_builds(chance)
    if seed % 2:  # then streams hardly ever differ
        rows = [row | {"stream_sha256": "s", "decoded_sha256": "d"} for row in rows]
        rows[0]["stream_sha256"] = "t"
    result = with_equal_builds(measured.table(rows)).rows(named=True)
    known = [row for row in rows if row["status"] == "ok" and row["stream_sha256"]]
    for codec in "xy":
        of = [[row for row in known if (row["codec"], row["fingerprint"]) == (codec, build)]
              for build in "fg"]  # fmt: skip

        def place(row):
            return row["setting_value"], row["image_sha256"] or row["image"]

        pairs = [(one, other) for one in of[0] for other in of[1] if place(one) == place(other)]
        same = [alike(*pair) and pair[0]["stream_sha256"] == pair[1]["stream_sha256"]
                for pair in pairs]  # fmt: skip
        names = {row["build"] for row in result if row["codec"] == codec}
        builds = {row["fingerprint"] for row in rows if row["codec"] == codec}
        if len(builds) == 2 and not repeated(of, place):
            assert len(names) == 1
            assert (names != {None}) == bool(pairs and all(same))


def repeated(of, place):
    return any(len({place(row) for row in rows}) < len(rows) for rows in of)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("protocol", [CODING, "coding/0"])
def test_editions_are_ordered_by_variant_age_setting_and_image(seed, protocol):
    """Settings are numbers, 9 before 10; of repeated rows, the latest is taken."""
    chance = random.Random(seed)
    rows = several_builds(chance)
    for number, row in enumerate(rows):
        row |= {
            "variant": chance.choice(["", "v=1"]),
            "revision": chance.choice([1, 1, 2]),
            "run": chance.choice("123"),
            "finished_utc": f"2026-01-01T00:{number:02}",  # no two rows are equally new
            "bundled": chance.choice([True, None]),
            "coding_protocol": chance.choice([CODING, CODING, "coding/0", None]),
        }
    table = measured.table(rows)
    result = ComparableRows(table, protocol)
    mine = [at for at, row in enumerate(rows) if row["coding_protocol"] == protocol]

    def edition(at):
        return tuple(rows[at][name] for name in ("codec", "variant", "fingerprint", "revision"))

    def lateness(at):
        return not rows[at]["bundled"], rows[at]["run"], rows[at]["finished_utc"]

    latest = {}
    for at in mine:
        latest[edition(at)] = max(latest.get(edition(at), lateness(at)), lateness(at))

    def place(at):
        variant, age = edition(at)[:2], latest[edition(at)]
        newer = [one for one in latest if one[:2] == variant and latest[one] > age]
        image = rows[at]["image_sha256"] or rows[at]["image"]
        return *variant, len(newer), rows[at]["setting_value"], image

    by_place = {}
    for at in sorted(mine, key=lateness):
        by_place[place(at)] = at
    expected = [by_place[one] for one in sorted(by_place)]
    assert result.index.tolist() == expected
    ages = result.of_points["age"].to_numpy()[result.point]
    assert ages.tolist() == [place(at)[2] for at in expected]
    for numbers, depth in ((result.edition, 3), (result.point, 4)):
        kinds = sorted({place(at)[:depth] for at in expected})
        assert numbers.tolist() == [kinds.index(place(at)[:depth]) for at in expected]
    order = sorted(range(len(expected)), key=lambda at: lateness(expected[at]))
    assert np.argsort(result.recency).tolist() == order
    others = [at for at in range(len(rows)) if at not in mine]
    assert result.other.tolist() == others
    latest_alone = ComparableRows(table, protocol, newest_only=True)
    assert latest_alone.index.tolist() == [at for at in expected if not place(at)[2]]
    of_older = (at for at in mine if place(at)[2])
    assert latest_alone.other.tolist() == sorted([*others, *of_older])
