"""A loss of power after any change on disk: what was said to be stored is there, nothing is wrong.

The changes of a real process are recorded, and made again on a disk that loses what was not
synchronised.
"""

import json
import random
import shutil
import sys
import warnings
from functools import partial
from pathlib import Path

import pytest

from benchmark.errors import DamagedResults, StoreError
from benchmark.rows.reduce import Reductions
from benchmark.rows.store import Store
from benchmark.rows.streams import FeatureFolder
from support.bench.command import bench
from support.faults.power_loss import Disk, write_all, write_lost
from support.processes import ran
from support.quick import quick
from support.rows.stable_rows import VOLATILE, unreadable

TESTS = Path(__file__).parents[2]
# Every process of the command records; rows are stored one by one, and said to be when they are.
RECORDS = """
import os, sys
from importlib.machinery import PathFinder
sys.path.insert(0, os.environ["TEST_SUPPORT"])
from support.faults.recorded_writes import recording, tell

recording(os.environ["TEST_ROOT"], os.environ["TEST_LOG"])

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        found = super().find_spec(name, path, target)
        change = {"benchmark.rows.store": told, "benchmark.measure.record": often}.get(name)
        if change and found:
            execute = found.loader.exec_module
            found.loader.exec_module = lambda module: (execute(module), change(module))
        return found

def told(module):
    write = module.Store._write_shard
    def write_and_tell(store, table):
        path = write(store, table)
        tell("stored", table["cell"].to_list())
        return path
    module.Store._write_shard = write_and_tell

def often(module):
    module.FLUSH_SECONDS = -1.0

sys.meta_path.insert(0, Finder)
"""


def changes_of(words, folder):
    """Run Python with these words, recording below folder/root; return its changes."""
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(RECORDS)
    root, log = folder / "root", folder / "log"
    root.mkdir(exist_ok=True)
    own = {"TEST_SUPPORT": TESTS, "TEST_ROOT": root, "TEST_LOG": log}
    done = ran(sys.executable, *words, PYTHONPATH=folder / "site", **own)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in log.read_text().splitlines()]


def run_words(images, results):
    """Return a run by two workers, whose rows come in any order."""
    return (
        "run", "--codecs", "jpeg", "--points", "jpeg.quality=10,50,90", "--dataset", images,
        "--metrics", "psnr", "--results", results, "--jobs", "2", "--json",
    )  # fmt: skip


