"""What the tests of packs measure, record and spoil: the codec, a pack's text."""

from contextlib import contextmanager

import polars as pl

from benchmark.measure.cells import plan
from benchmark.measure.select import select
from benchmark.rows.packs.pack import ROWS, open_pack
from benchmark.spec import parse_codec
from support.codecs.files import FAKES, keep, sources_in

HONEST = parse_codec(f"{FAKES}:Honest")  # as results name it
NOTES = ("made for a test",)


def recorded_contender(pack_path):
    """The codec with the pack's streams in place of its encoder."""
    (contender,) = select([HONEST.text], {}, [open_pack(pack_path)]).contenders
    return contender


def rewrite(path, old, new, count=1):
    """Replace a text that has to be in a file, the first `count` times; -1 is everywhere."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


def rows_in(pack):
    return pl.read_parquet(pack / ROWS).rows(named=True)


def write_rows(pack, rows):
    """Write rows in place of a pack's, a column of other values than before as it comes."""
    file = pack / ROWS
    kinds, about = pl.read_parquet_schema(file), pl.read_parquet_metadata(file)
    columns = []
    for name in rows[0]:
        values = [record[name] for record in rows]
        try:
            columns.append(pl.Series(name, values, kinds.get(name)))
        except (TypeError, OverflowError):
            columns.append(pl.Series(name, [*map(str, values)]))
    about.pop("ARROW:schema", None)
    pl.DataFrame(columns).write_parquet(file, metadata=about)


def edit_rows(pack, edit):
    rows = rows_in(pack)
    edit(rows)
    write_rows(pack, rows)


def measured(store, photos, contenders, metrics):
    """Code the pictures of a folder, and keep rows and streams as those of the dataset `set`."""
    return keep(store, plan(contenders, "set", sources_in(photos)), metrics=metrics)


@contextmanager
def quiet(task, total):
    yield lambda progress: None
