"""Cells and rows to score again, which a run consists of, in order. Pure: no disk, codec, clock."""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.codec import CODING, Between, CodecInfo, OneOf, Setting
from benchmark.datasets.dataset import Source
from benchmark.errors import UsageError
from benchmark.rows.packs.pack import Pack
from benchmark.rows.schema import cell_key
from benchmark.spec import CodecSpec
from benchmark.system.text import listed


class Part(NamedTuple):
    """A fixed share of the cells: those dealt to one of several machines, from 1 on."""

    number: int
    parts: int

    @classmethod
    def of(cls, text: str) -> "Part":
        """Return the part of a text "I/N", the whole for an empty one; `UsageError` for others.

        >>> Part.of("2/3")
        Part(number=2, parts=3)
        """
        number, _, parts = text.partition("/") if text else ("1", "/", "1")
        whole = number.isdecimal() and parts.isdecimal()
        if not whole or not 1 <= int(number) <= int(parts):
            raise UsageError(f"--part {text!r} is not of the form I/N, with I from 1 to N")
        return cls(int(number), int(parts))

    def has(self, place: int) -> bool:
        """Return whether it has the cell that is dealt at a place, from 0 on."""
        return place % self.parts == self.number - 1


WHOLE = Part(1, 1)


class Contender(NamedTuple):
    """A codec variant that runs here, with the settings to measure it at."""

    spec: CodecSpec
    info: CodecInfo
    sweep: tuple[Setting, ...]
    pack: Pack | None = None  # whose streams are used instead of encoding
    encoder_lacks: str = ""  # why that is so, unless the pack was asked for
    accepts: Between | OneOf | None = None  # the settings that it takes, if it declares them

    def can_code(self, source: Source, setting: Setting) -> bool:
        """Return whether there is an encoder, or a recorded stream."""
        result = self.pack and self.pack.find(self.spec, source.sha256, source.width_px, setting)
        return self.pack is None or result is not None


class Cell(NamedTuple):
    """A measurement to make: an image coded by a codec variant at a setting."""

    codec: CodecSpec
    info: CodecInfo
    setting: Setting
    dataset: str
    source: Source
    pack: Path | Pack | None = None  # where the stream is recorded, if the codec need not encode
    generations: int = 1  # times to code the picture, each time as decoded before: rows of the cell

    @property
    def key(self) -> str:
        """The identity of its row in the store; of several generations, of the first."""
        return self.key_of(1)

    @property
    def keys(self) -> tuple[str, ...]:
        """The identities of the rows of all its generations."""
        return tuple(self.key_of(generation + 1) for generation in range(self.generations))

    def key_of(self, generation: int) -> str:
        """The identity of the row of a generation, from 1 on."""
        source = self.source.sha256, self.source.width_px
        return cell_key(self.codec, self.info, self.setting, *source, CODING, generation)

    @property
    def image_sha256(self) -> str:
        """Sha256 of its source's pixels."""
        return self.source.sha256

    @property
    def num_pixels(self) -> int:
        """Pixels of its source."""
        return self.source.width_px * self.source.height_px

    @property
    def device(self) -> str:
        """Device that its codec runs on: cpu or cuda."""
        return self.info.device


class Rescore(NamedTuple):
    """A stored row whose metrics are to be filled in; without its source, it is decoded only."""

    row: dict[str, Any]
    source: Source | None
    metrics: tuple[str, ...]
    folder: Path  # of the store that kept the stream

    @property
    def key(self) -> str:
        """The identity of its row in the store."""
        return str(self.row["cell"])

    @property
    def codec(self) -> CodecSpec:
        """Its codec variant."""
        return CodecSpec.of(self.row["codec"], self.row["variant"])

    @property
    def setting(self) -> Setting:
        """The setting that it was coded at."""
        return Setting(self.row["setting_name"], self.row["setting_value"])

    @property
    def image_sha256(self) -> str:
        """Sha256 of its source's pixels."""
        return str(self.row["image_sha256"])

    @property
    def num_pixels(self) -> int:
        """Pixels of its source."""
        return int(self.row["width_px"] * self.row["height_px"])

    @property
    def device(self) -> str:
        """Device that its codec ran on: cpu or cuda."""
        return str(self.row["device"])


Task = Cell | Rescore
Seconds = Callable[[Task], float | None]  # that coding takes, None for unknown


def plan(
    contenders: Sequence[Contender],
    dataset: str,
    sources: Sequence[Source],
    generations: int = 1,
    part: Part = WHOLE,
) -> list[Cell]:
    """Return codecs x settings x images, images outermost: an early stop is a fair sample.

    The cells of a codec are dealt to the parts image by image, then setting by setting, whichever
    other codecs there are: parts of machines with different codecs fit together.
    """
    return [
        Cell(
            *contender[:2],
            setting,
            dataset,
            source,
            contender.pack.path if contender.pack else None,
            generations,
        )
        for at, source in enumerate(sources)
        for contender in contenders
        for step, setting in enumerate(contender.sweep)
        if part.has(step * len(sources) + at) and contender.can_code(source, setting)
    ]


def lacking(contender: Contender, sources: Sequence[Source]) -> str:
    """Return a sentence on the images that a contender's pack lacks; empty for none."""
    images = [
        source.file.name
        for source in sources
        if not all(contender.can_code(source, setting) for setting in contender.sweep)
    ]
    if contender.pack is None or not images:
        return ""
    whose = f"{contender.encoder_lacks}; and " if contender.encoder_lacks else ""
    lacks = f"{len(images)} of {len(sources)} images: {listed(images)}"
    return f"{whose}{contender.pack.path} has no streams, or not at every setting, of {lacks}"


def longest_first(tasks: Sequence[Task], seconds: Seconds) -> list[Task]:
    """Return the tasks image by image, the longest first; before them unknown ones, last first."""
    images = {sha256: at for at, sha256 in enumerate(dict.fromkeys(t.image_sha256 for t in tasks))}

    def key(task: Task) -> tuple[int, float]:
        expected = seconds(task)
        return images[task.image_sha256], -math.inf if expected is None else -expected

    result = list(tasks)
    result.reverse()
    result.sort(key=key)
    return result


def cells_to_decode_twice(cells: Iterable[Cell]) -> frozenset[str]:
    """Return the key of a cell of each codec variant: its first setting on the smallest image."""
    chosen: dict[CodecSpec, Cell] = {}
    for cell in sorted(cells, key=lambda cell: cell.num_pixels):
        chosen.setdefault(cell.codec, cell)
    return frozenset(cell.key for cell in chosen.values())
