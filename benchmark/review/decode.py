"""Streams that were sent: decoded in fresh processes, scored, compared with what was recorded."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from benchmark.codec import bits_per_pixel
from benchmark.datasets.image import read_image
from benchmark.errors import BenchError
from benchmark.measure.cells import Failed
from benchmark.measure.decode_again import StoredRow, decode_all
from benchmark.measure.pictures import ABSENT, Pictures
from benchmark.measure.record import Progress, ShowsProgress
from benchmark.measure.request import Request
from benchmark.measure.score import HashedImage, Scorer
from benchmark.registry import metric_class
from benchmark.review.sent import Photographs, Sent, name_of_row, setting_of, values_sent
from benchmark.rows.codecs import NamedCodecs, why_not_run
from benchmark.rows.packs.pack import Row
from benchmark.rows.schema import metric_columns
from benchmark.spec import CodecSpec
from benchmark.system.digest import pixels_sha256
from benchmark.system.machine import cores
from benchmark.system.settings import chosen_device, use_device
from benchmark.system.text import by_key

# equal: the recorded pixels; rounded: others, at the recorded PSNR (`ROUNDING`); other: others;
# blind: others, whose PSNR is not known; failed: no picture; damaged: the bytes are not those
# recorded; not run: its codec is not here
State = Literal["equal", "rounded", "other", "blind", "failed", "damaged", "not run"]
BROKEN = ("failed", "damaged")  # states of streams without a picture
# PSNR is the same everywhere; MS-SSIM and LPIPS differ by less than this between CPUs and GPUs.
TOLERANCE = 1e-6
ROUNDING = 1e-3  # dB of PSNR: by less do pixels differ that another processor rounds otherwise


class Decoded(NamedTuple):
    """A stream decoded here: its row as it was sent, and what came out."""

    row: Row
    state: State
    reason: str = ""
    values: Mapping[str, float] = {}  # by metric column, where the photograph is here
    num_bytes: int | None = None  # length of the stream
    traceback: str = ""  # of what the codec raised
    wrong_size: str = ""  # how the declared bytes, rate or picture are not those of the stream


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
    """Decode every stream, score the picture, and compare with what was recorded.

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

    result: list[Decoded] = []
    with progress("decoding", len(sent)) as report:
        kinds = ((CodecSpec.of_row(it.row), it.row["device"] == device, it) for it in sent)
        groups = by_key(((spec, same), it) for spec, same, it in kinds)
        for (spec, same), of_spec in groups.items():  # on another kind of device pixels may differ
            if not codecs.may_run(spec):
                result += [Decoded(it.row, "not run", why_not_run(spec)) for it in of_spec]
                continue
            done, streams = _read(sorted(of_spec, key=lambda stream: stream.row["image"]))
            how = device if same else "cpu", jobs, request.timeout_seconds
            outcomes = filter(None, decode_all(spec, streams.items(), *how))
            for count, (name, where, pixels) in enumerate(outcomes, 1):
                if isinstance(pixels, Failed):
                    state: State = "not run" if isinstance(where, Failed) else "failed"
                    done[name] = done[name]._replace(
                        state=state, reason=pixels.reason, traceback=pixels.traceback
                    )
                else:
                    after = HashedImage(pixels_sha256(pixels), pixels)
                    done[name] = _compared(done[name], after, score)
                report(Progress(len(result) + count, 0))
            result += done.values()
    return result


def read_declared(rows: Sequence[StoredRow], pictures: Pictures) -> list[Decoded]:
    """Read the pictures of rows that have no stream; compare them with those that were scored."""
    states: dict[str, State] = {ABSENT: "not run", "verify": "other"}  # by the stage of a failure
    return [
        Decoded(dict(rows[place]), states.get(made.stage, "failed"), made.reason)
        if isinstance(made, Failed)
        else Decoded(dict(rows[place]), "equal")
        for place, made in filter(None, pictures.decoded(rows, "cpu", 1))
    ]


def _read(sent: Sequence[Sent]) -> tuple[dict[str, Decoded], dict[str, bytes]]:
    """Return streams before they are decoded, and the bytes of those that can be read, by name."""
    streams: dict[str, bytes] = {}
    done: dict[str, Decoded] = {}
    for name, (row, read, bpp) in zip(map(str, range(len(sent))), sent, strict=True):
        try:
            data = read() or b""
        except (BenchError, OSError) as error:
            done[name] = Decoded(row, "damaged", str(error))
            continue
        wrong = ""
        if len(data) != row["num_bytes"]:
            wrong = f"{name_of_row(row)} has {len(data)} bytes, not {row['num_bytes']}"
        elif not math.isclose(bpp, row["bpp"], rel_tol=1e-6):
            wrong = f"{name_of_row(row)} has {row['bpp']:.6g} bpp, not {bpp:.6g}"
        done[name] = Decoded(row, "failed", num_bytes=len(data), wrong_size=wrong)
        streams[name] = data
    return done, streams


def _compared(
    stream: Decoded, after: HashedImage, score: Callable[[Row, HashedImage], dict[str, float]]
) -> Decoded:
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
