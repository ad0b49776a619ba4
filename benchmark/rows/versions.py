"""Versions of a row: which one is valid for a cell, and which values rows may take from each other.

A cell has several rows when a failed one was tried again, a finished one was timed or rescored, or
two runs measured it. The best one is valid: measured or imported here rather than bundled, then
without failure, then timed, then coded here rather than precomputed, then later. Each metric is
taken from the best of the versions that agree (`agreement`) or have the same stream and have it
under its present protocol, value, protocol and reason together; counts of features, of the same
pixels too. The row is verified if any version with the same stream and pixels is.

A cell has two rows, one of them bundled, if any cell of the same codec and build came out otherwise
here: failed, or with a row that does not agree.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmark.codec import BoolArray, Int64Array
from benchmark.metrics.metric import metric_columns
from benchmark.registry import FEATURE_SPACES, METRICS, metric_class
from benchmark.rows.agreement import BUILD, agree, bundled_beside_own, numbered, several_builds
from benchmark.rows.schema import equals, group_codes, marked, own_columns

KEY_BYTES = 8  # of a cell's key, by which repeated ones are sought


def merge_versions(table: pa.Table, borrow: bool = False) -> pa.Table:
    """Return one row per cell, or two (see the module); single rows pass through untouched.

    borrow: take features too of rows that agree, whose pixels the column `features_of` then has.
    Columns of text may be dictionaries, and then stay so.
    """
    repeated = _may_repeat(table["cell"])
    if not repeated.any():
        return table
    single, several = (table.filter(pa.array(mask)) for mask in (~repeated, repeated))
    return pa.concat_tables([single, _merged(several.combine_chunks(), borrow)])


def one_per_cell(table: pa.Table) -> pa.Table:
    """Leave out bundled rows beside another row of their cell, which was measured here."""
    beside = bundled_beside_own(table)
    return table.filter(pa.array(~beside)) if beside.any() else table


def share_values(table: pa.Table) -> pa.Table:
    """Fill in metrics that other builds of a codec variant have of the same stream.

    The rows have to agree (`agreement`); of features, their pixels have to be equal. `table` has
    the rows that `merge_versions` returns.
    """
    if not several_builds(table):
        return table
    names = ("image_sha256", "stream_sha256", "decoded_sha256")
    numbers = [numbered(table[name]) for name in names]
    known = np.all([number >= 0 for number in numbers], axis=0)
    content = _groups(group_codes(table, ("codec", "variant")), *numbers[:2])
    known &= np.bincount(content[known], minlength=len(content))[content] > 1
    if not known.any():
        return table
    some = table.filter(pa.array(known)).combine_chunks()
    pixels, content, rows = numbers[2][known], _groups(content[known]), np.arange(some.num_rows)
    _, first = np.unique(content, return_index=True)
    content = _groups(content, np.where(agree(some, rows, first[content]), -1, pixels))
    shared = _with_values(some, rows, content, _groups(content, pixels), rows)
    shared = _with_features(shared, some, rows, content, rows)
    return pa.concat_tables([table.filter(pa.array(~known)), shared])


def _merged(table: pa.Table, borrow: bool) -> pa.Table:
    """Return the valid rows, in the order in which their cells first appear."""
    columns = (table[name] for name in ("cell", "stream_sha256", "decoded_sha256"))
    cells, stream, decoded = map(numbered, columns)
    ok, bundled = equals(table["status"], "ok"), marked(table["bundled"])
    timed, here = marked(table["timing"]), ~marked(table["recorded"])
    later = pc.rank(table["finished_utc"].fill_null("").combine_chunks(), tiebreaker="dense")
    first = -np.arange(len(cells))  # the first of equal ones, always
    order = np.lexsort((first, later.to_numpy(), here, timed, ok, ~bundled))
    rank = np.argsort(order)

    best = order[_highest(cells, rank)][cells]
    alike = agree(table, np.arange(len(cells)), best)
    of_stream, of_pixels = (np.where(alike, own[best], own) for own in (stream, decoded))
    content = _groups(cells, of_stream, np.where(of_stream < 0, of_pixels, -1))
    differing = bundled & ~bundled[best] & ~alike
    if differing.any():
        build = group_codes(table, ("codec", *BUILD))
        cells = _groups(cells, bundled & np.isin(build, build[differing]))
    best = order[_highest(cells, rank)]
    merged = _with_values(table, best, content, _groups(content, decoded), rank)
    merged = _with_features(merged, table, best, content, rank) if borrow else merged

    same = marked(table["attested"])
    for numbers in (stream, decoded):
        same &= numbers == numbers[best][cells]
    verified = np.bincount(cells[same], minlength=len(best)) > 0
    column = pc.if_else(pa.array(verified), True, pa.scalar(None, pa.bool_()))
    return _replaced(merged, "attested", pc.or_kleene(merged["attested"], column))


def _with_values(
    table: pa.Table, rows: Int64Array, content: Int64Array, pixels: Int64Array, rank: Int64Array
) -> pa.Table:
    """Return these rows, each metric from the row of highest rank among those that may give it.

    content, pixels: numbers of the groups of rows that may give each other metrics, or features.
    """
    order = np.argsort(rank)
    ok = equals(table["status"], "ok")[rows]
    filled = table.take(pa.array(rows))
    columns: list[tuple[str, str | None, Int64Array]] = [
        (metric_class(name).column, metric_class(name).protocol, group)
        for names, group in ((METRICS, content), (FEATURE_SPACES, pixels))
        for name in names
    ]
    # A user's metric, whose file is not known here: any protocol is as good.
    columns += [(column, None, content) for column in own_columns(table.column_names)]
    for metric, present, group in columns:
        value, protocol, _ = metric_columns(metric)
        by = table[protocol]
        preferred = np.asarray(by.is_valid()) if present is None else equals(by, present)
        worth = 2 * preferred.astype(np.int64) + np.asarray(table[value].is_valid())
        highest = _highest(group, worth * len(rank) + rank)[group[rows]]
        better = ok & (highest // len(rank) > worth[rows])
        if better.any():
            giver = pa.array(np.where(better, order[highest % len(rank)], rows))
            for column in metric_columns(metric):
                filled = _replaced(filled, column, table[column].take(giver))
    return filled


def _with_features(
    filled: pa.Table, table: pa.Table, rows: Int64Array, content: Int64Array, rank: Int64Array
) -> pa.Table:
    """Give `filled`, rows of `table`, the features of others of the same content if it has none."""
    spaces = [metric_columns(metric_class(name).column) for name in FEATURE_SPACES]
    has, lacks = (
        np.any([np.asarray(side[count].is_valid()) for count, *_ in spaces], axis=0)
        for side in (table, filled)
    )
    donor = _highest(content, np.where(has, rank, -1))[content[rows]]
    lacks = ~lacks & equals(filled["status"], "ok") & (donor >= 0)
    if not lacks.any():
        return filled
    names = [name for of_space in spaces for name in of_space]
    given = np.argsort(rank)[donor]
    both = pa.concat_tables([filled.select(names), table.select(names)]).unify_dictionaries()
    at = np.where(lacks, len(rows) + given, np.arange(len(rows)))
    for name, values in zip(names, both.take(pa.array(at)).columns, strict=True):
        filled = _replaced(filled, name, values)
    origin = pc.coalesce(table["features_of"], table["decoded_sha256"]).take(pa.array(given))
    of = pc.if_else(pa.array(lacks), origin, filled["features_of"])
    return _replaced(filled, "features_of", of)


def _highest(group: Int64Array, values: Int64Array) -> Int64Array:
    """Return the highest value of each group, by the group's number."""
    highest = np.full(int(group.max(initial=-1)) + 1, -1, np.int64)
    np.maximum.at(highest, group, values)
    return highest


