"""Rows of a stranger: every verb over every value that no run writes ends in sentences."""

import hashlib
import shutil
import traceback
import warnings

import polars as pl
import pytest

from benchmark.errors import DamagedResults
from benchmark.rows.schema import CELL_COLUMNS, metric_columns
from benchmark.rows.shard import BadShard, read_shard, schema_of, write_shard
from support.bench.command import bench
from support.bench.reading_verbs import READS, READS_NONE
from support.bench.verbs import every_verb

TEXTS = (
    None, "", ".", "/", "..", "../../x", "/etc/passwd", "a/../b", "a,b:c=d\\", "=1+1", "{}", "%s",
    "a\nb", "\x1b[2J\x00", "\u202e<script>", "nan", "x" * 100_000,
)  # fmt: skip
REALS = (None, float("nan"), float("inf"), float("-inf"), -1.0, 0.0, 5e-324, 1e308)
WHOLES = (None, 0, -1, 1, 2**53, 2**62)
VALUES = {pl.String: TEXTS, pl.Float64: REALS, pl.Int64: WHOLES, pl.Boolean: (None, True, False)}
COLUMNS = (*(column.name for column in CELL_COLUMNS), *metric_columns("psnr_db"))
HOSTILE = [(name, value) for name in COLUMNS for value in VALUES[schema_of()[name]]]


def put(shards, *tables):
    """Write tables as shards in the place of what is there."""
    shutil.rmtree(shards)
    shards.mkdir()
    for table in tables:
        write_shard(shards, table)


def wrongs(words):
    """What is no sentence in the end of a command; it may end with any code of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", DamagedResults)
        try:
            result = bench(*words)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            return f"{type(error).__name__}: {error} at {place.filename}:{place.lineno}"
    message = result.stdout + result.stderr
    raw = sorted({mark for mark in message if ord(mark) < 32 and mark not in "\n\t\r"})
    return f"control characters {raw}" if raw else "" if result.returncode in range(5) else message


def test_every_verb_says_how_it_reads_results():
    verbs = {path for path, _ in every_verb()}
    assert verbs == {*READS, *READS_NONE} - {"report --page"}


@pytest.fixture(scope="module")
def all_at_once(sound, tmp_path_factory):
    """The rows whose hostile value is read, each a cell of its own, and ten that are left out."""
    (shard,) = sound.glob("results/*/per_image/*.parquet")
    rows, folder = pl.read_parquet(shard), tmp_path_factory.mktemp("shards")
    read, left_out = [rows], []
    for number, (name, value) in enumerate(HOSTILE):
        row = rows.slice(number % len(rows), 1)
        cell = {
            "cell": hashlib.sha256(f"{number}".encode()).hexdigest(),
            "setting_value": row["setting_value"][0] + (number + 1) / 10_000,
        }
        row = row.with_columns(
            pl.lit(cell_value, schema_of()[column]).alias(column)
            for column, cell_value in {**cell, name: value}.items()
        )
        try:
            read_shard(write_shard(folder, row))
            read.append(row)
        except BadShard:
            left_out.append(row)
    assert len(left_out) > 50
    return [pl.concat(read, how="diagonal"), *left_out[:: len(left_out) // 10]]


@pytest.mark.slow
@pytest.mark.parametrize("verb", READS)
def test_a_verb_over_all_hostile_values_ends_in_sentences(verb, work, all_at_once):
    put(work, *all_at_once)
    assert wrongs(READS[verb]) == ""
