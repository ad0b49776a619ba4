"""Decode submitted streams in fresh processes, score them, and compare them with their rows."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from benchmark.codec import bits_per_pixel
from benchmark.datasets.image import read_image
from benchmark.errors import BenchError
from benchmark.measure.cells import Failed
from benchmark.measure.pictures import ABSENT, Contents, decode_stored
from benchmark.measure.record import Progress, ProgressFactory
from benchmark.measure.request import Request
from benchmark.measure.score import HashedImage, Scorer
from benchmark.registry import metric_class
from benchmark.review.sent import Photographs, SentRows, name_of_row, sent_values, setting_of
from benchmark.rows.codecs import NamedCodecs
from benchmark.rows.packs.pack import Row
from benchmark.rows.schema import is_declared, metric_columns
from benchmark.spec import CodecSpec
from benchmark.system.digest import pixels_sha256
from benchmark.system.machine import cores
from benchmark.system.settings import Device, chosen_device, use_device

# equal: the recorded pixels; rounded: different pixels, but the recorded PSNR (within `ROUNDING`);
# other: different pixels; blind: different pixels, no PSNR; failed: no picture; damaged: bytes, or
# a picture of a declared size, differ from the record; not run: the codec is not installed
State = Literal["equal", "rounded", "other", "blind", "failed", "damaged", "not run"]
BROKEN = ("failed", "damaged")  # states of streams without a picture
# PSNR is equal on all machines; MS-SSIM and LPIPS differ by less than this between CPUs and GPUs
TOLERANCE = 1e-6
SIZE_DECLARED = "the size is declared"
ROUNDING = 1e-3  # dB; rounding on different processors changes PSNR by less

Score = Callable[[Row, HashedImage], dict[str, float]]


class DecodedStream(NamedTuple):
    """Outcome of decoding a submitted row's stream."""

    row: Row
    state: State
    reason: str = ""
    values: Mapping[str, float] = {}  # by metric column; empty without the photograph
    num_bytes: int | None = None  # length of the stream
    traceback: str = ""  # of the codec's exception
    wrong_size: str = ""  # sentence, if stated bytes, rate or dimensions contradict the stream

    @property
    def is_declared(self) -> bool:
        """True for a picture with a declared size, which has no stream."""
        return is_declared(self.row)


class ValuePair(NamedTuple):
    """Submitted and measured value of a metric."""

    sent: float
    measured: float
    is_equal: bool = True  # within `TOLERANCE`, or `ROUNDING` if pixels differ

    @property
    def gap(self) -> float:
        """Difference relative to the measured value; 0 for equal values."""
        if self.sent == self.measured:
            return 0.0
        return abs(self.sent / (self.measured or math.inf) - 1)


def decode(
    row_groups: Sequence[SentRows],
    photographs: Photographs,
    metrics: Sequence[str],
    request: Request,
    codecs: NamedCodecs,
    progress: ProgressFactory,
) -> list[DecodedStream]:
    """Decode and score every row's stream; a program or file runs only if `codecs` names it."""
    device, jobs = use_device(request.device), request.jobs or cores()
    sources = {
        (image.sha256, image.width_px): image for images in photographs.values() for image in images
    }

    @lru_cache(1)
    def find_source(sha256: str, width_px: int) -> HashedImage | None:
        source = sources.get((sha256, width_px))
        return source and HashedImage(sha256, read_image(source.file.path, flatten=True).pixels)

    scorer = Scorer(metrics, chosen_device())

    def score(row: Row, decoded_image: HashedImage) -> dict[str, float]:
        original_image = find_source(row["image_sha256"], row["width_px"])
        if original_image is None or original_image.pixels.shape != decoded_image.pixels.shape:
            return {}
        columns = scorer.score(original_image, decoded_image, metrics).columns
        return {name: value for name, value in columns.items() if isinstance(value, float)}

    conditions = device, jobs, request.timeout_seconds
    result: list[DecodedStream] = []
    with progress("decoding", sum(len(row_group.rows) for row_group in row_groups)) as report:
        for row_group in row_groups:
            for outcome in _decode_rows(row_group, codecs, conditions, score):
                result.append(outcome)
                report(Progress(len(result), 0))
    return result


def _decode_rows(
    row_group: SentRows,
    codecs: NamedCodecs,
    conditions: tuple[Device, int, float | None],
    score: Score,
) -> Iterator[DecodedStream]:
    """Decode rows codec by codec. conditions: device, jobs, timeout in seconds."""
    intact_streams: list[DecodedStream] = []
    for row, rate in zip(row_group.rows, row_group.rates, strict=True):
        may_run = codecs.find_decoder(CodecSpec.parse_row(row)) is not None
        stream = DecodedStream(row, "not run")
        if may_run:
            stream = _check_size(row_group.contents, row, rate)
        if stream.state == "damaged":
            yield stream
        else:
            intact_streams.append(stream)
    intact_streams.sort(key=lambda stream: (CodecSpec.parse_row(stream.row), stream.row["image"]))
    rows = [outcome.row for outcome in intact_streams]
    for index, pixels in filter(None, decode_stored(rows, row_group.contents, codecs, *conditions)):
        outcome = intact_streams[index]
        if not isinstance(pixels, Failed):
            yield compare_picture(outcome, HashedImage(pixels_sha256(pixels), pixels), score)
            continue
        failure_state: State = "damaged" if outcome.is_declared else "failed"
        state: State = "not run" if pixels.stage == ABSENT else failure_state
        yield outcome._replace(state=state, reason=pixels.reason, traceback=pixels.traceback)


