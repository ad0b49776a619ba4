"""A loss of power after any change on disk: what was said to be stored is there.

A disk promises (POSIX) that it keeps the content of a file from an fsync of the file on, and the
entries of a folder from one of the folder on; whatever else was written may be there or not, or in
part. So a file has its content on the disk before it gets its name, and when rows are said to be
stored, nothing below the results is on its way.
"""

import os
import stat

import numpy as np
import pytest

from benchmark.metrics.metric import Reduced
from benchmark.rows.reduce import Reductions, make_reduction
from benchmark.rows.store import Store
from benchmark.rows.streams import FeatureFolder, ImageFeatures
from support.bench.command import bench
from support.files.noise import noise_images

UNIMPORTANT = {"README.md", "CACHEDIR.TAG"}  # written again, or missed by nobody


class Disk:
    """Changes below a folder that a loss of power may undo, and what such a loss would break."""

    def __init__(self, root, patch):
        self.root = root
        self.stored, self.broken = 0, set()
        self._sure = {}  # size and time of the contents that the disk has, by device and inode
        self._unsure_folders = {}  # paths by device and inode
        for path in root.rglob("*"):
            self._sure[_identity(path)] = _content(path)  # it was there before
        for name in ("replace", "rename", "link", "mkdir", "unlink", "fsync"):
            patch.setattr(os, name, self._noting(name, getattr(os, name)))

    def say_stored(self):
        """Note what is on its way although rows are said to be stored."""
        self.stored += 1
        files = [path for path in self.root.rglob("*") if path.is_file()]
        self.broken |= {f"content of {self._place(path)}" for path in files
                        if path.name[0] != "." and path.name not in UNIMPORTANT
                        and self._sure.get(_identity(path)) != _content(path)}  # fmt: skip
        self.broken |= {f"entries of {place}" for place in self._unsure_folders.values()}

    def _noting(self, name, operation):
        def noted(*paths, **options):
            if name == "fsync":
                self._synchronise(*paths, operation)
            else:
                folders = {os.path.dirname(os.path.abspath(path)) for path in paths[:2]
                          if isinstance(path, str | os.PathLike)}  # fmt: skip
                self._check(name, *paths)
                operation(*paths, **options)
                if name != "unlink":  # a file that comes back harms nobody
                    self._unsure_folders |= {
                        _identity(folder): self._place(folder)
                        for folder in folders
                        if folder.startswith(str(self.root))
                    }

        return noted

    def _check(self, name, *paths):
        place = self._place(paths[-1]) if name != "mkdir" else ""
        if name in ("replace", "rename", "link") and place and os.path.isfile(paths[0]):
            sure = self._sure.get(_identity(paths[0])) == _content(paths[0])
            if not sure and os.path.basename(paths[1]) not in UNIMPORTANT:
                self.broken |= {f"content of {place}"}
        elif (
            name == "unlink"
            and os.path.basename(paths[0])[0] != "."
            and (place and place in self._unsure_folders.values())
        ):
            self.broken |= {f"what takes the place of files in {place}"}

    def _synchronise(self, descriptor, operation):
        about = os.fstat(descriptor)
        of_folder = stat.S_ISDIR(about.st_mode)
        operation(descriptor)
        if of_folder:
            self._unsure_folders.pop((about.st_dev, about.st_ino), None)
        else:
            self._sure[about.st_dev, about.st_ino] = about.st_size, about.st_mtime_ns

    def _place(self, path):
        """Return the folder of results, features or a run that a path is in; "" elsewhere."""
        parts = os.path.relpath(os.path.abspath(path), self.root).split(os.sep)
        folders = [part for part in parts if part in ("per_image", "streams", "runs", "sets")]
        return "" if parts[0] == ".." else (folders or ["results"])[0]


def _identity(path):
    about = os.stat(path)
    return about.st_dev, about.st_ino


def _content(path):
    about = os.stat(path)
    return about.st_size, about.st_mtime_ns


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return noise_images(tmp_path_factory.mktemp("images") / "photos", [(64, 48), (64, 49)])


def run_words(images, results):
    """Return a run by two workers, whose rows come in any order."""
    return (
        "run", "--codecs", "jpeg", "--points", "jpeg.quality=10,50,90", "--dataset", images,
        "--metrics", "psnr", "--results", results, "--jobs", "2", "--json",
    )  # fmt: skip


@pytest.fixture
def watched(monkeypatch):
    """Return a function that begins to watch a folder; rows are stored one by one from then on."""

    def watch(root):
        root.mkdir(exist_ok=True)
        disk, write = Disk(root, monkeypatch), Store.add_shard

        def write_and_say(store, table):
            path = write(store, table)
            for row in table.rows(named=True):
                assert store.record(row["run"])
                assert row["status"] != "ok" or store.has_stream(row["stream_sha256"])
            disk.say_stored()
            return path

        monkeypatch.setattr(Store, "add_shard", write_and_say)
        monkeypatch.setattr("benchmark.measure.record.FLUSH_SECONDS", -1.0)
        return disk

    return watch


@pytest.mark.parametrize("verb", ["run", "rescore", "merge", "import"])
def test_rows_that_are_stored_survive_a_loss_of_power(verb, images, tmp_path, watched):
    source, root = tmp_path / "source", tmp_path / "root"
    pack = ("--codecs", "jpeg", "--results", source, "--dataset", images)
    if verb != "run":
        assert bench(*run_words(images, source)).returncode == 0
    if verb == "import":
        assert bench("pack", "export", tmp_path / "a.tar", *pack).returncode == 0
    disk = watched(source if verb == "rescore" else root)
    words = {
        "run": run_words(images, root),
        "rescore": ("rescore", *pack, "--metrics", "psnr,psnr_y", "--jobs", "2"),
        "merge": ("merge", source, "--into", root),
        "import": ("pack", "import", tmp_path / "a.tar", "--results", root),
    }
    bench(*words[verb], code=0)
    (folder,) = disk.root.iterdir()
    assert Store(folder).table().height == 6
    assert disk.stored >= (6 if verb in ("run", "rescore") else 1)
    assert disk.broken == set()


def test_features_and_reduced_values_survive_a_loss_of_power(tmp_path, watched):
    disk, folder = watched(tmp_path / "root"), tmp_path / "root" / "photos"
    reductions = Reductions(folder)
    for number in range(18):  # beyond 16 they are put together
        digest, features = f"{number:064x}", np.full((2, 3), number, np.float32)
        FeatureFolder(folder).keep(ImageFeatures("s/1", digest, features))
        reductions.add([make_reduction(digest, "fd", "fd/1", Reduced(float(number), features[0]))])
        disk.say_stored()
    assert disk.broken == set()


def test_the_state_of_a_training_run_survives_a_loss_of_power(tmp_path, watched):
    torch = pytest.importorskip("torch")
    from baselines.neural.training.run import append_report, save_state

    disk = watched(tmp_path / "root")
    for step in (1, 2, 3):
        save_state(disk.root / "run", {"step": step, "weights": torch.full((100,), float(step))})
        append_report(disk.root / "run", {"stage": 0, "step": step})
        disk.say_stored()
    assert disk.broken == set()
