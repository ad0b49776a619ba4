"""Sound inputs that attacks copy and damage: photographs, results, a pack, a checkpoint."""

import shutil
import subprocess
from functools import cached_property
from pathlib import Path

from benchmark.rows.store import Store
from faults.attacks.arena import BENCH, TESTS, Arena
from support.files.noise import noise_images
from support.networks.tiny_checkpoint import write_checkpoint

HONEST = f"{TESTS / 'support' / 'codecs' / 'fakes.py'}:Honest"


def store_in(results: Path) -> Store:
    """Return the store of the only dataset of a results folder."""
    (folder,) = (path.parent for path in results.glob("*/per_image"))
    return Store(folder)


class Sound:
    """Folder with everything that is not yet damaged; each part is made when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.photos = noise_images(folder / "photos", ((48, 40), (96, 33)))

    @cached_property
    def results(self) -> Path:
        """Results of two codecs of the registry and one of a Python file."""
        points = ("--points", "jpeg.quality=10,90,webp.quality=5,50")
        return self._run("results", f"jpeg,webp,{HONEST}", *points)

    @cached_property
    def checkpoint(self) -> Path:
        """A checkpoint of the smallest network; its card is beside it."""
        write_checkpoint(self.folder / "ours.safetensors")
        return self.folder / "ours.safetensors"

    @cached_property
    def pack(self) -> Path:
        """A pack, a tar, of the streams of `jpeg`."""
        path = self.folder / "pack.tar"
        self._bench("pack", "export", path, "--codecs", "jpeg", "--results", self.results)
        return path

    def copied(self, arena: Arena, name: str = "results") -> Path:
        """Return a copy of `results` in the arena's working folder."""
        return Path(shutil.copytree(self.results, arena.work / name, symlinks=True))

    def copy_loose_files(self, arena: Arena) -> None:
        """Copy pack, checkpoint and card to the arena."""
        for path in (self.pack, self.checkpoint, self.checkpoint.with_suffix(".json")):
            shutil.copy(path, arena.work)

    def _run(self, name: str, codecs: str, *more: object) -> Path:
        dataset = ("--dataset", self.photos, "--metrics", "psnr", "--results", self.folder / name)
        self._bench("run", "--codecs", codecs, *dataset, "--jobs", 2, *more)
        return self.folder / name

    def _bench(self, *words: object) -> None:
        arena = Arena(self.folder / "making")
        made = subprocess.run(
            [*BENCH, *map(str, words)], cwd=self.folder, env=arena.environment(),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert made.returncode == 0, made.stdout + made.stderr
        arena.leave()