def files_of(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def rows_of(results):
    """Return rows by cell of the only dataset; none without one."""
    folders = [path.parent for path in results.glob("*/per_image")]
    return (
        {row["cell"]: row for row in Store(folders[0]).table().rows(named=True)} if folders else {}
    )


def losses_after(left, stored, expected, before=None):
    """Count what is wrong with the results that the loss of power left.

    A row is there with its stream and the record of its run, equal to the one `expected` of its
    cell, or it is not there, or equal to the one of `before`; none that was said to be stored is
    missing or the earlier one.
    """
    folders = [path.parent for path in left.glob("results/*/per_image")]
    if not folders:
        return len(stored) + len(before or ())
    store = Store(folders[0])
    result = {row["cell"]: row for row in store.table().rows(named=True)}
    before = before or {}
    losses = len(unreadable(store)) + len({*stored, *before} - result.keys())
    for cell, row in result.items():
        stream = store.stream(row["stream_sha256"])
        as_expected = row == expected[cell] or (cell not in stored and row == before.get(cell))
        losses += not as_expected or stream is None or not store.record(row["run"])
    return losses


def lose_power(changes, place, seeds, losses_of, before=None):
    """Lose power after each change, once a seed; yield the losses of each time.

    losses_of: called with the folder, and what was said to be stored. before: a folder of what was
    on the disk.
    """
    for seed in range(seeds):
        disk, stored = Disk(), set()
        if before is not None:
            disk.fill(before)
        for number, change in enumerate(changes):
            if change[0] == "stored":
                stored |= set(change[1])
            else:
                disk.make(change)
            left = place / f"{seed}-{number}"
            write_lost(disk, left, random.Random(f"{seed} {number}"))
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error", DamagedResults)
                    yield losses_of(left, stored)
            except (DamagedResults, StoreError):
                yield 1
            shutil.rmtree(left)


def assert_complete(changes, root, place):
    """Check that the recorded changes make the real files: nothing was written past the record."""
    disk = Disk()
    for change in changes:
        if change[0] != "stored":
            disk.make(change)
    write_all(disk, place)
    assert files_of(place) == files_of(root)


@pytest.fixture(scope="module")
def recorded(images, tmp_path_factory):
    """Return the changes that a run made on disk, and its rows by cell."""
    folder = tmp_path_factory.mktemp("run")
    root = folder / "root"
    changes = changes_of(("-m", "benchmark", *run_words(images, root / "results")), folder)
    assert_complete(changes, root, folder / "again")
    return changes, rows_of(root / "results")


SEEDS = [1, pytest.param(40, marks=pytest.mark.slow)]


@pytest.mark.slow
@pytest.mark.parametrize("seeds", SEEDS, ids=["few", "many"])
def test_rows_that_a_run_stored_survive_a_loss_of_power(recorded, seeds, tmp_path):
    changes, expected = recorded
    stored = [change[1] for change in changes if change[0] == "stored"]
    assert len(expected) == 6
    assert len(stored) >= 6, "the rows were not stored one by one"
    losses = list(lose_power(changes, tmp_path, seeds, partial(losses_after, expected=expected)))
    assert sum(losses) == 0


@pytest.mark.slow
def test_a_run_continues_after_a_loss_of_power(recorded, images, tmp_path):
    """The same command, at some losses, leaves every row with its stream, and the earlier rows."""
    changes, expected = recorded
    some = changes[:: max(1, len(changes) // 3)]
    disk, losses = Disk(), []
    for number, change in enumerate(changes):
        if change[0] != "stored":
            disk.make(change)
        if change not in some:
            continue
        left = tmp_path / str(number)
        write_lost(disk, left, random.Random(f"continued {number}"))
        kept = rows_of(left / "results")
        assert bench(*run_words(images, left / "results")).returncode == 0
        after = rows_of(left / "results")
        losses.append(sum(after[cell] != row for cell, row in kept.items()))
        plain = [
            {cell: {k: row[k] for k in row.keys() - VOLATILE} for cell, row in rows.items()}
            for rows in (after, expected)
        ]
        losses[-1] += plain[0] != plain[1]
    assert sum(losses) == 0


@pytest.mark.slow
@pytest.mark.parametrize("seeds", SEEDS, ids=["few", "many"])
def test_rows_and_added_values_survive_a_loss_of_power_in_rescore(images, seeds, tmp_path):
    root = tmp_path / "root"
    assert bench(*run_words(images, root / "results")).returncode == 0
    before = shutil.copytree(root, tmp_path / "before")
    rescore = ("rescore", "--dataset", images, "--metrics", "psnr,psnr_y", "--jobs", "2")
    words = ("-m", "benchmark", *rescore, "--results", root / "results")
    changes = changes_of(words, tmp_path)
    earlier, expected = rows_of(before / "results"), rows_of(root / "results")
    assert all(expected[cell]["psnr_y_db"] is not None for cell in earlier)
    check = partial(losses_after, expected=expected, before=earlier)
    losses = list(lose_power(changes, tmp_path, seeds, check, before))
    assert sum(losses) == 0


KEEPS = """
import sys
from pathlib import Path
import numpy as np
from benchmark.metrics.metric import Reduced
from benchmark.rows.streams import FeatureFolder, ImageFeatures
from benchmark.rows.reduce import Reduction, Reductions
from support.faults.recorded_writes import tell

folder = Path(sys.argv[1])
reductions = Reductions(folder)
for number in range(18):  # beyond 16 they are put together
    digest = f"{number:064x}"
    FeatureFolder(folder).keep(ImageFeatures("s/1", digest, np.full((2, 3), number, np.float32)))
    reductions.add([Reduction(digest, "fd", "fd/1", Reduced(float(number), np.ones(2)))])
    tell("stored", [number])
"""


@pytest.mark.slow
def test_features_and_reduced_values_survive_a_loss_of_power(tmp_path):
    folder = tmp_path / "root" / "photos"
    folder.parent.mkdir()
    changes = changes_of(("-c", KEEPS, folder), tmp_path)
    assert_complete(changes, tmp_path / "root", tmp_path / "again")

    def losses_of(left, stored):
        features, reductions = FeatureFolder(left / "photos"), Reductions(left / "photos")
        losses = 0
        for number in range(18):
            digest = f"{number:064x}"
            kept, known = features.read("s/1", digest), reductions.get(digest)
            losses += number in stored and (kept is None or known is None)
            losses += kept is not None and not (kept == number).all()
            losses += known is not None and known.value != number
        return losses

    losses = list(lose_power(changes, tmp_path, 2, losses_of))
    assert sum(losses) == 0


@pytest.mark.parametrize("what", quick(["files", "folders"], "files"))
def test_the_simulation_notices_what_is_not_synchronised(recorded, what, tmp_path):
    changes, expected = recorded
    files = {change[1] for change in changes if change[0] == "open"}
    for where in ("per_image", "streams", "runs"):
        without = [
            change
            for change in changes
            if change[0] != "fsync"
            or f"/{where}" not in change[1]
            or (change[1] in files) != (what == "files")
        ]
        assert len(without) < len(changes)
        losses = lose_power(without, tmp_path, 20, partial(losses_after, expected=expected))
        assert any(losses), f"{what} of {where} need not be synchronised"


@pytest.mark.slow
@pytest.mark.parametrize("seeds", SEEDS, ids=["few", "many"])
def test_merged_and_imported_rows_survive_a_loss_of_power(images, seeds, tmp_path):
    source = tmp_path / "source"
    pack = ("pack", "export", tmp_path / "a.tar", "--codecs", "jpeg", "--results", source)
    for words in (run_words(images, source), (*pack, "--dataset", images)):
        assert bench(*words).returncode == 0
    for name, words in {
        "merge": ("merge", source, "--into"),
        "import": ("pack", "import", tmp_path / "a.tar", "--results"),
    }.items():
        place = tmp_path / name
        place.mkdir()
        results = place / "root" / "results"
        changes = changes_of(("-m", "benchmark", *words, results), place)
        assert_complete(changes, place / "root", place / "again")
        expected = rows_of(results)
        assert len(expected) == 6
        losses = list(lose_power(changes, place, seeds, partial(losses_after, expected=expected)))
        assert sum(losses) == 0, name


TRAINS = """
import sys, torch
from pathlib import Path
from baselines.neural.training.run import report, save_state
from support.faults.recorded_writes import tell

run = Path(sys.argv[1])
for step in (1, 2, 3):
    save_state(run, {"step": step, "weights": torch.full((100,), float(step))})
    report(run, {"stage": 0, "step": step})
    tell("stored", [step])
"""


@pytest.mark.slow
def test_the_state_of_a_training_run_survives_a_loss_of_power(tmp_path):
    torch = pytest.importorskip("torch")
    from baselines.neural.training.run import entries, load_state

    run = tmp_path / "root" / "run"
    run.parent.mkdir()
    changes = changes_of(("-c", TRAINS, run), tmp_path)
    assert_complete(changes, tmp_path / "root", tmp_path / "again")

    def losses_of(left, stored):
        state = load_state(left / "run", torch.device("cpu"))
        step = state["step"] if state else 0
        steps = [entry["step"] for entry in entries(left / "run")]
        whole = not state or bool((state["weights"] == step).all())
        return (step < max(stored, default=0)) + (not whole) + len(stored - {*steps})

    losses = list(lose_power(changes, tmp_path, 6, losses_of))
    assert sum(losses) == 0
