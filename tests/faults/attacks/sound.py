"""Sound inputs that attacks copy and damage: photographs, results, a pack, a checkpoint."""

import shutil
import subprocess
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from faults.attacks.arena import BENCH, MARK, TESTS, Arena, store_in
from faults.attacks.promises import Row
from support.files.noise import effect_noise
from support.rows.stable_rows import stable

HONEST = f"{TESTS / 'support' / 'codecs' / 'fakes.py'}:Honest"
POINTS = ("jpeg.quality=10,90", "webp.quality=5,50")
PARTS = ("ours.json", "ours.safetensors", "pack.tar")
PAUSE_SECONDS = 0.4  # that the slow codec takes for each cell
# An encoder that stores the PNG, with children in two sessions, one of which has no environment.
SCRIPT = f"""cp $1 $2
setsid sleep ${MARK} &
env -i setsid sleep ${MARK} &
sleep {PAUSE_SECONDS}
"""
SIDES = ((48, 40), (96, 33))  # width and height of each photograph in pixels


class Sound:
    """Folder with everything that is not yet damaged; each part is made when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.photos = folder / "photos"
        self.photos.mkdir(parents=True)
        for number, sides in enumerate(SIDES):
            path = self.photos / f"{number}.png"
            effect_noise(sides, 40).convert("RGB").save(path)

    def run_words(
        self, results: Path, *more: object, codecs: str = f"jpeg,webp,{HONEST}"
    ) -> list[object]:
        """Return the words of the run by which the sound results were made."""
        named = [name for name in POINTS if name.partition(".")[0] in codecs.split(",")]
        points = [word for name in named for word in ("--points", name)]
        return [
            *("run", "--codecs", codecs, "--dataset", self.photos, "--metrics", "psnr", *points),
            *("--results", results, "--jobs", 2, "--json", *more),
        ]

    @cached_property
    def results(self) -> Path:
        """Return results of two codecs of the registry and one of a Python file."""
        return self._run("results", self.run_words(self.folder / "results"))

    @cached_property
    def learned(self) -> Path:
        """Return results of `raw` and the smallest checkpoint of `ours`."""
        words = self.run_words(self.folder / "learned", codecs=f"raw,{self.ours}")
        return self._run("learned", [*words, "--points", "ours.q=0,4"])

    def slow_words(self, results: Path) -> list[object]:
        """Return the words of a run with a slow codec and a program that leaves children."""
        script = self.folder / "encode.sh"
        program = rf"command:decode=cp {{in}} {{out}}:encode=sh {script} {{in}} {{out}}:values=1"
        return self.run_words(results, codecs=f"jpeg,webp,{HONEST}:pause={PAUSE_SECONDS},{program}")

    @cached_property
    def slow(self) -> Path:
        """Return the results of such a run."""
        (self.folder / "encode.sh").write_text(SCRIPT)
        return self._run("slow", self.slow_words(self.folder / "slow"))

    @cached_property
    def checkpoint(self) -> Path:
        """Return a checkpoint of the smallest network; its card is beside it."""
        from support.networks.tiny_checkpoint import write_checkpoint  # torch, which few kinds need

        write_checkpoint(self.folder / "ours.safetensors")
        return self.folder / "ours.safetensors"

    @property
    def ours(self) -> str:
        """Return the specification of our codec with that checkpoint."""
        return f"ours:beta=2.56:checkpoint={self.checkpoint}"

    @cached_property
    def pack(self) -> Path:
        """Return a pack, a tar, of the streams of `jpeg`."""
        path = self.folder / "pack.tar"
        self._bench(["pack", "export", path, "--codecs", "jpeg", "--results", self.results])
        return path

    @cached_property
    def table(self) -> list[Row]:
        """Return the rows of `results`."""
        return self.table_of(self.results)

    def table_of(self, results: Path) -> list[Row]:
        """Return rows sorted by cell, without what two runs need not share."""
        store = store_in(results)
        assert store is not None
        return stable(store)

    def copied(self, arena: Arena, name: str = "results", source: Path | None = None) -> Path:
        """Return a copy of `results`, or of `source`, in the arena's working folder."""
        return Path(shutil.copytree(source or self.results, arena.work / name, symlinks=True))

    def copy_loose_files(self, arena: Arena) -> None:
        """Copy pack, checkpoint and card, whose names are those of `PARTS`, to the arena."""
        for path in (self.pack, self.checkpoint, self.checkpoint.with_suffix(".json")):
            shutil.copy(path, arena.work)

    def _run(self, name: str, words: Sequence[object]) -> Path:
        self._bench(words)
        return self.folder / name

    def _bench(self, words: Sequence[object]) -> None:
        arena = Arena(self.folder / "making")
        environment = arena.environment()
        made = subprocess.run(
            [*BENCH, *map(str, words)], cwd=self.folder, env=environment, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert made.returncode == 0, made.stdout + made.stderr
        arena.leave()
