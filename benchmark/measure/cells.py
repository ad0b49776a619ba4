"""Cells to measure, stored rows to score again, and what comes of them: rows, or failures."""

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from benchmark.codec import CODING, Between, CodecInfo, OneOf, Setting
from benchmark.datasets.dataset import Source
from benchmark.errors import MemoryKind, UsageError, memory_exhausted
from benchmark.plugins import reason_of
from benchmark.registry import scored_by_image
from benchmark.rows.codecs import new_run_id
from benchmark.rows.packs.pack import Pack
from benchmark.rows.schema import NOT_DETERMINISTIC, cell_key, info_columns, metric_names
from benchmark.spec import CodecSpec
from benchmark.system.machine import cores, machine
from benchmark.system.text import listed

if TYPE_CHECKING:
    from benchmark.measure.request import Request
    from benchmark.rows.streams import ImageFeatures


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
    twice: bool = False  # its stream is decoded twice: the codec was seen to be random

    @property
    def key(self) -> str:
        """The identity of its row in the store."""
        source = self.source.sha256, self.source.width_px
        return cell_key(self.codec, self.info, self.setting, *source, CODING)

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
        return CodecSpec.of_row(self.row)

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


Row = dict[str, Any]
Stage = Literal["load", "encode", "decode", "verify", "score", "worker"]
Enter = Callable[[Stage], None]  # called before each stage that an author's code may never end


def ignore_stages(stage: Stage) -> None:
    """Ignore stage changes."""


class Failed(NamedTuple):
    """Stage and reason of a failure: there is nothing to score."""

    stage: Stage
    reason: str  # a line, with the place in the author's code if known
    lacked: MemoryKind | None = None  # whose memory was too small, if that was the cause
    traceback: str = ""  # of the exception, if any; a text, which crosses to other processes


def failed_by(author: Any, stage: Stage, error: BaseException) -> Failed:
    """Return the failure of an author's code; the reason begins with the line of its own file."""
    from traceback import format_exception

    reason = reason_of(error, author if isinstance(author, type) else type(author))
    return Failed(stage, reason, memory_exhausted(error), "".join(format_exception(error)))


class Measured(NamedTuple):
    """A finished cell: its row, its stream if it is to be kept, and new features."""

    row: Row
    stream: bytes | None
    features: tuple["ImageFeatures", ...] = ()
    failed: tuple[Failed, ...] = ()  # why the row has failed, or metrics of it are null
    decoded_twice: bool = False  # by two instances, to the same pixels

    @property
    def coding_seconds(self) -> float | None:
        """Seconds of both calls that were made here; None without a stream."""
        if (decoding := self.row.get("decode_seconds")) is None:
            return None
        recorded = self.row.get("recorded")
        return float(decoding + (0 if recorded else self.row.get("encode_seconds") or 0))


@dataclass(frozen=True, slots=True)
class Conditions:
    """Facts that are the same for all cells of a run and stored with each row."""

    run: str
    metrics: tuple[str, ...]  # image metrics and feature spaces
    device: str  # of metrics: cpu or cuda
    flatten: bool
    timing: bool
    jobs: int
    threads: int
    machine: str
    folder: Path  # of the store
    timeout_seconds: float | None = None  # of each stage of a cell
    decode_twice: frozenset[str] = frozenset()  # keys of the cells whose streams are decoded twice

    @classmethod
    def of(
        cls, request: "Request", folder: Path, device: str = "cpu", jobs: int | None = None
    ) -> "Conditions":
        """Return the conditions of a new run into the store at `folder`; timed, of a single job."""
        return cls(
            run=new_run_id(folder),
            metrics=scored_by_image(metric_names(request.metrics)),
            device=device,
            flatten=request.flatten,
            timing=request.timing,
            jobs=1 if request.timing else jobs or cores(),
            threads=1,
            machine=machine(),
            folder=folder,
            timeout_seconds=request.timeout_seconds,
        )


def failed_outcome(task: Task, conditions: Conditions, failed: Failed) -> Measured | Failed:
    """Return the outcome of a task that failed: of a cell, a failed row."""
    return failed_row(task, conditions, failed) if isinstance(task, Cell) else failed


def failed_row(cell: Cell, conditions: Conditions, failed: Failed) -> Measured:
    """Return the failed row of a cell."""
    why = {"status": "failed", "stage": failed.stage, "reason": failed.reason}
    return Measured({**origin_of(cell, conditions), **why}, None, failed=(failed,))


def origin_of(cell: Cell, conditions: Conditions) -> Row:
    """Return the columns of a cell's row that are known before it is coded."""
    source = cell.source
    return {
        "cell": cell.key,
        "run": conditions.run,
        "codec": cell.codec.name,
        "variant": cell.codec.variant,
        "setting_name": cell.setting.name,
        "setting_value": float(cell.setting.value),
        "dataset": cell.dataset,
        "image": source.file.name,
        "image_sha256": source.sha256,
        "width_px": source.width_px,
        "height_px": source.height_px,
        "source_lossy": source.lossy,
        **{name: getattr(conditions, name) for name in ("timing", "jobs", "threads", "machine")},
        **info_columns(cell.info),
        "coding_protocol": CODING,
        "finished_utc": now_utc(),
        "recorded": cell.pack is not None,
    }


def now_utc() -> str:
    """Return the time as rows have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def plan(
    contenders: Sequence[Contender],
    dataset: str,
    sources: Sequence[Source],
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


def cells_to_decode_twice(
    cells: Iterable[Cell], random: Collection[CodecSpec] = ()
) -> frozenset[str]:
    """Return the key of a cell of each codec variant: its first setting on the smallest image.

    random: variants that were seen to decode a stream to several pictures; of them, all cells.
    """
    chosen: dict[CodecSpec, Cell] = {}
    for cell in sorted(cells, key=lambda cell: cell.num_pixels):
        chosen.setdefault(cell.codec, cell)
    every = (cell.key for cell in cells if cell.codec.identity in random)
    return frozenset([*(cell.key for cell in chosen.values()), *every])


def to_send(task: Task, random: Collection[CodecSpec]) -> Task:
    """Return a task as a worker gets it: a cell of a variant seen to be random is decoded twice."""
    return task._replace(twice=task.codec in random) if isinstance(task, Cell) else task


def is_random(outcome: Measured | Failed) -> bool:
    """Return whether a codec was seen to decode a stream to several pictures."""
    failures = (outcome,) if isinstance(outcome, Failed) else outcome.failed
    return any(failed.reason.startswith(NOT_DETERMINISTIC) for failed in failures)
