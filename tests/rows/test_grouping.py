"""Numbers that stand for values: the same groups and order as sorting tuples of the values."""

import random

import numpy as np
import pyarrow as pa
import pytest

from benchmark.rows.editions import codes, equals, group_codes, last_of_groups


def null_last(value):
    return value is None, value or 0


@pytest.mark.parametrize("values", [["b", None, "a", "b", ""], [3, 1, None, 1], [2.5, -1.0], []])
@pytest.mark.parametrize("chunks", [1, 2])
def test_a_code_is_the_index_of_the_value_among_the_sorted_ones(values, chunks):
    kind = pa.array([one for one in values if one is not None]).type if values else pa.string()
    column = pa.chunked_array([values[at::chunks] for at in range(chunks)], kind)
    numbers, distinct = codes(column)
    assert [distinct[number] for number in numbers.tolist()] == column.to_pylist()
    filled = [one for one in distinct if one is not None]
    assert filled == sorted(set(filled))
    assert None not in distinct[:-1]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("sparse", [1, 10**6])
def test_groups_are_numbered_as_the_sorted_tuples_of_their_values(seed, sparse):
    chance = random.Random(seed)
    rows = [
        {"text": chance.choice(["a", "b", None]), "number": chance.choice([1, 2, None])}
        for _ in range(chance.randrange(1, 40))
    ]
    within = [sparse * chance.randrange(3) for _ in rows]
    table = pa.Table.from_pylist(rows, schema=pa.schema({"text": "string", "number": "int64"}))
    found = group_codes(table, ("text", "number"), np.array(within, np.int64))
    keys = [
        (outer, null_last(row["text"]), null_last(row["number"]))
        for outer, row in zip(within, rows, strict=True)
    ]
    distinct = sorted(set(keys), key=lambda key: (key[0], str(key[1]), key[2]))
    assert found.tolist() == [distinct.index(key) for key in keys]


def test_no_rows_make_no_groups():
    table = pa.table({"text": pa.array([], pa.string())})
    assert group_codes(table, ("text",)).tolist() == []
    assert last_of_groups(np.array([], np.int64)).tolist() == []


def test_null_equals_no_text():
    assert equals(pa.chunked_array([["a", None, "b"]]), "a").tolist() == [True, False, False]
