"""Tables in narrow types have the rows that they are made of, or are refused."""

import numpy as np
import pyarrow as pa
import pytest

from benchmark.rows.editions import _order, floats, recency
from benchmark.rows.schema import filled_up, nulls, plain
from benchmark.rows.shard_folder import Lean, NotLean
from support.rows.measured import row, table

TIMES = ("2026-01-02T03:04:05.678+00:00", "1969-12-31T23:59:59.999+00:00", None)


def made(**columns):
    values = [dict(zip(columns, of, strict=True)) for of in zip(*columns.values(), strict=True)]
    return table([row("jpeg", number, "a.png", **of) for number, of in enumerate(values)])


@pytest.mark.parametrize("sizes", [(7, 7, 7), (-(1 << 31), 5, (1 << 31) - 1), (None, 0, None)])
def test_a_lean_table_has_the_rows_that_it_is_made_of(sizes):
    whole = made(finished_utc=TIMES, width_px=sizes)
    lean = Lean()(whole)
    assert (lean["num_bytes"].type, lean["width_px"].type) == (pa.int32(), pa.int32())
    assert plain(filled_up(lean, whole.schema)).equals(whole)
    assert recency(lean).argsort().tolist() == recency(whole).argsort().tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    "odd",
    [
        {"num_bytes": (1, 1 << 31)},
        {"width_px": (-(1 << 31) - 1, 1)},
        {"finished_utc": (TIMES[0], "2026-01-02")},
        {"finished_utc": (TIMES[0], TIMES[0].replace("T", " "))},
        {"finished_utc": (TIMES[0], TIMES[0].replace("+00", "+01"))},
        {"finished_utc": (TIMES[0], TIMES[0].replace("01-02", "02-30"))},
    ],
)
def test_what_narrow_types_cannot_hold_or_order_is_refused(odd):
    with pytest.raises(NotLean):
        Lean()(made(**odd))


def test_columns_of_one_value_share_their_memory_between_tables():
    lean = Lean()
    first, second = (lean(made(num_bytes=(9, 9), revision=(1, 1))) for _ in range(2))
    assert {of["revision"].chunk(0).buffers()[1].address for of in (first, second)} == {
        first["revision"].chunk(0).buffers()[1].address
    }


@pytest.mark.parametrize("rows", [0, 1, 1 << 16, (1 << 17) + 3])
def test_columns_of_nulls_have_as_many_rows_as_were_asked_for(rows):
    for kind in (pa.string(), pa.int64(), pa.dictionary(pa.int32(), pa.string())):
        column = nulls(rows)(kind)
        assert (len(column), column.null_count, column.type) == (rows, rows, kind)


def test_numbers_and_booleans_become_floats_and_null_is_none():
    chunks = pa.chunked_array([[True, None], [False]])
    assert np.array_equal(floats(chunks), [1, np.nan, 0], equal_nan=True)
    assert floats(pa.chunked_array([[1, 2]], pa.int32())).tolist() == [1, 2]


@pytest.mark.parametrize(("points", "images"), [(5, 7), (5, 10_000), (1, 1)])
def test_rows_are_ordered_by_point_then_image_and_equal_ones_are_fewer(points, images):
    chance = np.random.default_rng(images)
    place = chance.permutation(points * images)[:35]
    point, image = place // images, place % images
    assert _order(point, image).tolist() == np.lexsort((image, point)).tolist()
    twice = _order(np.append(point, point[0]), np.append(image, image[0]))
    assert len(twice) == len(place)
    assert len(_order(point[:0], image[:0])) == 0
