"""Every verb over values that no run writes, and over links in a results folder."""

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
from support.bench.reading_verbs import READS, READS_NONE, RESULTS
from support.bench.verbs import every_verb
from support.quick import quick

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
    assert {path for path, _ in every_verb()} == {*READS, *READS_NONE} - {"report --page"}


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


# Links in a results folder: no verb writes into, or removes from, where one leads to


def here(verb):
    """Return a verb without a folder of its own for what it writes."""
    return tuple(word for word in READS[verb] if word not in ("--out", "out"))


# Folders of a dataset and of the whole results, and the verbs that write there.
OF_DATASET = ("per_image", "runs", "streams", "damaged", "report", "report/pictures")
OF_RESULTS = ("baselines", "figures", "figures/crdr", "published")
IN_DATASET = {
    **{verb: READS[verb] for verb in ("report --page", "pack import", "audit decode")},
    "run": tuple(word.replace("quality=10,", "quality=10,20,") for word in READS["run"]),
    "run --verify": (*READS["run"], "--verify"),
    "rescore": tuple(word.replace("psnr", "psnr,psnr_y") for word in READS["rescore"]),
    "report": here("report"), "merge": ("merge", "theirs", "--into", "results"),
}  # fmt: skip
ADD = ("published", "add", "mine.csv", "--system", "Mine", "--reference", "10.1000/182", *RESULTS)
IN_RESULTS = {
    "baseline save": READS["baseline save"], "figures rd": here("figures rd"),
    "figures crdr": here("figures crdr"), "published add": ADD, "merge": IN_DATASET["merge"],
}  # fmt: skip


def contents(folder):
    return {str(path): path.is_file() and path.read_bytes() for path in folder.rglob("*")}


@pytest.mark.parametrize("place", quick([*OF_DATASET, *OF_RESULTS], "baselines"))
def test_no_verb_writes_or_removes_behind_a_link(place, work, tmp_path):
    """What the link leads to are files of the same names as bench writes."""
    assert bench(*READS["report --page"]).returncode == 0
    shutil.copytree("results", "theirs")
    for path in (tmp_path / "theirs").rglob("*.parquet"):
        path.unlink()  # so that a merge has streams and records to add
    linked = (tmp_path / "results" if place in OF_RESULTS else work.parent) / place
    linked.mkdir(parents=True, exist_ok=True)
    user_folder = shutil.copytree(linked, tmp_path / "mine")
    for name in ("bd_rate.md", "rd.pdf", "rd.tex", "crops.tex"):
        (user_folder / name).write_text("by hand")
    shutil.rmtree(linked)
    linked.symlink_to(user_folder, target_is_directory=True)
    (tmp_path / "mine.csv").write_text("bpp,psnr\n.1,30\n.2,33\n.4,36\n.8,39\n")
    contents_before = contents(user_folder)
    for verb, words in (IN_RESULTS if place in OF_RESULTS else IN_DATASET).items():
        with warnings.catch_warnings():
            warnings.simplefilter("default", DamagedResults)
            result = bench(*words)
        assert contents(user_folder) == contents_before, verb
        assert result.returncode in (0, 1, 2), (verb, result.stderr)
