"""Rows that were sent: decoded in fresh processes, scored, compared with what was recorded."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from benchmark.codec import bits_per_pixel
from benchmark.datasets.image import read_image
from benchmark.errors import BenchError
from benchmark.measure.cells import Failed
from benchmark.measure.pictures import ABSENT, Contents, reconstructed
from benchmark.measure.record import Progress, ShowsProgress
from benchmark.measure.request import Request
from benchmark.measure.score import HashedImage, Scorer
from benchmark.registry import metric_class
from benchmark.review.sent import Photographs, Sent, name_of_row, setting_of, values_sent
from benchmark.rows.codecs import NamedCodecs
from benchmark.rows.packs.pack import Row
from benchmark.rows.schema import is_declared, metric_columns
from benchmark.spec import CodecSpec
from benchmark.system.digest import pixels_sha256
from benchmark.system.machine import cores
from benchmark.system.settings import Device, chosen_device, use_device

# equal: the recorded pixels; rounded: others, at the recorded PSNR (`ROUNDING`); other: others;
# blind: others, whose PSNR is not known; failed: no picture; damaged: its bytes, or the picture of
# a declared size, are not those recorded; not run: its codec is not here
State = Literal["equal", "rounded", "other", "blind", "failed", "damaged", "not run"]
BROKEN = ("failed", "damaged")  # states of streams without a picture
# PSNR is the same everywhere; MS-SSIM and LPIPS differ by less than this between CPUs and GPUs.
TOLERANCE = 1e-6
SIZE_DECLARED = "the size is declared"
ROUNDING = 1e-3  # dB of PSNR: by less do pixels differ that another processor rounds otherwise


Score = Callable[[Row, HashedImage], dict[str, float]]


class Decoded(NamedTuple):
    """A row that was decoded here: the row as it was sent, and what came out."""

    row: Row
    state: State
    reason: str = ""
    values: Mapping[str, float] = {}  # by metric column, where the photograph is here
    num_bytes: int | None = None  # length of the stream
    traceback: str = ""  # of what the codec raised
    wrong_size: str = ""  # how the stated bytes, rate or picture are not those of the stream

    @property
    def is_declared(self) -> bool:
        """True for a picture whose size is declared: there is no stream to compare it with."""
        return is_declared(self.row)


class Pair(NamedTuple):
    """A value as it was sent and as it is here."""

    sent: float
    here: float
    same: bool = True  # within `TOLERANCE`; within `ROUNDING` where the pixels are others

    @property
    def gap(self) -> float:
        """Difference relative to the value here; 0 for equal ones."""
        return 0.0 if self.sent == self.here else abs(self.sent / (self.here or math.inf) - 1)


def decode(
    sent: Sequence[Sent],
    photographs: Photographs,
    metrics: Sequence[str],
    request: Request,
    codecs: NamedCodecs,
    progress: ShowsProgress,
) -> list[Decoded]:
    """Decode every row, score the picture, and compare with what was recorded.

    A codec that is a program or Python file is run only where `codecs` names it in full. metrics:
    `scored_metrics`. request: device, jobs, timeout.
    """
    device, jobs = use_device(request.device), request.jobs or cores()
    every = (image for images in photographs.values() for image in images)
    sources = {(image.sha256, image.width_px): image for image in every}

    @lru_cache(1)
    def original(sha256: str, width_px: int) -> HashedImage | None:
        source = sources.get((sha256, width_px))
        return source and HashedImage(sha256, read_image(source.file.path, flatten=True).pixels)

    scorer = Scorer(metrics, chosen_device())

    def score(row: Row, after: HashedImage) -> dict[str, float]:
        before = original(row["image_sha256"], row["width_px"])
        if before is None or before.pixels.shape != after.pixels.shape:
            return {}
        columns = scorer.score(before, after, metrics).columns
        return {name: value for name, value in columns.items() if isinstance(value, float)}

    conditions = device, jobs, request.timeout_seconds
    result: list[Decoded] = []
    with progress("decoding", sum(len(part.rows) for part in sent)) as report:
        for part in sent:
            for outcome in _decoded(part, codecs, conditions, score):
                result.append(outcome)
                report(Progress(len(result), 0))
    return result


def _decoded(
    part: Sent, codecs: NamedCodecs, conditions: tuple[Device, int, float | None], score: Score
) -> Iterator[Decoded]:
    """Yield what came of each row, codec by codec. conditions: device, jobs, timeout."""
    readable: list[Decoded] = []
    for row, rate in zip(part.rows, part.rates, strict=True):
        may_run = codecs.decoder_of(CodecSpec.of_row(row)) is not None
        first = _read(part.contents, row, rate) if may_run else Decoded(row, "not run")
        if first.state == "damaged":
            yield first
        else:
            readable.append(first)
    readable.sort(key=lambda outcome: (CodecSpec.of_row(outcome.row), outcome.row["image"]))
    rows = [outcome.row for outcome in readable]
    for place, pixels in filter(None, reconstructed(rows, part.contents, codecs, *conditions)):
        outcome = readable[place]
        if not isinstance(pixels, Failed):
            yield _compared(outcome, HashedImage(pixels_sha256(pixels), pixels), score)
            continue
        broken: State = "damaged" if outcome.is_declared else "failed"
        state: State = "not run" if pixels.stage == ABSENT else broken
        yield outcome._replace(state=state, reason=pixels.reason, traceback=pixels.traceback)


def _read(contents: Contents, row: Row, rate: float) -> Decoded:
    """Compare the size and rate of a row with its stream, if it has one, before it is decoded."""
    num_bytes, wrong = None, ""
    if not is_declared(row):
        try:
            num_bytes = len(contents.stream(row) or b"")
        except (BenchError, OSError) as error:
            return Decoded(row, "damaged", str(error))
    if num_bytes not in (None, row["num_bytes"]):
        wrong = f"{name_of_row(row)} has {num_bytes} bytes, not {row['num_bytes']}"
    elif not math.isclose(rate, row["bpp"], rel_tol=1e-6):
        wrong = f"{name_of_row(row)} has {row['bpp']:.6g} bpp, not {rate:.6g}"
    return Decoded(row, "failed", num_bytes=num_bytes, wrong_size=wrong)


def _compared(stream: Decoded, after: HashedImage, score: Score) -> Decoded:
    """Return how a picture compares with the one that its row recorded."""
    row = stream.row
    height, width, _ = after.pixels.shape
    if (width, height) != (row["width_px"], row["height_px"]):
        size = f"{row['width_px']} x {row['height_px']} px"
        wrong = f"{name_of_row(row)} decodes to {width} x {height} px, not {size}"
        return stream._replace(state="other", reason=wrong, wrong_size=stream.wrong_size or wrong)
    values = score(row, after)
    recorded, here = row.get("psnr_db"), values.get("psnr_db")
    state: State = "other"
    if after.sha256 == row.get("decoded_sha256"):
        state = "equal"
    elif recorded is None or here is None:
        state = "blind"
    elif recorded == here or abs(here - recorded) <= ROUNDING:
        state = "rounded"
    why = "" if state == "equal" else f"{name_of_row(row)} decodes to other pixels"
    if recorded is not None and here is not None and why:
        why += f", PSNR {here:.6g} dB and not {recorded:.6g}"
    return stream._replace(state=state, reason=why, values=values)


def pairs(stream: Decoded, metrics: Iterable[str]) -> dict[str, Pair]:
    """Return the values that a row has and that were measured here, by metric column."""
    sent, here = values_sent(stream.row, metrics), stream.values
    most = TOLERANCE if stream.state == "equal" else ROUNDING
    both = {column: (sent[column], here[column]) for column in sent.keys() & here}
    return {
        column: Pair(first, second, first == second or abs(first - second) <= most)
        for column, (first, second) in both.items()
    }


def differences(streams: Iterable[Decoded], metrics: Sequence[str]) -> list[str]:
    """Return sentences on values that are not as sent, the largest difference first."""
    wrong = [
        (pair.gap, f"{column} of {stream.row['image']} at {setting_of(stream.row)} is "
         f"{pair.here:.6g}, not {pair.sent:.6g}")
        for stream in streams
        for column, pair in pairs(stream, metrics).items()
        if not pair.same
    ]  # fmt: skip
    return [sentence for _, sentence in sorted(wrong, reverse=True)]


def largest_rounding(streams: Iterable[Decoded], metrics: Sequence[str]) -> str:
    """Return the largest difference of values that count as equal, in words; "" without any."""
    near = [
        (pair.gap, f"{column} of {stream.row['image']} at {setting_of(stream.row)} is "
         f"{pair.here:.9g}, not {pair.sent:.9g}")
        for stream in streams
        for column, pair in pairs(stream, metrics).items()
        if pair.same and pair.gap
    ]  # fmt: skip
    return max(near, default=(0, ""))[1]


def here(stream: Decoded, metrics: Iterable[str]) -> Row:
    """Return a row with the bytes that were sent, and the values that were measured here."""
    row = dict(stream.row)
    if stream.num_bytes is not None:
        bpp = bits_per_pixel(stream.num_bytes, row["width_px"] * row["height_px"])
        row |= {"num_bytes": stream.num_bytes, "bpp": bpp}
    for kind in map(metric_class, metrics):
        if kind.column in stream.values:
            value, protocol, reason = metric_columns(kind.column)
            row |= {value: stream.values[kind.column], protocol: kind.protocol, reason: None}
    return row
