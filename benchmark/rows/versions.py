"""Versions of rows: which is valid for a cell, which are of one build, and which build is newest.

A cell has several rows when a failed one was tried again, a finished one was timed or rescored, or
two runs measured it. The best one is valid: measured or imported here rather than bundled, then
without failure, then timed, then coded here rather than precomputed, then later. Each metric is
taken from the best of the versions that agree or have the same stream and have it under its present
protocol, value, protocol and reason together; counts of features, of the same pixels too. Two rows
agree if both failed, or if their streams have equal length and their pixels are equal or differ by
rounding, as PSNR says. Between processors PSNR was measured to differ by up to 4.6e-5 dB at equal
streams and by 1.3e-4 dB where a symbol differs (docs/experiments/processors.md). A cell has two
rows, one of them bundled, if any cell of the same codec and build came out otherwise here: failed,
or with a row that does not agree.

A build is one program, library or weight file (`fingerprint`) and one revision of its adapter
(`revision`). Bundled rows are of the build that they name, unless a cell that was measured here too
came out otherwise. Builds whose rows are equal in the cells that both have are one. An edition is a
codec variant of one build; the newest is that of the latest run here, else the latest bundled one.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmark.codec import BoolArray, Float64Array, Int64Array
from benchmark.registry import FEATURE_SPACES, METRICS, metric_named
from benchmark.rows.editions import (
    apart_rows,
    build_numbers,
    build_texts,
    group_codes,
    group_highest,
    image_numbers,
    numbered,
    tuple_numbers,
)
from benchmark.rows.schema import (
    equals,
    marked,
    metric_columns,
    own_columns,
    replaced,
)
from benchmark.rows.shard import BUILD, key_starts, may_repeat, several_builds

# The largest differences in PSNR of rows that agree, with equal streams and without.
ROUNDING_DB, SYMBOL_DB = 1e-4, 1e-3


def merge_versions(table: pa.Table, borrow: bool = False) -> pa.Table:
    """Return one row per cell, or two (see the module); single rows pass through untouched.

    borrow: take features too of rows that agree, whose pixels the column `features_of` then has.
    Columns of text may be dictionaries, and then stay so.
    """
    (repeated,) = may_repeat([key_starts(table["cell"])])
    if not repeated.any():
        return table
    single, several = (table.filter(pa.array(mask)) for mask in (~repeated, repeated))
    return pa.concat_tables([single, _merged(several.combine_chunks(), borrow)])


def share_values(table: pa.Table) -> pa.Table:
    """Fill in metrics that other builds of a codec variant have of the same stream.

    The rows have to agree (see the module); of features, their pixels have to be equal. `table` has
    the rows that `merge_versions` returns.
    """
    if not several_builds(table):
        return table
    names = ("image_sha256", "stream_sha256", "decoded_sha256")
    numbers = [numbered(table[name]) for name in names]
    known = np.all([number >= 0 for number in numbers], axis=0)
    content = tuple_numbers(group_codes(table, ("codec", "variant")), *numbers[:2])
    known &= np.bincount(content[known], minlength=len(content))[content] > 1
    if not known.any():
        return table
    some = table.filter(pa.array(known)).combine_chunks()
    pixels, content = numbers[2][known], tuple_numbers(content[known])
    rows = np.arange(some.num_rows)
    _, first = np.unique(content, return_index=True)
    content = tuple_numbers(content, np.where(agree(some, rows, first[content]), -1, pixels))
    shared = _with_values(some, rows, content, tuple_numbers(content, pixels), rows)
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

    best = order[group_highest(cells, rank)][cells]
    alike = agree(table, np.arange(len(cells)), best)
    of_stream, of_pixels = (np.where(alike, own[best], own) for own in (stream, decoded))
    content = tuple_numbers(cells, of_stream, np.where(of_stream < 0, of_pixels, -1))
    differing = bundled & ~bundled[best] & ~alike
    if differing.any():
        build = group_codes(table, ("codec", *BUILD))
        cells = tuple_numbers(cells, bundled & np.isin(build, build[differing]))
    best = order[group_highest(cells, rank)]
    merged = _with_values(table, best, content, tuple_numbers(content, decoded), rank)
    merged = _with_features(merged, table, best, content, rank) if borrow else merged

    same = marked(table["attested"])
    for numbers in (stream, decoded):
        same &= numbers == numbers[best][cells]
    verified = np.bincount(cells[same], minlength=len(best)) > 0
    column = pc.if_else(pa.array(verified), True, pa.scalar(None, pa.bool_()))
    return replaced(merged, "attested", pc.or_kleene(merged["attested"], column))


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
        (metric_named(name).column, metric_named(name).protocol, group)
        for names, group in ((METRICS, content), (FEATURE_SPACES, pixels))
        for name in names
        if metric_named(name).column in table.column_names
    ]
    # A user's metric, whose file is not known here: any protocol is as good.
    columns += [(column, None, content) for column in own_columns(table.column_names)]
    for metric, present, group in columns:
        value, protocol, _ = metric_columns(metric)
        by = table[protocol]
        preferred = np.asarray(by.is_valid()) if present is None else equals(by, present)
        worth = 2 * preferred.astype(np.int64) + np.asarray(table[value].is_valid())
        highest = group_highest(group, worth * len(rank) + rank)[group[rows]]
        better = ok & (highest // len(rank) > worth[rows])
        if better.any():
            giver = pa.array(np.where(better, order[highest % len(rank)], rows))
            for column in metric_columns(metric):
                filled = replaced(filled, column, table[column].take(giver))
    return filled


def _with_features(
    filled: pa.Table, table: pa.Table, rows: Int64Array, content: Int64Array, rank: Int64Array
) -> pa.Table:
    """Give `filled`, rows of `table`, the features of others of the same content if it has none."""
    of_spaces = (metric_columns(metric_named(name).column) for name in FEATURE_SPACES)
    spaces = [of for of in of_spaces if of[0] in table.column_names]
    has, lacks = (
        np.any([np.asarray(side[count].is_valid()) for count, *_ in spaces], axis=0)
        for side in (table, filled)
    )
    donor = group_highest(content, np.where(has, rank, -1))[content[rows]]
    lacks = ~lacks & equals(filled["status"], "ok") & (donor >= 0)
    if not lacks.any():
        return filled
    names = [name for of_space in spaces for name in of_space]
    source = np.argsort(rank)[donor]
    both = pa.concat_tables([filled.select(names), table.select(names)]).unify_dictionaries()
    at = np.where(lacks, len(rows) + source, np.arange(len(rows)))
    for name, values in zip(names, both.take(pa.array(at)).columns, strict=True):
        filled = replaced(filled, name, values)
    origin = pc.coalesce(table["features_of"], table["decoded_sha256"]).take(pa.array(source))
    of = pc.if_else(pa.array(lacks), origin, filled["features_of"])
    return replaced(filled, "features_of", of)


def agree(table: pa.Table, first: Int64Array, second: Int64Array) -> BoolArray:
    """Mark the pairs of rows of one cell that agree; arguments and result have shape (pairs,)."""
    ok = equals(table["status"], "ok")
    names = "num_bytes", "stream_sha256", "decoded_sha256", "psnr_db_protocol"
    numbers = (numbered(table[name]) for name in names)
    size, stream, pixels, rule = (number[first] == number[second] for number in numbers)
    limit = np.where(stream, ROUNDING_DB, SYMBOL_DB)
    alike = size & (pixels | (rule & (psnr_differences(table, first, second) <= limit)))
    return np.asarray(np.where(ok[first] & ok[second], alike, ok[first] == ok[second]), np.bool_)


def psnr_differences(table: pa.Table, first: Int64Array, second: Int64Array) -> Float64Array:
    """Return how much the PSNR of two rows differs, dB, shape (pairs,); NaN where one has none."""
    psnr = np.asarray(table["psnr_db"].to_numpy(), np.float64)
    with np.errstate(invalid="ignore"):  # of lossless images: infinite less infinite
        return np.asarray(np.abs(psnr[first] - psnr[second]))


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
    names = ("codec", "variant", "setting_name", "setting_value", "coding_protocol")
    place = group_codes(table, names, image_numbers(table))[rows]
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
    names = build_texts(table).take(pa.array(any_row[number[build]]))
    joined = pa.array(np.bincount(number, minlength=size)[number[build]] > 1)
    named = pc.if_else(joined, names, pa.scalar(None, pa.string()))  # of another type than before
    return table.set_column(table.schema.get_field_index("build"), "build", named)
