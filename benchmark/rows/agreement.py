"""Rows of one cell that were measured twice: which agree, and which builds are therefore one.

Two rows agree if both failed, or if their streams have equal length and their pixels are equal or
differ by rounding, as PSNR says. Between processors PSNR was measured to differ by up to 4.6e-5 dB
at equal streams and by 1.3e-4 dB where a symbol differs (docs/experiments/processors.md).
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmark.codec import BoolArray, Float64Array, Int64Array
from benchmark.rows.schema import dense, equals, group_codes, image_numbers, marked

# The largest differences in PSNR of rows that agree, with equal streams and without.
ROUNDING_DB, SYMBOL_DB = 1e-4, 1e-3
BUILD = ("fingerprint", "revision")
PLACE = ("codec", "variant", "setting_name", "setting_value", "coding_protocol")


def agree(table: pa.Table, first: Int64Array, second: Int64Array) -> BoolArray:
    """Mark the pairs of rows of one cell that agree; arguments and result have shape (pairs,)."""
    ok = equals(table["status"], "ok")
    columns = "num_bytes", "stream_sha256", "decoded_sha256", "psnr_db_protocol"
    numbers = (numbered(table[name]) for name in columns)
    size, stream, pixels, rule = (number[first] == number[second] for number in numbers)
    limit = np.where(stream, ROUNDING_DB, SYMBOL_DB)
    rounded = rule & (psnr_differences(table, first, second) <= limit)
    alike = size & (pixels | rounded)
    return np.asarray(np.where(ok[first] & ok[second], alike, ok[first] == ok[second]), np.bool_)


def numbered(column: pa.ChunkedArray) -> Int64Array:
    """Number the distinct values in order of appearance, shape (rows,); -1 for null."""
    values = column.combine_chunks()
    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    return np.asarray(values.indices.fill_null(-1).to_numpy(), np.int64)


def psnr_differences(table: pa.Table, first: Int64Array, second: Int64Array) -> Float64Array:
    """Return how much the PSNR of two rows differs, dB, shape (pairs,); NaN where one has none."""
    psnr = np.asarray(table["psnr_db"].to_numpy(), np.float64)
    with np.errstate(invalid="ignore"):  # of lossless images: infinite less infinite
        return np.asarray(np.abs(psnr[first] - psnr[second]))


def bundled_beside_own(table: pa.Table) -> BoolArray:
    """Mark the bundled rows of cells that have another row, measured here; shape (rows,)."""
    bundled = marked(table["bundled"])
    if not bundled.any() or bundled.all():
        return np.zeros(len(bundled), np.bool_)
    here = table["cell"].filter(pa.array(~bundled))
    return np.asarray(bundled & pc.is_in(table["cell"], value_set=here).to_numpy(), np.bool_)


def apart_rows(table: pa.Table) -> BoolArray:
    """Mark the bundled rows of codecs and builds that came out otherwise here, shape (rows,)."""
    twice = bundled_beside_own(table)  # `merge_versions` leaves two rows only where they differ
    if twice.any():
        build = group_codes(table, ("codec", *BUILD))
        twice = marked(table["bundled"]) & np.isin(build, build[twice])
    return twice


def several_builds(table: pa.Table) -> bool:
    """Return whether any codec variant has rows of several builds."""
    kinds = table.group_by(["codec", "variant", *BUILD]).aggregate([])
    return bool(kinds.num_rows > kinds.group_by(["codec", "variant"]).aggregate([]).num_rows)


def build_numbers(table: pa.Table, apart: BoolArray | None = None) -> Int64Array:
    """Number the rows by codec and build, shape (rows,); equal builds have one number.

    apart: `apart_rows`, which are of builds of their own.
    """
    equal = table["build"].combine_chunks()
    if equal.null_count == len(equal):
        build = group_codes(table, ("codec", *BUILD))
    else:
        texts = pc.coalesce(equal, _build_texts(table))
        joined = table.select(["codec"]).append_column("build", texts)
        build = group_codes(joined, joined.column_names)
    return build if apart is None else dense(2 * build + apart)


def with_equal_builds(table: pa.Table) -> pa.Table:
    """Name one of several equal builds in the column `build` of their rows.

    Equal are builds of a codec that share cells if all the streams there are equal, byte for byte,
    and the rows agree; bundled rows that differ from the same build here equal no other.
    """
    if not several_builds(table):
        return table
    build = build_numbers(table)
    known = np.asarray(table["stream_sha256"].is_valid()) & equals(table["status"], "ok")
    rows = np.flatnonzero(known & ~apart_rows(table))
    place = group_codes(table, PLACE, image_numbers(table))[rows]
    order = np.lexsort((build[rows], place))
    rows, place = rows[order], place[order]
    pairs = (place[1:] == place[:-1]) & (build[rows[1:]] != build[rows[:-1]])
    first, second = rows[:-1][pairs], rows[1:][pairs]
    if not len(first):
        return table
    stream = numbered(table["stream_sha256"])
    equal = (stream[first] == stream[second]) & agree(table, first, second)
    size = int(build.max()) + 1
    kinds, kind = np.unique(build[first] * size + build[second], return_inverse=True)
    number = np.arange(size)
    for both in kinds[np.bincount(kind, equal) == np.bincount(kind)].tolist():
        low, high = sorted(number[at] for at in divmod(both, size))
        number[number == high] = low
    _, any_row = np.unique(build, return_index=True)
    names = _build_texts(table).take(pa.array(any_row[number[build]]))
    joined = np.bincount(number, minlength=size)[number[build]] > 1
    named = pc.if_else(pa.array(joined), names, pa.scalar(None, pa.string()))
    return table.set_column(table.schema.get_field_index("build"), "build", named)


def _build_texts(table: pa.Table) -> pa.Array:
    parts = (table[name].cast(pa.string()).combine_chunks().fill_null("") for name in BUILD)
    return pc.binary_join_element_wise(*parts, " ")
