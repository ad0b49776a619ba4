"""Cells to measure and stored rows to score again, which a run consists of, in order."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmark.codec import CODING, Between, BoolArray, CodecInfo, OneOf, Setting
from benchmark.datasets.dataset import Source
from benchmark.errors import UsageError
from benchmark.metrics.availability import lasting
from benchmark.registry import FEATURE_SPACES, metric_named
from benchmark.rows.codecs import EVERY
from benchmark.rows.features import FeatureFolder
from benchmark.rows.packs.pack import Pack
from benchmark.rows.schema import cell_key, equals, metric_columns
from benchmark.rows.store import Store, one_per_cell
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


def unscored(
    table: pa.Table,
    sources: Sequence[Source],
    metrics: Sequence[str],
    folder: Path,
    again: bool,
    may_run: Callable[[Mapping[str, Any]], bool] = EVERY.selects_to_run,
) -> list[Rescore]:
    """Return tasks for rows of these sources that lack a metric under its present protocol.

    With `again`, also those whose value is null for a reason that may be gone. Of a feature space,
    rows whose features were dropped lack it too. Failed rows, bundled rows without streams and rows
    whose codec may not run are left out. Rows of an image are together. folder: of the store.
    """
    store = Store(folder)
    by_pixels = {source.sha256: source for source in sources}
    table = one_per_cell(table)
    ours = pc.is_in(table["image_sha256"], value_set=pa.array(list(by_pixels), pa.string()))
    table = table.filter(pc.and_(pc.equal(table["status"], "ok"), ours))
    masks = [_lacking(table, name, again, folder) for name in metrics]
    lacking = np.array(masks, np.bool_).reshape(len(metrics), table.num_rows)
    chosen = np.flatnonzero(lacking.any(axis=0))
    tasks = []
    for at, row in zip(chosen, table.take(pa.array(chosen)).to_pylist(), strict=True):
        if may_run(row) and (not row["recorded"] or store.has_stream(row["stream_sha256"])):
            names = tuple(compress(metrics, lacking[:, at]))
            tasks.append(Rescore(row, by_pixels[row["image_sha256"]], names, folder))
    return sorted(tasks, key=lambda task: str(task.row["image"]))


def count_values(table: pa.Table, cells: Collection[str], metrics: Sequence[str]) -> list[int]:
    """Return of each of these cells how many of the metrics it has by their present protocols."""
    rows = one_per_cell(table)
    rows = rows.filter(pc.is_in(rows["cell"], value_set=pa.array(cells, pa.string())))
    counts = np.zeros(rows.num_rows, np.int64)
    for kind in map(metric_named, metrics):
        value, protocol, _ = metric_columns(kind.column)
        if protocol in rows.column_names:  # else a user's metric that was never measured here
            measured = ~np.asarray(pc.is_null(rows[value]))
            counts += equals(rows[protocol], kind.protocol) & measured
    return [int(count) for count in counts]


def _lacking(table: pa.Table, name: str, again: bool, folder: Path) -> BoolArray:
    kind = metric_named(name)
    value, protocol, reason = metric_columns(kind.column)
    if protocol not in table.column_names:  # a user's metric that was never measured here
        return np.ones(table.num_rows, np.bool_)
    lacks = ~equals(table[protocol], kind.protocol)
    if again:
        texts = pc.unique(table[reason]).drop_null().to_pylist()
        forever = pa.array([text for text in texts if lasting(text)], pa.string())
        null = pc.and_not(pc.is_null(table[value]), pc.is_in(table[reason], value_set=forever))
        lacks |= np.asarray(null)
    if name in FEATURE_SPACES:
        names = (value, "stream_sha256", "image_sha256", "decoded_sha256")
        kept, store = FeatureFolder(folder), Store(folder)
        lacks |= np.array(
            [
                count is not None
                and store.has_stream(stream)  # else nothing can bring them back
                and not all(sha256 and kept.has(kind.protocol, sha256) for sha256 in pair)
                for count, stream, *pair in zip(
                    *(table[key].to_pylist() for key in names), strict=True
                )
            ],
            np.bool_,
        )
    return lacks
