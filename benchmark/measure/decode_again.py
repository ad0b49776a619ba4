"""Decode streams again in fresh processes, which receive only a codec's spec and the bytes."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np

from benchmark.codec import Codec, Pixels, Setting
from benchmark.errors import FOREIGN_ERRORS, Unavailable
from benchmark.measure.cells import Failed, failed_by
from benchmark.measure.execute import decode_again
from benchmark.measure.workers import TICK_SECONDS, WorkerLost, WorkerProcess
from benchmark.spec import CodecSpec, load_codec
from benchmark.system.digest import pixels_sha256
from benchmark.system.processes import lead_group
from benchmark.system.settings import DEVICE

StoredRow = Mapping[str, Any]


class DecoderProcess:
    """Process that decodes streams; `status` is its device, or the failure to load the codec."""

    def __init__(self, spec: CodecSpec, device: str, timeout_seconds: float | None = None) -> None:
        """Start the process and wait until it is ready; the codec may ignore `device`."""
        self.process = WorkerProcess(
            _serve_decoder,
            spec,
            limit_seconds=timeout_seconds,
            activity="decoded the stream",
            **{DEVICE: device},
        )
        self.status = self._receive_greeting()

    def _receive_greeting(self) -> str | Failed:
        try:
            greeting: str | Failed = self.process.reply()
        except WorkerLost as lost:
            return lost.failed._replace(stage="load")
        return greeting

    def send(self, stream: bytes) -> None:
        """Send a stream to decode; see `collect`."""
        self.process.deadline.start("decode")
        self.process.send(stream)

    def collect(self) -> Pixels | Failed | None:
        """Return the pixels, or None while decoding; replace a lost process."""
        try:
            result: Pixels | Failed = self.process.collect()
        except WorkerLost as lost:
            self.status = self._receive_greeting()
            return lost.failed
        return result


def decode_all(
    spec: CodecSpec,
    streams: Iterable[tuple[str, bytes]],
    device: str,
    jobs: int,
    timeout_seconds: float | None = None,
) -> Iterator[tuple[str, str | Failed, Pixels | Failed] | None]:
    """Decode named streams; yield (name, status, pixels) of finished ones, None while waiting."""
    pending_streams = iter(streams)
    next_stream = next(pending_streams, None)
    decoders: list[DecoderProcess] = []
    idle_decoders: list[DecoderProcess] = []
    busy_decoders: dict[str, DecoderProcess] = {}  # decoders by the name of their stream
    try:
        while next_stream or busy_decoders:
            limit = 1 if any(decoder.status == "cuda" for decoder in decoders) else jobs
            if next_stream and not idle_decoders and len(decoders) < limit:
                decoders.append(DecoderProcess(spec, device, timeout_seconds))
                idle_decoders.append(decoders[-1])
            if next_stream and idle_decoders:
                name, stream = next_stream
                next_stream = next(pending_streams, None)
                if isinstance(status := idle_decoders[-1].status, Failed):
                    yield name, status, status
                else:
                    busy_decoders[name] = idle_decoders.pop()
                    busy_decoders[name].send(stream)
                continue
            ready = wait(
                [decoder.process.connection for decoder in busy_decoders.values()],
                timeout=TICK_SECONDS,
            )
            for name, decoder in list(busy_decoders.items()):
                status = decoder.status  # read before `collect` may replace the process
                if (outcome := decoder.collect()) is not None:
                    idle_decoders.append(busy_decoders.pop(name))
                    yield name, status, outcome
            if not ready:
                yield None
    finally:
        for decoder in decoders:
            decoder.process.end(busy=decoder not in idle_decoders)


def _serve_decoder(connection: Connection, spec: CodecSpec) -> None:
    lead_group()  # so that this process can be ended with all its children
    try:
        codec = load_codec(spec)
    except FOREIGN_ERRORS as error:
        connection.send(failed_by(None, "load", error))
        return
    device = "cpu"
    with suppress(Unavailable):  # only the encoder may lack something
        device = codec.describe().device
    connection.send(device)
    while True:
        connection.send(_decode_pixels(codec, connection.recv()))


def _decode_pixels(codec: Any, stream: bytes) -> Pixels | Failed:
    try:
        pixels: object = codec.decode(stream)
    except FOREIGN_ERRORS as error:  # the failure is the stream's result
        return failed_by(codec, "decode", error)
    if isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.ndim == 3:
        return pixels
    return Failed("verify", f"decode gave {type(pixels).__name__}, not pixels")


def reconstruct(decoder: Codec, row: StoredRow, stream: bytes | None) -> Pixels | Failed:
    """Decode a row's stream and check the sha256 of its pixels."""
    setting = Setting(row["setting_name"], row["setting_value"])
    return check_pixels(row, decode_again(decoder, row["image"], setting, stream))


def check_pixels(row: StoredRow, decoded: Pixels | Failed) -> Pixels | Failed:
    """Return the decoded pixels, or a failure if they differ from the measured pixels."""
    if isinstance(decoded, Failed) or pixels_sha256(decoded) == row["decoded_sha256"]:
        return decoded
    source = "stream decodes to" if row["stream_sha256"] else "declared picture has"
    return Failed("verify", f"the {source} pixels that differ from the measured pixels")
