"""Cells to measure and stored rows to rescore, with their outcomes: rows or failures."""

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
from benchmark.registry import per_image_names
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
    """One of `parts` fixed shares of the cells, numbered from 1, for one of several machines."""

    number: int
    parts: int

    @classmethod
    def parse(cls, text: str) -> "Part":
        """Parse "I/N", empty for all cells; raise `UsageError`."""
        number, _, parts = text.partition("/") if text else ("1", "/", "1")
        is_numeric = number.isdecimal() and parts.isdecimal()
        if not is_numeric or not 1 <= int(number) <= int(parts):
            raise UsageError(f"--part {text!r} is not valid: write I/N, with I from 1 to N")
        return cls(int(number), int(parts))

    def has(self, position: int) -> bool:
        """Return whether the cell at a position (from 0) belongs to this part."""
        return position % self.parts == self.number - 1


ALL_CELLS = Part(1, 1)


class Contender(NamedTuple):
    """Codec variant that can run on this machine, with the settings to measure."""

    spec: CodecSpec
    info: CodecInfo
    sweep: tuple[Setting, ...]
    pack: Pack | None = None  # pack whose streams are used instead of encoding
    encoder_problem: str = ""  # why the codec cannot encode, unless a pack was requested
    accepts: Between | OneOf | None = None  # settings that the codec takes, if it declares them

    def can_code(self, source: Source, setting: Setting) -> bool:
        """Return whether an encoder or a recorded stream can supply the cell."""
        recorded_row = self.pack and self.pack.find(
            self.spec, source.sha256, source.width_px, setting
        )
        return self.pack is None or recorded_row is not None


class Cell(NamedTuple):
    """Measurement to make: an image coded by a codec variant at a setting."""

    codec: CodecSpec
    info: CodecInfo
    setting: Setting
    dataset: str
    source: Source
    pack: Path | Pack | None = None  # source of the recorded stream, if the codec need not encode
    decode_twice: bool = False  # true if the codec has given different pixels before

    @property
    def key(self) -> str:
        """Identity of the cell's row in the store."""
        source = self.source.sha256, self.source.width_px
        return cell_key(self.codec, self.info, self.setting, *source, CODING)

    @property
    def image_sha256(self) -> str:
        """Sha256 of the source's pixels."""
        return self.source.sha256

    @property
    def num_pixels(self) -> int:
        """Number of pixels of the source."""
        return self.source.width_px * self.source.height_px

    @property
    def device(self) -> str:
        """Device of the codec: cpu or cuda."""
        return self.info.device


class Rescore(NamedTuple):
    """Stored row whose metrics are missing; without a source, the stream is only decoded."""

    row: dict[str, Any]
    source: Source | None
    metrics: tuple[str, ...]
    folder: Path  # folder of the store with the stream

    @property
    def key(self) -> str:
        """Identity of the row in the store."""
        return str(self.row["cell"])

    @property
    def codec(self) -> CodecSpec:
        """Codec variant of the row."""
        return CodecSpec.parse_row(self.row)

    @property
    def setting(self) -> Setting:
        """Setting of the row."""
        return Setting(self.row["setting_name"], self.row["setting_value"])

    @property
    def image_sha256(self) -> str:
        """Sha256 of the source's pixels."""
        return str(self.row["image_sha256"])

    @property
    def num_pixels(self) -> int:
        """Number of pixels of the source."""
        return int(self.row["width_px"] * self.row["height_px"])

    @property
    def device(self) -> str:
        """Device on which the codec ran: cpu or cuda."""
        return str(self.row["device"])


Task = Cell | Rescore
Seconds = Callable[[Task], float | None]  # expected seconds of coding, None if unknown


Row = dict[str, Any]
Stage = Literal["load", "encode", "decode", "verify", "score", "worker"]
StageCallback = Callable[[Stage], None]  # called before each stage in which authors' code may hang


def ignore_stages(stage: Stage) -> None:
    """Do nothing when a stage begins."""


class Failed(NamedTuple):
    """Stage and reason of a failure."""

    stage: Stage
    reason: str  # one line, with the line of the author's code if known
    exhausted_memory: MemoryKind | None = None  # the memory that was too small, if any
    traceback: str = ""  # of the exception, if any; as text, which can be sent to other processes


def failed_by(author: Any, stage: Stage, error: BaseException) -> Failed:
    """Describe an exception in an author's code; the reason begins with file and line."""
    from traceback import format_exception

    reason = reason_of(error, author if isinstance(author, type) else type(author))
    return Failed(stage, reason, memory_exhausted(error), "".join(format_exception(error)))


class Measured(NamedTuple):
    """Finished cell: its row, its stream if kept, and new features."""

    row: Row
    stream: bytes | None
    features: tuple["ImageFeatures", ...] = ()
    failed: tuple[Failed, ...] = ()  # failures of the cell, or of metrics that are null
    decoded_twice: bool = False  # whether two codec instances gave the same pixels

    @property
    def coding_seconds(self) -> float | None:
        """Seconds that encoding and decoding took in this run; None if there is no stream."""
        if (decode_seconds := self.row.get("decode_seconds")) is None:
            return None
        is_recorded = self.row.get("recorded")
        return float(decode_seconds + (0 if is_recorded else self.row.get("encode_seconds") or 0))


