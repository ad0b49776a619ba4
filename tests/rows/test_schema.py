"""Columns and keys of rows, and numbers of their values, against plain Python."""

import hashlib
import json
import random
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from benchmark.codec import CodecInfo, Setting
from benchmark.rows.editions import numbered, ordered_numbers, tuple_numbers
from benchmark.rows.schema import alike, cell_key, own_columns, plain, table_schema
from benchmark.rows.shard import key_starts, may_repeat
from benchmark.spec import CodecSpec

MINE = ["mine", "mine_protocol", "mine_reason"]


def test_a_cells_key_is_a_sha256_of_all_that_decides_its_stream():
    info = CodecInfo("1", "enc", "MIT", "f" * 64, 3, "all")
    what = (CodecSpec.of("jpeg", "optimize=1"), info, Setting("quality", 5), "s", 8, "coding/1")
    parts = ["jpeg", "optimize=1", "f" * 64, 3, "quality", 5.0, "s", 8, "coding/1"]
    for more, words in (({}, []), ({"generation": 1}, []), ({"generation": 2}, ["generation 2"])):
        digest = hashlib.sha256(json.dumps([*parts, *words]).encode()).hexdigest()
        assert cell_key(*what, **more) == digest


def test_columns_of_a_metric_say_what_they_hold_and_those_of_a_user_come_last():
    def meaning(name):
        return table_schema().field(name).metadata[b"meaning"].decode()

    assert meaning("psnr_db") == "higher is better; null has a reason"
    assert meaning("psnr_db_protocol") == "protocol id of psnr_db"
    count = "alex256_patches"
    assert meaning(f"{count}_protocol") == f"protocol id of the features behind {count}"
    assert table_schema().field(count).type == pa.int64()
    assert own_columns(["psnr_db", *MINE, "other", "other_protocol"]) == ["mine"]
    assert own_columns(MINE) == ["mine"]
    one = pa.table({"cell": ["a"]})
    other = pa.table({"cell": ["a"], "mine": [2.0], MINE[1]: ["x"], MINE[2]: ["y"]})
    tables = alike([one, other])
    names = [*table_schema().names, *MINE]
    assert [table.column_names for table in tables] == [names, names]
    assert [table["mine"].to_pylist() for table in tables] == [[None], [2.0]]
    assert plain(one).schema.equals(table_schema())


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("length", [8, 9, 64])
def test_keys_that_begin_alike_may_repeat(seed, length):
    chance = random.Random(seed)
    texts = [f"{chance.randrange(30):08x}".ljust(length, "0") for _ in range(40)]
    chunks = [pa.array(["x" * 9, *texts[:25]])[1:], pa.array(texts[25:]), pa.array([], pa.string())]
    counts = Counter(text[:8] for text in texts)
    expected = [counts[text[:8]] > 1 for text in texts]
    (result,) = may_repeat([key_starts(pa.chunked_array(chunks))])
    assert result.tolist() == expected
    apart = may_repeat([key_starts(pa.chunked_array([chunk])) for chunk in chunks])
    assert [of.tolist() for of in apart] == [expected[:25], expected[25:], []]


def test_short_keys_may_all_repeat_and_none_repeats_nothing():
    texts = pa.chunked_array([["a" * 7, "b" * 20, "c" * 3, None]])
    assert [of.tolist() for of in may_repeat([key_starts(texts)])] == [[True, False, True, True]]
    (none,) = may_repeat([key_starts(pa.chunked_array([[]], pa.string()))])
    assert none.tolist() == may_repeat([]) == []


@pytest.mark.parametrize("seed", range(8))
def test_tuples_are_numbered_in_order_of_appearance_or_of_value(seed):
    generator = np.random.default_rng(seed)
    columns = [generator.integers(-1, top, 30) for top in (2, 5)] + [generator.random(30) < 0.5]
    tuples = list(zip(*(column.tolist() for column in columns), strict=True))
    order = list(dict.fromkeys(tuples))
    assert tuple_numbers(*columns).tolist() == [order.index(one) for one in tuples]
    up = [column + 1 for column in columns[:2]] + columns[2:]
    order = sorted(set(tuples))
    assert ordered_numbers(*up).tolist() == [order.index(one) for one in tuples]
    texts = pa.chunked_array([[None if column < 0 else str(column) for column in columns[1]]])
    distinct = list(dict.fromkeys(text for text in texts.to_pylist() if text))
    expected = [distinct.index(text) if text else -1 for text in texts.to_pylist()]
    assert numbered(texts).tolist() == numbered(texts.dictionary_encode()).tolist() == expected
