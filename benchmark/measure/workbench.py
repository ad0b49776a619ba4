"""Measure a cell: read, encode, decode, score. Keeps the state of a worker between cells."""

from functools import cache, partial
from pathlib import Path

import numpy as np

from benchmark.codec import Codec, Pixels, Setting
from benchmark.datasets.dataset import Source
from benchmark.errors import FOREIGN_ERRORS, BenchError, memory_exhausted, raise_interruption
from benchmark.facts import work_of
from benchmark.measure.cells import (
    Cell,
    Failed,
    Measured,
    Rescore,
    Row,
    RunConditions,
    StageCallback,
    Task,
    failed_by,
    failed_outcome,
    ignore_stages,
    now_utc,
    origin_columns,
)
from benchmark.measure.decode_again import reconstruct
from benchmark.measure.execute import compare_decodes, execute_within_memory, free_memory
from benchmark.measure.score import HashedImage, Scorer, Scores
from benchmark.registry import is_python_file
from benchmark.rows.packs.pack import Pack, RecordedCodec, open_pack
from benchmark.rows.schema import is_declared
from benchmark.rows.streams import FeatureFolder
from benchmark.spec import CodecSpec, describe_codec, load_codec
from benchmark.system.digest import pixels_sha256

IN_TILES = "in tiles where the GPU's memory did not hold an image"