@dataclass(frozen=True, slots=True)
class RunConditions:
    """Facts shared by all cells of a run and stored with each row."""

    run: str
    metrics: tuple[str, ...]  # image metrics and feature spaces
    device: str  # device of the metrics: cpu or cuda
    flatten: bool
    timing: bool
    jobs: int
    threads: int
    machine: str
    folder: Path  # folder of the store
    timeout_seconds: float | None = None  # limit for each stage of a cell
    decode_twice: frozenset[str] = frozenset()  # keys of cells whose streams are decoded twice

    @classmethod
    def create(
        cls, request: "Request", folder: Path, device: str = "cpu", jobs: int | None = None
    ) -> "RunConditions":
        """Create the conditions of a new run for the store at `folder`; timed runs have one job."""
        return cls(
            run=new_run_id(folder),
            metrics=per_image_names(metric_names(request.metrics)),
            device=device,
            flatten=request.flatten,
            timing=request.timing,
            jobs=1 if request.timing else jobs or cores(),
            threads=1,
            machine=machine(),
            folder=folder,
            timeout_seconds=request.timeout_seconds,
        )


def failed_outcome(task: Task, conditions: RunConditions, failed: Failed) -> Measured | Failed:
    """Return the outcome of a failed task: for a cell, a failed row."""
    return failed_row(task, conditions, failed) if isinstance(task, Cell) else failed


def failed_row(cell: Cell, conditions: RunConditions, failed: Failed) -> Measured:
    """Return the failed row of a cell."""
    columns = {"status": "failed", "stage": failed.stage, "reason": failed.reason}
    return Measured({**origin_columns(cell, conditions), **columns}, None, failed=(failed,))


def origin_columns(cell: Cell, conditions: RunConditions) -> Row:
    """Return the columns of a cell's row that are known before coding."""
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
    """Return the time in the format of rows."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def plan(
    contenders: Sequence[Contender],
    dataset: str,
    sources: Sequence[Source],
    part: Part = ALL_CELLS,
) -> list[Cell]:
    """Return all cells, image by image, so that a stopped run has measured all codecs alike.

    A codec's cells are distributed over parts by setting and image, independently of other codecs.
    """
    return [
        Cell(
            *contender[:2],
            setting,
            dataset,
            source,
            contender.pack.path if contender.pack else None,
        )
        for image_index, source in enumerate(sources)
        for contender in contenders
        for setting_index, setting in enumerate(contender.sweep)
        if part.has(setting_index * len(sources) + image_index)
        and contender.can_code(source, setting)
    ]


def describe_missing(contender: Contender, sources: Sequence[Source]) -> str:
    """Return a sentence on images without streams in a contender's pack; empty if none."""
    images = [
        source.file.name
        for source in sources
        if not all(contender.can_code(source, setting) for setting in contender.sweep)
    ]
    if contender.pack is None or not images:
        return ""
    prefix = f"{contender.encoder_problem}; and " if contender.encoder_problem else ""
    images_text = f"{len(images)} of {len(sources)} images: {listed(images)}"
    return (
        f"{prefix}{contender.pack.path} lacks streams, at some or all settings, for {images_text}"
    )


def longest_first(tasks: Sequence[Task], seconds: Seconds) -> list[Task]:
    """Sort tasks by image, then longest first; tasks of unknown duration precede the others."""
    image_numbers = {
        sha256: number for number, sha256 in enumerate(dict.fromkeys(t.image_sha256 for t in tasks))
    }

    def sort_key(task: Task) -> tuple[int, float]:
        duration = seconds(task)
        return image_numbers[task.image_sha256], -math.inf if duration is None else -duration

    sorted_tasks = list(tasks)
    sorted_tasks.reverse()
    sorted_tasks.sort(key=sort_key)
    return sorted_tasks


def cells_to_decode_twice(
    cells: Iterable[Cell], random_codecs: Collection[CodecSpec] = ()
) -> frozenset[str]:
    """Return keys of one small cell per codec variant, and of all cells of `random_codecs`."""
    smallest_cells: dict[CodecSpec, Cell] = {}
    for cell in sorted(cells, key=lambda cell: cell.num_pixels):
        smallest_cells.setdefault(cell.codec, cell)
    random_cells = (cell.key for cell in cells if cell.codec.identity in random_codecs)
    return frozenset([*(cell.key for cell in smallest_cells.values()), *random_cells])


def prepare_task(task: Task, random_codecs: Collection[CodecSpec]) -> Task:
    """Mark a task for a second decode if it is a cell of a random codec variant."""
    return (
        task._replace(decode_twice=task.codec in random_codecs) if isinstance(task, Cell) else task
    )


def is_random(outcome: Measured | Failed) -> bool:
    """Return whether a decoder gave different pixels for the same stream."""
    failures = (outcome,) if isinstance(outcome, Failed) else outcome.failed
    return any(failed.reason.startswith(NOT_DETERMINISTIC) for failed in failures)