def _groups(*numbers: Int64Array | BoolArray) -> Int64Array:
    """Number the distinct tuples of integers from -1 on, in order of appearance."""
    together = np.zeros(1, np.int64)
    for number in numbers:
        together = together * (int(number.max(initial=0)) + 2) + number.astype(np.int64) + 1
        together = numbered(pa.chunked_array([together]))
    return together


def _may_repeat(column: pa.ChunkedArray) -> BoolArray:
    """Mark texts that others equal in their first eight bytes, bool of shape (rows,).

    Keys of cells are hexadecimal digests, whose repetitions these are. Shorter texts are marked.
    """
    starts = []
    for chunk in column.chunks:
        _, offsets, data = chunk.buffers()
        ends = np.frombuffer(offsets, np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
        if len(chunk) and np.diff(ends).min() < KEY_BYTES:
            return np.ones(len(column), np.bool_)
        first = np.frombuffer(data or b"", np.uint8)[ends[:-1, None] + np.arange(KEY_BYTES)]
        starts.append(first.view(np.uint64).ravel())
    keys = np.concatenate([*starts, np.empty(0, np.uint64)])
    ordered = np.sort(keys)
    return np.isin(keys, ordered[1:][ordered[1:] == ordered[:-1]])


def _replaced(table: pa.Table, column: str, values: pa.ChunkedArray) -> pa.Table:
    at = table.schema.get_field_index(column)
    return table.set_column(at, table.schema.field(at), values)