class Workbench:
    """Codecs, metrics and the last source of a worker process."""

    def __init__(self, conditions: RunConditions) -> None:
        self._conditions = conditions
        self._scorer = Scorer(conditions.metrics, conditions.device)
        self._open_pack = cache(open_pack)
        self._codecs: dict[CodecSpec, tuple[Codec, Codec]] = {}
        self._fingerprints: dict[CodecSpec, str] = {}
        self._warm_settings: set[tuple[CodecSpec, Setting]] = set()
        # The last source's sha256, width (images with equal bytes may differ in shape) and pixels
        self._source: tuple[tuple[str, int], Pixels] = ("", 0), np.empty((0, 0, 3), np.uint8)

    def carry_out(self, task: Task, enter: StageCallback = ignore_stages) -> Measured | Failed:
        """Code and score a cell, or decode a row's stream again and add metrics.

        A failed cell gives a failed row; failed rescoring gives `Failed`. A task that runs out of
        memory is repeated without cached data. enter: called at each stage.
        """
        for _ in range(2):
            try:
                enter("load")
                if isinstance(task, Cell):
                    outcome = self._measure_cell(task, enter)
                else:
                    outcome = self._rescore_row(task, enter)
            except FOREIGN_ERRORS as error:
                out_of_memory = memory_exhausted(error)
                has_message = isinstance(error, BenchError | OSError)
                outcome = failed_by(
                    None, "load" if has_message and not out_of_memory else "worker", error
                )
                if not out_of_memory and not has_message:
                    outcome = outcome._replace(reason=f"harness: {outcome.reason}")
            if not (
                isinstance(outcome, Failed) and outcome.exhausted_memory and self._drop_caches()
            ):
                break
        if isinstance(outcome, Failed):
            return failed_outcome(task, self._conditions, outcome)
        return outcome

    def _measure_cell(self, cell: Cell, enter: StageCallback) -> Measured | Failed:
        pixels = self._read_pixels(cell.source)
        encoder, decoder = self._load_codecs(cell.codec)
        if cell.pack is not None:
            pack = cell.pack if isinstance(cell.pack, Pack) else self._open_pack(cell.pack)
            encoder = RecordedCodec(pack, cell.codec, encoder)
        elif self._has_changed(cell, encoder):
            raise BenchError(f"{cell.codec.label} has changed since the run began: run again")
        self._warm_up(cell, encoder, decoder, enter)
        conditions, name = self._conditions, cell.source.file.name
        outcome, is_tiled = execute_within_memory(
            encoder, decoder, name, pixels, cell.setting, enter, cell.info.device
        )
        if isinstance(outcome, Failed):
            return outcome
        row = origin_columns(cell, conditions)
        if decode_twice := cell.decode_twice or row["cell"] in conditions.decode_twice:
            create_codec = partial(load_codec, cell.codec)
            failed = compare_decodes(decoder, create_codec, name, cell.setting, outcome, enter)
            if failed is not None:
                return failed
        enter("score")
        row |= outcome.columns(cell.source) | {"finished_utc": now_utc()}
        row |= work_of(cell.codec, decoder, float(cell.setting.value))._asdict()
        if is_tiled:
            row["caveat"] = "; ".join(filter(None, (row["caveat"], IN_TILES)))
        scores = self._score_pixels(cell.source, row, outcome.decoded, conditions.metrics)
        row |= scores.columns
        if isinstance(encoder, RecordedCodec):
            recorded_row = encoder.find(cell.source.sha256, cell.source.width_px, cell.setting)
            row |= {"encode_seconds": recorded_row["encode_seconds"]}
        return Measured(row, outcome.stream, scores.features, scores.failed, decode_twice)

    def _rescore_row(self, task: Rescore, enter: StageCallback) -> Measured | Failed:
        from benchmark.rows.store import Store  # imports polars, which coding does not need

        row, store = task.row, Store(task.folder)
        enter("decode")
        decoded: Pixels | Failed | None = None
        if is_declared(row):
            decoded = store.picture(row["decoded_sha256"])
        if decoded is None:
            _, decoder = self._load_codecs(task.codec)
            decoded = reconstruct(decoder, row, store.stream(row["stream_sha256"]))
        if isinstance(decoded, Failed):
            return decoded
        scores = Scores({})
        if task.source is not None:
            self._read_pixels(task.source)
            enter("score")
            scores = self._score_pixels(task.source, row, decoded, task.metrics, task.folder)
        new_row = {**row, **scores.columns, "finished_utc": now_utc()}
        return Measured(new_row, None, scores.features, scores.failed)

    def _drop_caches(self) -> bool:
        self._source = ("", 0), np.empty((0, 0, 3), np.uint8)
        had_data = self._scorer.drop_prepared()
        free_memory()
        return had_data

    def _score_pixels(
        self,
        source: Source,
        row: Row,
        decoded: Pixels,
        metrics: tuple[str, ...],
        folder: Path | None = None,
    ) -> Scores:
        has_features = FeatureFolder(folder or self._conditions.folder).has
        reference_image = HashedImage(source.sha256, self._read_pixels(source))
        decoded_image = HashedImage(row["decoded_sha256"], decoded)
        return self._scorer.score(reference_image, decoded_image, metrics, has_features)

    def _read_pixels(self, source: Source) -> Pixels:
        from benchmark.datasets.image import read_image

        if self._source[0] != (source.sha256, source.width_px):
            (name, path), flatten = source.file, self._conditions.flatten
            image = read_image(path, flatten, skip_row_check=True)
            if pixels_sha256(image.pixels) != source.sha256:
                raise BenchError(f"{name} has changed since the run began: run again")
            self._source = (source.sha256, source.width_px), image.pixels
        return self._source[1]

    def _load_codecs(self, spec: CodecSpec) -> tuple[Codec, Codec]:
        if spec not in self._codecs:
            encoder = load_codec(spec)
            has_streams = not hasattr(encoder, "declared")
            self._codecs[spec] = (encoder, load_codec(spec) if has_streams else encoder)
        return self._codecs[spec]

    def _has_changed(self, cell: Cell, encoder: Codec) -> bool:
        if not is_python_file(cell.codec.name):
            return False
        if cell.codec not in self._fingerprints:
            self._fingerprints[cell.codec] = describe_codec(cell.codec, encoder).fingerprint
        return self._fingerprints[cell.codec] != cell.info.fingerprint

    def _warm_up(self, cell: Cell, encoder: Codec, decoder: Codec, enter: StageCallback) -> None:
        # A network or program is loaded once per setting; that is not coding time.
        key = cell.codec, cell.setting
        needs_no_loading = isinstance(encoder, RecordedCodec) or hasattr(encoder, "declared")
        if needs_no_loading or key in self._warm_settings:
            return
        self._warm_settings.add(key)
        try:
            enter("encode")
            stream = encoder.encode(_warm_up_picture(), cell.setting)
            enter("decode")
            decoder.decode(stream)
        except FOREIGN_ERRORS as error:  # the cell itself fails in the same way, and records why
            raise_interruption(error)


def _warm_up_picture() -> Pixels:
    """Return a noisy ramp of 96 x 128 pixels, large enough for every codec."""
    rows, columns = np.mgrid[0:96, 0:128]
    ramp = np.stack([rows * 2, columns * 2, rows + columns], axis=-1)
    noise = np.random.default_rng(0).integers(0, 16, ramp.shape)
    return np.asarray(np.clip(ramp + noise, 0, 255), np.uint8)
