"""Versions of a cell: the row that stands, against the rules applied one row at a time."""

import random

import pyarrow as pa
import pytest

from benchmark.metrics.metric import metric_columns
from benchmark.registry import FEATURE_SPACES, METRICS, metric_class
from benchmark.rows.schema import table_schema
from benchmark.rows.versions import merge_versions

NAMES = (*METRICS, *FEATURE_SPACES)


def expected(rows):
    """The rules of `merge_rows`, of one cell."""
    by_rank = sorted(
        rows,
        key=lambda row: (
            row["status"] == "ok",
            bool(row["timing"]),
            not row["recorded"],
            row["finished_utc"] or "",
        ),
        reverse=True,
    )
    best = dict(by_rank[0])
    same = [
        row
        for row in rows
        if all(row[name] == best[name] for name in ("stream_sha256", "decoded_sha256"))
    ]
    if any(row["attested"] for row in same):
        best["attested"] = True
    if best["status"] != "ok":
        return best
    for name in NAMES:
        value, protocol, reason = metric_columns(metric_class(name).column)
        present = metric_class(name).protocol

        def worth(row, value=value, protocol=protocol, present=present):
            return row[protocol] == present, row[value] is not None

        donor = max(by_rank, key=worth)
        best.update({column: donor[column] for column in (value, protocol, reason)})
    return best


def some_row(chance, cells):
    schema = table_schema()
    row = dict.fromkeys(schema.names)
    row |= {
        "cell": f"cell{chance.randrange(cells)}",
        "status": chance.choice(["ok", "ok", "failed"]),
        "timing": chance.choice([True, False, None]),
        "recorded": chance.choice([True, False, None]),
        "attested": chance.choice([True, None, None]),
        "finished_utc": chance.choice([None, *(f"2026-01-0{day}" for day in range(1, 4))]),
        "stream_sha256": chance.choice(["a", "b", None]),
        "decoded_sha256": chance.choice(["c", "d"]),
        "machine": str(chance.random()),
    }
    for name in NAMES:
        value, protocol, reason = metric_columns(metric_class(name).column)
        row[value] = chance.choice([None, chance.randrange(100)])
        row[protocol] = chance.choice([None, metric_class(name).protocol, "older"])
        row[reason] = chance.choice([None, "why"])
    return row


@pytest.mark.parametrize("cells", [1, 7, 60, 1000])
@pytest.mark.parametrize("coded", [False, True], ids=["texts", "dictionaries"])
def test_the_row_that_stands_is_the_one_that_the_rules_name(cells, coded):
    chance = random.Random(cells)
    rows = [some_row(chance, cells) for _ in range(120)]
    table = pa.Table.from_pylist(rows, schema=table_schema())
    if coded:
        for name in ("status", "machine", "psnr_db_protocol"):
            place = table.schema.get_field_index(name)
            table = table.set_column(place, name, table[name].dictionary_encode())
    versions = {}
    for row in rows:
        versions.setdefault(row["cell"], []).append(row)
    found = merge_versions(table).cast(table_schema()).to_pylist()
    assert len(found) == len(versions)
    assert {row["cell"]: row for row in found} == {
        cell: expected(rows) for cell, rows in versions.items()
    }


def test_what_is_attested_of_one_stream_says_nothing_of_another():
    row = {"cell": "a", "status": "ok", "stream_sha256": "s", "decoded_sha256": "d"}
    first = {**row, "attested": True, "finished_utc": "2026-01-01"}
    for change in ({"stream_sha256": "t"}, {"decoded_sha256": "e"}, {}):
        later = {**row, **change, "finished_utc": "2026-01-02"}
        table = pa.Table.from_pylist([first, later], schema=table_schema())
        (merged,) = merge_versions(table).to_pylist()
        assert merged["finished_utc"] == "2026-01-02"
        assert merged["attested"] is (None if change else True)
