"""Rows of a supplement, their streams decoded twice here in fresh processes, and scored."""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Literal, NamedTuple

import numpy as np

from benchmark.codec import bits_per_pixel
from benchmark.datasets.dataset import Source
from benchmark.datasets.image import read_image
from benchmark.errors import BenchError
from benchmark.measure.cells import Conditions, Failed, plan
from benchmark.measure.decode_again import Decoder, decode_all
from benchmark.measure.record import Progress, ShowsProgress
from benchmark.measure.request import Request
from benchmark.measure.score import HashedImage, Scorer
from benchmark.measure.select import select
from benchmark.measure.workbench import Workbench
from benchmark.registry import DISTRIBUTION_METRICS
from benchmark.review.audit.pack_audit import TOLERANCE, by_pixels, values_sent
from benchmark.review.supplement import LeftOutFile, Supplement
from benchmark.rows.codecs import NamedCodecs, why_not_run
from benchmark.rows.comparable import newest
from benchmark.rows.packs.contents import row_of
from benchmark.rows.schema import table_columns
from benchmark.rows.store import Store
from benchmark.rows.systems import label_of
from benchmark.spec import CodecSpec
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
    def dataset(self) -> str:
        """The dataset's name, without a part of it."""
        return str(self.row["dataset"]).partition(":")[0]


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
        for row in newest(table).rows(named=True):
            if row["bundled"]:
                continue
            has = row["status"] == "ok" and store.has_stream(row["stream_sha256"])
            read = partial(store.stream, row["stream_sha256"]) if has else None
            result.append(Sent({**row, "attested": None}, read))
    kept = [sent._replace(row=row) for sent in result if (row := _possible(sent.row))]
    wrong = len(result) - len(kept)
    if not wrong:
        return kept, []
    why = "of no size, no bytes or no setting that there can be"
    return kept, [LeftOutFile(counted(wrong, "row"), why)]


def _possible(row: Row) -> Row:
    """Return a row of all columns, with the rate of its bytes; empty where that cannot be."""
    row = {**dict.fromkeys(column.name for column in table_columns()), **row}
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
    rows = [{**stream.row, **same} for stream in done if not isinstance(stream, Failed)]
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
    device, jobs = use_device(request.device), request.jobs or cores()
    scorer, sources = Scorer(metrics, device), by_pixels(photographs)
    pixels_of = lru_cache(1)(lambda source: read_image(source.file.path, flatten=True).pixels)
    by_spec: dict[CodecSpec, list[Sent]] = defaultdict(list)
    for stream in sent:
        by_spec[spec_of(stream.row)].append(stream)
    result: list[Again] = []
    with progress("decoding", len(sent)) as report:
        for spec, of_spec in by_spec.items():
            if not codecs.may_run(spec):
                result += [Again(stream.row, "not run", why_not_run(spec)) for stream in of_spec]
                continue
            streams: dict[str, bytes] = {}
            done: dict[str, Again] = {}
            first: dict[str, str] = {}  # sha256 of pixels
            for number, stream in enumerate(
                sorted(of_spec, key=lambda stream: stream.row["image"])
            ):
                name = str(number)
                done[name] = Again(stream.row, "failed")
                try:
                    data = stream.read() if stream.read else None
                except (BenchError, OSError) as error:
                    done[name] = Again(stream.row, "damaged", str(error))
                else:
                    streams |= {} if data is None else {name: data}
            asked = device, jobs, request.timeout_seconds
            outcomes = filter(None, decode_all(spec, streams.items(), *asked))
            for count, (name, where, pixels) in enumerate(outcomes, 1):
                row = done[name].row
                if isinstance(pixels, Failed):
                    state: State = "not run" if isinstance(where, Failed) else "failed"
                    done[name] = Again(row, state, pixels.reason)
                else:
                    after = HashedImage(pixels_sha256(pixels), pixels)
                    first[name], columns = after.sha256, Row()
                    source = sources.get((row["image_sha256"], row["width_px"]))
                    if source and (before := pixels_of(source)).shape == pixels.shape:
                        original = HashedImage(source.sha256, before)
                        columns = scorer.score(original, after, metrics).columns
                    done[name] = _compared(row, after.sha256, columns)
                report(Progress(len(result) + count, 0))
            for name, twice, seconds in _second(spec, streams, first, device, request):
                done[name] = done[name]._replace(twice=twice, decode_seconds=seconds)
            result += done.values()
    return result


def _compared(row: Row, digest: str, columns: Row) -> Again:
    """Return how a picture compares with the one that its row recorded."""
    values = {name: value for name, value in columns.items() if isinstance(value, float)}
    if digest == row.get("decoded_sha256"):
        return Again(row, "equal", values=values)
    recorded, here = row.get("psnr_db"), values.get("psnr_db")
    if recorded is not None and here is not None and abs(here - recorded) <= ROUNDING:
        return Again(row, "rounded", values=values)
    size = f"{row['width_px']} x {row.get('height_px')} px"
    why = f"it decodes to other pixels of a photograph of {size}"
    return Again(row, "other", why, values=values)


def _second(
    spec: CodecSpec,
    streams: Mapping[str, bytes],
    first: Mapping[str, str],
    device: str,
    request: Request,
) -> Iterator[tuple[str, bool, float]]:
    """Decode again what was decoded, alone; yield name, whether pixels are the same, seconds."""
    if not first:
        return
    decoder = Decoder(spec, device, request.timeout_seconds)
    try:
        for name, digest in first.items():
            if isinstance(decoder.where, Failed):
                return
            began = perf_counter()
            decoder.send(streams[name])
            pixels = decoder.collect(wait=True)
            seconds = perf_counter() - began
            yield name, isinstance(pixels, np.ndarray) and pixels_sha256(pixels) == digest, seconds
    finally:
        decoder.process.end(busy=False)


class Pair(NamedTuple):
    """A value as it was sent and as it is here."""

    sent: float
    here: float
    same: bool  # within `TOLERANCE`; within `ROUNDING` where the pixels are not the recorded ones


def compared(stream: Again, metrics: Iterable[str]) -> dict[str, Pair]:
    """Return the values that a row has and that were measured here, by metric column."""
    sent = values_sent(stream.row, metrics)
    near = TOLERANCE if stream.state == "equal" else ROUNDING
    pairs = {
        column: (sent[column], stream.values[column]) for column in sent.keys() & stream.values
    }
    return {
        column: Pair(first, second, first == second or abs(first - second) <= near)
        for column, (first, second) in pairs.items()
    }


def speed(alike: Iterable[Again]) -> float | None:
    """Return the median of the second decodes' seconds per megapixel; None without any."""
    seconds = [
        stream.decode_seconds / (stream.row["width_px"] * stream.row["height_px"] / 1e6)
        for stream in alike
        if stream.decode_seconds is not None
    ]
    return median(seconds) if seconds else None


def label_of_row(row: Row) -> str:
    """Return the label of a row's codec variant."""
    return label_of(row["codec"], row["variant"])


def spec_of(row: Row) -> CodecSpec:
    """Return a row's codec variant."""
    return CodecSpec.of(row["codec"], row["variant"])


def setting_of(row: Row) -> str:
    """Return a row's setting: "quality=30"."""
    return f"{row['setting_name']}={row['setting_value']:g}"