def _check_size(contents: Contents, row: Row, rate: float) -> DecodedStream:
    """Compare a row's size and rate with its stream, if it has one, before decoding."""
    num_bytes, wrong_size = None, ""
    if not is_declared(row):
        try:
            num_bytes = len(contents.stream(row) or b"")
        except (BenchError, OSError) as error:
            return DecodedStream(row, "damaged", str(error))
    if num_bytes not in (None, row["num_bytes"]):
        wrong_size = f"{name_of_row(row)} has {num_bytes} bytes, not {row['num_bytes']}"
    elif not math.isclose(rate, row["bpp"], rel_tol=1e-6):
        wrong_size = f"{name_of_row(row)} has {row['bpp']:.6g} bpp, not {rate:.6g}"
    return DecodedStream(row, "failed", num_bytes=num_bytes, wrong_size=wrong_size)


def compare_picture(stream: DecodedStream, picture: HashedImage, score: Score) -> DecodedStream:
    """Compare a decoded picture with a row's size, digests and values."""
    row = stream.row
    height, width, _ = picture.pixels.shape
    if (width, height) != (row["width_px"], row["height_px"]):
        size = f"{row['width_px']} x {row['height_px']} px"
        reason = f"{name_of_row(row)} decodes to {width} x {height} px, not {size}"
        return stream._replace(state="other", reason=reason, wrong_size=stream.wrong_size or reason)
    values = score(row, picture)
    recorded_psnr_db, psnr_db = row.get("psnr_db"), values.get("psnr_db")
    state: State = "other"
    if picture.sha256 == row.get("decoded_sha256"):
        state = "equal"
    elif recorded_psnr_db is None or psnr_db is None:
        state = "blind"
    elif recorded_psnr_db == psnr_db or abs(psnr_db - recorded_psnr_db) <= ROUNDING:
        state = "rounded"
    reason = "" if state == "equal" else f"{name_of_row(row)} decodes to other pixels"
    if recorded_psnr_db is not None and psnr_db is not None and reason:
        reason += f", PSNR {psnr_db:.6g} dB, not {recorded_psnr_db:.6g}"
    return stream._replace(state=state, reason=reason, values=values)


def value_pairs(stream: DecodedStream, metrics: Iterable[str]) -> dict[str, ValuePair]:
    """Pair a row's submitted values with those measured here, by metric column."""
    tolerance = TOLERANCE if stream.state == "equal" else ROUNDING
    pairs = {}
    for column, sent in sent_values(stream.row, metrics).items():
        if column in stream.values:
            measured = stream.values[column]
            is_equal = sent == measured or abs(sent - measured) <= tolerance
            pairs[column] = ValuePair(sent, measured, is_equal)
    return pairs


def describe_differences(streams: Iterable[DecodedStream], metrics: Sequence[str]) -> list[str]:
    """Return a sentence for each submitted value that differs, largest difference first."""
    differences = [
        (pair.gap, f"{column} of {stream.row['image']} at {setting_of(stream.row)} is "
         f"{pair.measured:.6g}, not {pair.sent:.6g}")
        for stream in streams
        for column, pair in value_pairs(stream, metrics).items()
        if not pair.is_equal
    ]  # fmt: skip
    return [sentence for _, sentence in sorted(differences, reverse=True)]


def describe_largest_rounding(streams: Iterable[DecodedStream], metrics: Sequence[str]) -> str:
    """Describe the largest difference among values that count as equal; "" if there is none."""
    differences = [
        (pair.gap, f"{column} of {stream.row['image']} at {setting_of(stream.row)} is "
         f"{pair.measured:.9g}, not {pair.sent:.9g}")
        for stream in streams
        for column, pair in value_pairs(stream, metrics).items()
        if pair.is_equal and pair.gap
    ]  # fmt: skip
    return max(differences, default=(0, ""))[1]


def update_row(stream: DecodedStream, metrics: Iterable[str]) -> Row:
    """Return the submitted row, updated with its stream's size and measured values."""
    row = dict(stream.row)
    if stream.num_bytes is not None:
        bpp = bits_per_pixel(stream.num_bytes, row["width_px"] * row["height_px"])
        row |= {"num_bytes": stream.num_bytes, "bpp": bpp}
    for metric_class_ in map(metric_class, metrics):
        if metric_class_.column in stream.values:
            value, protocol, reason = metric_columns(metric_class_.column)
            row |= {value: stream.values[value], protocol: metric_class_.protocol, reason: None}
    return row
