"""Rows of a supplement, their streams decoded twice here in fresh processes, and scored."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Literal, NamedTuple

from benchmark.audit.pack_audit import TOLERANCE, Sources, by_pixels, values_sent
from benchmark.codec import Pixels
from benchmark.codec_spec import CodecSpec
from benchmark.datasets.dataset import Source
from benchmark.datasets.image import read_image
from benchmark.errors import BenchError
from benchmark.measure.engine.decoders import Decoder, decode_all
from benchmark.measure.execute import Failed
from benchmark.measure.outcome import Progress, ShowsProgress
from benchmark.measure.score import HashedImage, Scorer
from benchmark.measure.workbench import Conditions, Workbench
from benchmark.packs.contents import row_of
from benchmark.plan.cells import plan
from benchmark.plan.request import Request
from benchmark.plan.select import select
from benchmark.protocol import bits_per_pixel
from benchmark.registry import DISTRIBUTION_METRICS
from benchmark.review.supplement import LeftOutFile, Supplement
from benchmark.rows.codecs import NamedCodecs, why_not_run
from benchmark.rows.schema import table_schema
from benchmark.rows.store import Store
from benchmark.rows.versions import edition_rows
from benchmark.system.digest import pixels_sha256
from benchmark.system.machine import cores
from benchmark.system.settings import use_device
from benchmark.system.text import counted

Row = dict[str, Any]
# equal: the recorded pixels; rounded: others, at the recorded PSNR (`ROUNDING`); other: others;
# failed: no picture; damaged: the bytes are not those recorded; not run: its codec is not here
State = Literal["equal", "rounded", "other", "failed", "damaged", "not run"]
ROUNDING = 1e-3  # dB of PSNR: by less do pixels differ that another processor rounds otherwise


class Sent(NamedTuple):
    """A row as its author recorded it, and what returns its stream; None where none was sent."""

    row: Row
    read: Callable[[], bytes | None] | None

    @property
    def spec(self) -> CodecSpec:
        """The codec variant."""
        return CodecSpec.of(self.row["codec"], self.row["variant"])


class Again(NamedTuple):
    """A stream decoded again: its row as it was sent, and what came out here."""

    row: Row
    state: State
    reason: str = ""
    twice: bool | None = None  # both decodes gave the same pixels; None without two
    values: Mapping[str, float] = {}  # by metric column, where the photograph is here
    decode_seconds: float | None = None  # of the second decode, alone, with the pixels' way back


def sent_rows(supplement: Supplement) -> tuple[list[Sent], list[LeftOutFile]]:
    """Return the rows of all packs and results, and how many were left out as impossible.

    Marks of verification are taken off. Of results, rows that are bundled with the project are
    left out, and of each codec variant the newest build is taken. Raises `BadPack` for a malformed
    line.
    """
    result = [
        Sent(row_of(pack, stream, ""), partial(pack.read, stream))
        for pack in supplement.packs
        for stream in pack.streams.values()
    ]
    for folder in supplement.results:
        store = Store(folder)
        table = store.table()
        for row in table.take(edition_rows(table, newest_only=True).index).to_pylist():
            if row["bundled"]:
                continue
            has = row["status"] == "ok" and store.has_stream(row["stream_sha256"])
            read = partial(store.stream, row["stream_sha256"]) if has else None
            result.append(Sent({**row, "attested": None}, read))
    kept = [one._replace(row=row) for one in result if (row := _possible(one.row))]
    wrong = len(result) - len(kept)
    why = "of no size, no bytes or no setting that there can be"
    return kept, [LeftOutFile(counted(wrong, "row"), why)] * bool(wrong)


def _possible(row: Row) -> Row:
    """Return a row of all columns, with the rate of its bytes; empty where that cannot be."""
    row = {**dict.fromkeys(table_schema().names), **row}
    sizes = [row[name] for name in ("width_px", "height_px", "num_bytes")]
    if row["status"] == "failed":
        return row
    if not all(size and size > 0 for size in sizes) or not math.isfinite(row["setting_value"] or 0):
        return {}
    return {**row, "bpp": bits_per_pixel(sizes[2], sizes[0] * sizes[1])}


def reconstructed(
    sizes: Path, images: Sequence[Source], dataset: str, conditions: Conditions
) -> list[Row]:
    """Score reconstructions beside a csv file of sizes; rows of `bytes_origin` declared.

    The codec's name is that of the folder. Raises `BenchError` for a list that cannot be used.
    """
    name = f"{sizes.parent.name}-{sizes.stem}".removesuffix("-sizes")
    name = re.sub(r"[^\w.=-]", "_", name)
    spec = f"folder:path={sizes.parent}:csv={sizes.name}:name={name}"
    bench = Workbench(conditions)
    done = [bench.carry_out(cell) for cell in plan(select([spec], {}).contenders, dataset, images)]
    same = {"variant": f"name={name}", "command": "reconstructions, with a list of their sizes"}
    rows = [{**one.row, **same} for one in done if not isinstance(one, Failed)]
    here = f"{sizes.parent}/"
    return [{**row, "reason": (row.get("reason") or "").replace(here, "")} for row in rows]


def scored_metrics(request: Request, *more: str) -> list[str]:
    """Return the names of the image metrics that streams are scored by: PSNR, and those asked."""
    names = dict.fromkeys(["psnr", *request.metrics, *more])
    return [name for name in names if name not in DISTRIBUTION_METRICS]


def decode_again(
    sent: Sequence[Sent],
    photographs: Mapping[str, Iterable[Source]],
    metrics: Sequence[str],
    request: Request,
    codecs: NamedCodecs,
    progress: ShowsProgress,
) -> list[Again]:
    """Decode every stream twice, score the first picture, and compare with what was recorded.

    photographs: by dataset. metrics: `scored_metrics`. request: device, jobs, timeout. A codec that
    is a program or Python file is run only where `codecs` names it in full.
    """
    with progress("decoding", len(sent)) as report:
        return _decoded_again(sent, by_pixels(photographs), metrics, request, codecs, report)


def _decoded_again(
    sent: Sequence[Sent],
    sources: Sources,
    metrics: Sequence[str],
    request: Request,
    codecs: NamedCodecs,
    report: Callable[[Progress], None],
) -> list[Again]:
    device, jobs = use_device(request.device), request.jobs or cores()
    timeout_seconds = request.timeout_seconds
    scorer = Scorer(metrics, device)
    pixels_of = lru_cache(1)(lambda source: read_image(source.file.path, flatten=True).pixels)
    result: list[Again] = []
    by_spec: dict[CodecSpec, list[Sent]] = {}
    for one in sent:
        by_spec.setdefault(one.spec, []).append(one)
    for spec, of_spec in by_spec.items():
        if not codecs.may_run(spec):
            result += [Again(one.row, "not run", why_not_run(spec)) for one in of_spec]
            continue
        streams: dict[str, bytes] = {}
        done: dict[str, Again] = {}
        for number, one in enumerate(sorted(of_spec, key=lambda one: one.row["image"])):
            streams |= _read(one, str(number), done)
        rows = {name: done[name].row for name in streams}
        digests: dict[str, str] = {}
        for outcome in decode_all(spec, streams.items(), device, jobs, timeout_seconds):
            if outcome is None:
                continue
            name, where, pixels = outcome
            if isinstance(pixels, Failed):
                state: State = "not run" if isinstance(where, Failed) else "failed"
                done[name] = Again(rows[name], state, pixels.reason)
            else:
                digests[name] = pixels_sha256(pixels)
                source = sources.get((rows[name]["image_sha256"], rows[name]["width_px"]))
                after = HashedImage(digests[name], pixels)
                columns = _scored(scorer, source, after, metrics, pixels_of) if source else {}
                done[name] = _compared(rows[name], digests[name], columns)
            report(Progress(len(result) + len(done), 0))
        for name, digest, seconds in _second(spec, streams, digests, device, timeout_seconds):
            twice = digest == digests[name]
            done[name] = done[name]._replace(twice=twice, decode_seconds=seconds)
        result += done.values()
    return result


def _read(one: Sent, name: str, done: dict[str, Again]) -> dict[str, bytes]:
    """Return a stream by its name; put the reason into `done` where there is none."""
    done[name] = Again(one.row, "failed")
    try:
        data = one.read() if one.read else None
    except (BenchError, OSError) as error:
        done[name] = Again(one.row, "damaged", str(error))
        return {}
    return {} if data is None else {name: data}


def _scored(
    scorer: Scorer,
    source: Source,
    after: HashedImage,
    metrics: Sequence[str],
    pixels_of: Callable[[Source], Pixels],
) -> Row:
    before = HashedImage(source.sha256, pixels_of(source))
    if before.pixels.shape != after.pixels.shape:
        return {}
    return scorer.score(before, after, metrics).columns


def _compared(row: Row, digest: str, columns: Row) -> Again:
    """Return how a picture compares with the one that its row recorded."""
    values = {}
    for name, value in columns.items():
        if isinstance(value, float):
            values[name] = value
    if digest == row.get("decoded_sha256"):
        return Again(row, "equal", values=values)
    recorded, here = row.get("psnr_db"), values.get("psnr_db")
    near = recorded is not None and here is not None and abs(here - recorded) <= ROUNDING
    height, width = row.get("height_px"), row["width_px"]
    why = f"it decodes to other pixels of a photograph of {width} x {height} px"
    return Again(row, "rounded" if near else "other", "" if near else why, values=values)


def _second(
    spec: CodecSpec,
    streams: Mapping[str, bytes],
    first: Mapping[str, str],
    device: str,
    timeout_seconds: float | None,
) -> Iterator[tuple[str, str, float]]:
    """Decode again what was decoded, one after the other; yield name, sha256 of pixels, seconds."""
    if not first:
        return
    decoder = Decoder(spec, device, timeout_seconds)
    try:
        for name in first:
            if isinstance(decoder.where, Failed):
                return
            began = perf_counter()
            decoder.send(streams[name])
            pixels = decoder.collect(wait=True)
            seconds = perf_counter() - began
            yield (
                name,
                "" if pixels is None or isinstance(pixels, Failed) else pixels_sha256(pixels),
                seconds,
            )
    finally:
        decoder.process.end(busy=False)


class Pair(NamedTuple):
    """A value as it was sent and as it is here."""

    sent: float
    here: float
    same: bool  # within `TOLERANCE`; within `ROUNDING` where the pixels are not the recorded ones


def compared(one: Again, metrics: Iterable[str]) -> dict[str, Pair]:
    """Return the values that a row has and that were measured here, by metric column."""
    sent = values_sent(one.row, metrics)
    near = TOLERANCE if one.state == "equal" else ROUNDING
    pairs = {column: (sent[column], one.values[column]) for column in sent.keys() & one.values}
    return {
        column: Pair(first, second, first == second or abs(first - second) <= near)
        for column, (first, second) in pairs.items()
    }


def speed(alike: Iterable[Again]) -> float | None:
    """Return the median of the second decodes' seconds per megapixel; None without any."""
    seconds = [
        one.decode_seconds / (one.row["width_px"] * one.row["height_px"] / 1e6)
        for one in alike
        if one.decode_seconds is not None
    ]
    return median(seconds) if seconds else None
