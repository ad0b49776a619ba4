"""Measure a cell: read, encode, decode, score; and what a worker keeps between cells."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmark.codec import CODING, Codec, DeclaresSizes, Pixels, Setting, offers
from benchmark.datasets.dataset import Source
from benchmark.errors import BenchError, memory_exhausted
from benchmark.measure.cells import Cell, Rescore, Task
from benchmark.measure.decode_again import reconstruct
from benchmark.measure.execute import (
    Enter,
    Failed,
    differs_again,
    execute_within_memory,
    failed_by,
    give_memory_back,
    ignore_stages,
    work_of,
)
from benchmark.measure.request import Request
from benchmark.measure.score import HashedImage, Scorer, Scores
from benchmark.registry import scored_by_image
from benchmark.rows.features import FeatureFolder, ImageFeatures
from benchmark.rows.packs.pack import Pack, Recorded, open_pack
from benchmark.rows.runs import new_run_id
from benchmark.rows.schema import info_columns, metric_names
from benchmark.spec import CodecSpec, load_codec
from benchmark.system.digest import pixels_sha256
from benchmark.system.machine import cores, machine

Row = dict[str, Any]

IN_TILES = "in tiles where the GPU's memory did not hold an image"


class Measured(NamedTuple):
    """A finished cell: its row, its stream if it is to be kept, and new features."""

    row: Row
    stream: bytes | None
    features: tuple[ImageFeatures, ...] = ()
    failed: tuple[Failed, ...] = ()  # why the row has failed, or metrics of it are null
    decoded_twice: bool = False  # by two instances, to the same pixels
    further: tuple["Measured", ...] = ()  # of later generations, in order

    @property
    def all_failed(self) -> tuple[Failed, ...]:
        """The failures of all generations."""
        return (
            *self.failed,
            *(failed for generation in self.further for failed in generation.failed),
        )

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
        cls, request: Request, folder: Path, device: str = "cpu", jobs: int | None = None
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


class Workbench:
    """Codecs, metrics and the last source, kept between cells; a worker process has its own."""

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self._scorer = Scorer(conditions.metrics, conditions.device)
        self._open_pack = cache(open_pack)
        self._codecs: dict[CodecSpec, tuple[Codec, Codec]] = {}
        self._warm: set[tuple[CodecSpec, Setting]] = set()
        self._source: tuple[str, Pixels] = ("", np.empty((0, 0, 3), np.uint8))

    def carry_out(self, task: Task, enter: Enter = ignore_stages) -> Measured | Failed:
        """Code and score a cell, or decode a row's stream again and fill in metrics.

        A failure of image, codec or memory is a failed row of a cell, and `Failed` of a row, whose
        other columns stay. Where memory runs out, a task is done once more without what is kept
        between tasks. enter: called with each stage as it begins.
        """
        for _ in range(2):
            try:
                enter("load")
                if isinstance(task, Cell):
                    outcome = self._measured(task, enter)
                else:
                    outcome = self._rescored(task, enter)
            except Exception as error:
                exhausted = memory_exhausted(error)
                if not exhausted and not isinstance(error, (BenchError, OSError)):
                    raise
                outcome = failed_by(None, "worker" if exhausted else "load", error)
            if not (isinstance(outcome, Failed) and outcome.lacked and self._forget()):
                break
        if isinstance(outcome, Failed):
            return failed_outcome(task, self._conditions, outcome)
        return outcome

    def _measured(self, cell: Cell, enter: Enter) -> Measured | Failed:
        pixels = self._pixels(cell.source)
        encoder, decoder = self._pair(cell.codec)
        if cell.pack is not None:
            pack = cell.pack if isinstance(cell.pack, Pack) else self._open_pack(cell.pack)
            encoder = Recorded(pack, cell.codec, encoder)
        self._warm_up(cell, encoder, decoder, enter)
        outcome = self._generation(cell, 1, encoder, decoder, pixels, enter)
        if isinstance(outcome, Failed):
            return outcome
        measured, decoded = outcome
        further: list[Measured] = []
        for number in range(2, cell.generations + 1):
            outcome = self._generation(cell, number, encoder, decoder, decoded, enter)
            if isinstance(outcome, Failed):
                failed = outcome._replace(reason=f"generation {number}: {outcome.reason}")
                further.append(_failed_row(cell, self._conditions, failed, number))
                break
            further.append(outcome[0])
            decoded = outcome[1]
        return measured._replace(further=tuple(further))

    def _generation(
        self,
        cell: Cell,
        number: int,
        encoder: Codec,
        decoder: Codec,
        pixels: Pixels,
        enter: Enter,
    ) -> tuple[Measured, Pixels] | Failed:
        """Code pixels, the source's or as decoded before; score and return what is decoded."""
        conditions, name = self._conditions, cell.source.file.name
        outcome, tiled = execute_within_memory(
            encoder, decoder, name, pixels, cell.setting, enter, cell.info.device
        )
        if isinstance(outcome, Failed):
            return outcome
        row = _origin(cell, conditions, number)
        if twice := number == 1 and row["cell"] in conditions.decode_twice:
            second = partial(load_codec, cell.codec)
            failed = differs_again(decoder, second, name, cell.setting, outcome, enter)
            if failed is not None:
                return failed
        enter("score")
        row |= outcome.columns(cell.source) | {"finished_utc": _now()}
        row |= work_of(cell.codec, decoder)._asdict()
        if tiled:
            row["caveat"] = "; ".join(filter(None, (row["caveat"], IN_TILES)))
        scored = self._score(cell.source, row, outcome.decoded, conditions.metrics)
        row |= scored.columns
        if isinstance(encoder, Recorded):
            recorded = encoder.find(cell.source.sha256, cell.source.width_px, cell.setting)
            row |= {"encode_seconds": recorded.encode_seconds, "encode_peak_bytes": None}
        measured = Measured(row, outcome.stream, scored.features, scored.failed, twice)
        return measured, outcome.decoded

    def _rescored(self, task: Rescore, enter: Enter) -> Measured | Failed:
        from benchmark.rows.store import Store  # brings pyarrow, which measuring does without

        row, stream = task.row, Store(task.folder).stream(task.row["stream_sha256"])
        _, decoder = self._pair(task.codec)
        enter("decode")
        decoded = reconstruct(decoder, row, stream)
        if isinstance(decoded, Failed):
            return decoded
        scored = Scores({})
        if task.source is not None:
            self._pixels(task.source)
            enter("score")
            scored = self._score(task.source, row, decoded, task.metrics, task.folder)
        filled = {**row, **scored.columns, "finished_utc": _now()}
        return Measured(filled, None, scored.features, scored.failed)

    def _forget(self) -> bool:
        """Drop the last source and what metrics have prepared; return whether that is much."""
        self._source = ("", np.empty((0, 0, 3), np.uint8))
        much = self._scorer.forget()
        give_memory_back()
        return much

    def _score(
        self,
        source: Source,
        row: Row,
        decoded: Pixels,
        metrics: tuple[str, ...],
        folder: Path | None = None,
    ) -> Scores:
        is_kept = FeatureFolder(folder or self._conditions.folder).has
        before = HashedImage(source.sha256, self._pixels(source))
        after = HashedImage(row["decoded_sha256"], decoded)
        return self._scorer.score(before, after, metrics, is_kept)

    def _pixels(self, source: Source) -> Pixels:
        from benchmark.datasets.image import read_image

        if self._source[0] != source.sha256:
            (name, path), flatten = source.file, self._conditions.flatten
            image = read_image(path, flatten, known=True)
            if pixels_sha256(image.pixels) != source.sha256:
                raise BenchError(f"{name} has changed since the run began: run again")
            self._source = (source.sha256, image.pixels)
        return self._source[1]

    def _pair(self, spec: CodecSpec) -> tuple[Codec, Codec]:
        if spec not in self._codecs:
            self._codecs[spec] = (load_codec(spec), load_codec(spec))
        return self._codecs[spec]

    def _warm_up(self, cell: Cell, encoder: Codec, decoder: Codec, enter: Enter) -> None:
        # Loading a network or a program from disk happens once per setting and is not coding time.
        key = cell.codec, cell.setting
        if key in self._warm or isinstance(encoder, Recorded) or offers(encoder, DeclaresSizes):
            return
        self._warm.add(key)
        with suppress(Exception):  # what fails here fails, and is recorded, in the cell itself
            enter("encode")
            stream = encoder.encode(_warm_up_picture(), cell.setting)
            enter("decode")
            decoder.decode(stream)


def failed_outcome(task: Task, conditions: Conditions, failed: Failed) -> Measured | Failed:
    """Return the outcome of a task that failed: of a cell, a failed row."""
    if not isinstance(task, Cell):
        return failed
    return _failed_row(task, conditions, failed)


def _failed_row(cell: Cell, conditions: Conditions, failed: Failed, number: int = 1) -> Measured:
    why = {"status": "failed", "stage": failed.stage, "reason": failed.reason}
    return Measured({**_origin(cell, conditions, number), **why}, None, failed=(failed,))


def _origin(cell: Cell, conditions: Conditions, number: int = 1) -> Row:
    source = cell.source
    return {
        "cell": cell.key_of(number),
        "generation": number if number > 1 else None,
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
        "finished_utc": _now(),
        "recorded": cell.pack is not None,
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _warm_up_picture() -> Pixels:
    """Return a ramp with some noise, 96 x 128 pixels: large enough for every codec."""
    rows, columns = np.mgrid[0:96, 0:128]
    ramp = np.stack([rows * 2, columns * 2, rows + columns], axis=-1)
    noise = np.random.default_rng(0).integers(0, 16, ramp.shape)
    return np.asarray(np.clip(ramp + noise, 0, 255), np.uint8)
