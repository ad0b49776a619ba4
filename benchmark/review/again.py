"""Streams decoded twice in fresh processes, scored and compared; some pictures encoded again."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from random import Random
from statistics import median
from time import perf_counter
from typing import Literal, NamedTuple

import numpy as np

from benchmark.codec import Setting
from benchmark.datasets.dataset import Source
from benchmark.datasets.image import read_image
from benchmark.errors import BenchError
from benchmark.measure.cells import Failed
from benchmark.measure.decode_again import Decoder, decode_all
from benchmark.measure.record import Progress, ShowsProgress
from benchmark.measure.request import Request
from benchmark.measure.score import HashedImage, Scorer
from benchmark.review.audit.pack_audit import TOLERANCE, by_pixels, name_of_row, values_sent
from benchmark.review.streams import Row, Sent, setting_of
from benchmark.rows.codecs import NamedCodecs, why_not_run
from benchmark.spec import CodecSpec
from benchmark.system.digest import pixels_sha256
from benchmark.system.machine import cores
from benchmark.system.settings import chosen_device, use_device
from benchmark.system.text import by_key

# equal: the recorded pixels; rounded: others, at the recorded PSNR (`ROUNDING`); other: others;
# blind: others, whose PSNR is not known; failed: no picture; damaged: the bytes are not those
# recorded; not run: its codec is not here
State = Literal["equal", "rounded", "other", "blind", "failed", "damaged", "not run"]
# equal: the same bytes; near: others, of about the size; other: of another setting, or of none
Label = Literal["equal", "near", "other", ""]
ROUNDING = 1e-3  # dB of PSNR: by less do pixels differ that another processor rounds otherwise
ENCODING_SECONDS = 60.0  # that a codec variant may take for encoding again
NEAR, FAR = math.log(1.1), math.log(1.5)  # ratios of sizes, of another build's streams at most


class Again(NamedTuple):
    """A stream decoded again: its row as it was sent, and what came out here."""

    row: Row
    state: State
    reason: str = ""
    twice: bool | None = None  # both decodes gave the same pixels; None without two
    values: Mapping[str, float] = {}  # by metric column, where the photograph is here
    decode_seconds: float | None = None  # of the second decode, alone, with the pixels' way back
    num_bytes: int | None = None  # length of the stream
    wrong_size: str = ""  # how the declared bytes, rate or picture are not those of the stream
    label: Label = ""  # of its picture encoded again at its setting
    encoded: str = ""  # what is other, or why it was not encoded


class _Pictures(NamedTuple):
    """Originals of streams, and what scores reconstructions of them."""

    original: Callable[[Row], HashedImage | None]
    scorer: Scorer
    metrics: Sequence[str]


def decode_again(
    sent: Sequence[Sent],
    photographs: Mapping[str, Iterable[Source]],
    metrics: Sequence[str],
    request: Request,
    codecs: NamedCodecs,
    progress: ShowsProgress,
    seed: int | None = None,
) -> list[Again]:
    """Decode every stream twice, score the first picture, and compare with what was recorded.

    Where the codec encodes here, two pictures of each image are encoded again, for at most
    `ENCODING_SECONDS`: those that `seed` draws, in the order in which it draws them; None is
    another draw each time. photographs: by dataset. metrics: `scored_metrics`. request: device,
    jobs, timeout. A codec that is a program or Python file is run only where `codecs` names it in
    full.
    """
    device, jobs = use_device(request.device), request.jobs or cores()
    sources = by_pixels(photographs)

    @lru_cache(1)
    def read(source: Source) -> HashedImage:
        return HashedImage(source.sha256, read_image(source.file.path, flatten=True).pixels)

    def original(row: Row) -> HashedImage | None:
        source = sources.get((row["image_sha256"], row["width_px"]))
        return read(source) if source else None

    draw = Random(seed)
    pictures = _Pictures(original, Scorer(metrics, chosen_device()), metrics)
    by_spec = by_key((CodecSpec.of_row(stream.row), stream) for stream in sent)
    result: list[Again] = []
    with progress("decoding", len(sent)) as report:
        for spec, of_spec in by_spec.items():
            if not codecs.may_run(spec):
                result += [Again(stream.row, "not run", why_not_run(spec)) for stream in of_spec]
                continue
            done, streams = _read(sorted(of_spec, key=lambda stream: stream.row["image"]))
            first: dict[str, str] = {}  # sha256 of pixels
            asked = device, jobs, request.timeout_seconds
            outcomes = filter(None, decode_all(spec, streams.items(), *asked))
            for count, (name, where, pixels) in enumerate(outcomes, 1):
                if isinstance(pixels, Failed):
                    state: State = "not run" if isinstance(where, Failed) else "failed"
                    done[name] = done[name]._replace(state=state, reason=pixels.reason)
                else:
                    first[name] = pixels_sha256(pixels)
                    done[name] = _compared(done[name], HashedImage(first[name], pixels), pictures)
                report(Progress(len(result) + count, 0))
            if first:
                decoder = Decoder(spec, device, request.timeout_seconds)
                try:
                    _decode_second(decoder, streams, first, done)
                    _encode(decoder, done, pictures, draw)
                finally:
                    decoder.process.end(busy=False)
            result += done.values()
    return result


def _read(sent: Sequence[Sent]) -> tuple[dict[str, Again], dict[str, bytes]]:
    """Return streams before they are decoded, and the bytes of those that can be read, by name."""
    streams: dict[str, bytes] = {}
    done: dict[str, Again] = {}
    for name, (row, read, bpp) in zip(map(str, range(len(sent))), sent, strict=True):
        try:
            data = read() if read else None
        except (BenchError, OSError) as error:
            done[name] = Again(row, "damaged", str(error))
            continue
        size, wrong = None if data is None else len(data), ""
        if size is not None and size != row["num_bytes"]:
            wrong = f"{name_of_row(row)} has {size} bytes, not {row['num_bytes']}"
        elif bpp is not None and not math.isclose(bpp, row["bpp"], rel_tol=1e-6):
            wrong = f"{name_of_row(row)} has {row['bpp']:.6g} bpp, not {bpp:.6g}"
        done[name] = Again(row, "failed", num_bytes=size, wrong_size=wrong)
        streams |= {} if data is None else {name: data}
    return done, streams


def _compared(stream: Again, after: HashedImage, pictures: _Pictures) -> Again:
    """Return how a picture compares with the one that its row recorded."""
    row, values = stream.row, dict[str, float]()
    height, width, _ = after.pixels.shape
    if (width, height) != (row["width_px"], row["height_px"]):
        size = f"{row['width_px']} x {row['height_px']} px"
        wrong = f"{name_of_row(row)} decodes to {width} x {height} px, not {size}"
        return stream._replace(state="other", reason=wrong, wrong_size=stream.wrong_size or wrong)
    before = pictures.original(row)
    if before and before.pixels.shape == after.pixels.shape:
        columns = pictures.scorer.score(before, after, pictures.metrics).columns
        values = {name: value for name, value in columns.items() if isinstance(value, float)}
    recorded, here = row.get("psnr_db"), values.get("psnr_db")
    state: State = "other"
    if after.sha256 == row.get("decoded_sha256"):
        state = "equal"
    elif recorded is None or here is None:
        state = "blind"
    elif recorded == here or abs(here - recorded) <= ROUNDING:
        state = "rounded"
    why = f"{name_of_row(row)} decodes to other pixels" if state in ("other", "blind") else ""
    return stream._replace(state=state, reason=why, values=values)


def _decode_second(
    decoder: Decoder, streams: Mapping[str, bytes], first: Mapping[str, str], done: dict[str, Again]
) -> None:
    """Decode again what was decoded, alone; note whether pixels are the same, and the seconds."""
    for name, digest in first.items():
        if isinstance(decoder.where, Failed):
            return
        began = perf_counter()
        decoder.send(streams[name])
        pixels = decoder.collect(wait=True)
        seconds = perf_counter() - began
        twice = isinstance(pixels, np.ndarray) and pixels_sha256(pixels) == digest
        done[name] = done[name]._replace(twice=twice, decode_seconds=seconds)


def _encode(decoder: Decoder, done: dict[str, Again], pictures: _Pictures, draw: Random) -> None:
    """Encode two pictures of each image again, and compare with the streams that were sent."""
    by_image = by_key((stream.row["image_sha256"], name) for name, stream in done.items())
    chosen = [
        name for names in by_image.values() for name in draw.sample(names, min(2, len(names)))
    ]
    draw.shuffle(chosen)  # an author who knew the order would know what a minute reaches
    left = ENCODING_SECONDS
    for name in chosen:
        row, before = done[name].row, pictures.original(done[name].row)
        if before is None or done[name].num_bytes is None:
            done[name] = done[name]._replace(encoded="its photograph is not known here")
            continue
        none, why = False, f"not within {ENCODING_SECONDS:g} s"
        if left > 0 and not isinstance(decoder.where, Failed):
            began = perf_counter()
            setting = Setting(row["setting_name"], row["setting_value"])
            data = decoder.encode(before.pixels, setting, left)
            left -= perf_counter() - began
            if isinstance(data, bytes):
                alike = [done[other] for other in by_image[row["image_sha256"]]]
                label, why = labelled(done[name], data, alike)
                done[name] = done[name]._replace(label=label, encoded=why)
                continue
            none, why = data.stage == "verify", data.reason
        done[name] = done[name]._replace(label="other" if none else "", encoded=why)


def labelled(stream: Again, data: bytes, alike: Iterable[Again]) -> tuple[Label, str]:
    """Compare a stream with its picture encoded again at its setting.

    alike: streams of the image at all settings. Another build or processor gives other bytes of
    about the size; the stream of another setting, or a size nearer to that of one, is a false
    label.
    """
    digest, row, size = sha256(data).hexdigest(), stream.row, stream.num_bytes or 1
    if digest == row["stream_sha256"]:
        return "equal", ""
    others = [other for other in alike if other.num_bytes and other is not stream]
    what = f"{name_of_row(row)}, encoded here, has {len(data)} bytes, not {size}"
    same = [other for other in others if other.row["stream_sha256"] == digest]
    off = abs(math.log(len(data) / size))
    near = [o for o in others if abs(math.log(len(data) / (o.num_bytes or 1))) < off and off > NEAR]
    for other in (*same, *near):
        return "other", f"{what}: as that sent for {setting_of(other.row)}"
    return ("other", what) if off > FAR else ("near", what)


class Pair(NamedTuple):
    """A value as it was sent and as it is here."""

    sent: float
    here: float
    same: bool  # within `TOLERANCE`; within `ROUNDING` where the pixels are not the recorded ones

    @property
    def gap(self) -> float:
        """Difference relative to the value here; 0 for equal ones."""
        return 0.0 if self.sent == self.here else abs(self.sent / (self.here or math.inf) - 1)


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


def differences(streams: Iterable[Again], metrics: Sequence[str]) -> list[str]:
    """Return sentences on values that are not as sent, the largest difference first."""
    wrong = [
        (pair.gap, f"{column} of {stream.row['image']} at {setting_of(stream.row)} is "
         f"{pair.here:.6g}, not {pair.sent:.6g}")
        for stream in streams
        for column, pair in compared(stream, metrics).items()
        if not pair.same
    ]  # fmt: skip
    return [sentence for _, sentence in sorted(wrong, reverse=True)]


def speed(alike: Iterable[Again]) -> float | None:
    """Return the median of the second decodes' seconds per megapixel; None without any."""
    seconds = [
        stream.decode_seconds / (stream.row["width_px"] * stream.row["height_px"] / 1e6)
        for stream in alike
        if stream.decode_seconds is not None
    ]
    return median(seconds) if seconds else None
