"""Decode streams in fresh processes that get the name of a codec and bytes, and nothing else."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

import numpy as np

from benchmark.codec import Pixels
from benchmark.codec_spec import CodecSpec, load_codec
from benchmark.errors import Unavailable
from benchmark.measure.engine.workers import TICK_SECONDS, Patience, WorkerProcess
from benchmark.measure.execute import Failed, failed_by
from benchmark.system.settings import DEVICE


class Ready(NamedTuple):
    """A decoder that can begin."""

    device: str  # where it decodes: cpu or cuda


class DecoderProcess:
    """A process that decodes one codec variant; after `Failed` of stage "load", nothing."""

    def __init__(self, spec: CodecSpec, device: str, timeout_seconds: float | None = None) -> None:
        """Start the process; device: cpu or cuda, which the codec may ignore."""
        self._spec, self._device = spec, device
        self._patience = Patience(timeout_seconds)
        self._start()

    def _start(self) -> None:
        self._process = WorkerProcess(_serve, self._spec, **{DEVICE: self._device})
        self._greeting: Ready | Failed | None = None
        self._busy = False

    @property
    def connection(self) -> Connection:
        """The pipe to the present process."""
        return self._process.connection

    @property
    def ready(self) -> Ready | Failed:
        """Device of the decoder, or why it cannot decode; waits until that is known."""
        if self._greeting is None:
            try:
                self._greeting = self.connection.recv()
            except (EOFError, OSError):
                self._greeting = Failed("load", self._how_it_ended())
        return self._greeting

    def send(self, stream: bytes) -> None:
        """Begin to decode; `receive` has the result."""
        self.ready  # noqa: B018 - comes before everything else
        self._busy = True
        self._patience.begin("decode")
        with suppress(OSError):  # a process that is gone is found out by `receive`
            self.connection.send_bytes(stream)

    def receive(self) -> Pixels | Failed:
        """Return the pixels; replace a process that died over the stream."""
        try:
            outcome: Pixels | Failed = self.connection.recv()
        except (EOFError, OSError):
            outcome = Failed("worker", self._how_it_ended())
            self._start()
        self._busy = False
        return outcome

    def give_up(self) -> Failed | None:
        """Stop a process that has taken too long over its stream; None if it has not."""
        if self._patience.left_seconds() != 0 or self.connection.poll():
            return None
        self._process.stop()
        self._start()
        return self._patience.failure()

    def end(self) -> None:
        """Let an idle process finish; one that is busy is ended."""
        self._process.end(self._busy)

    def _how_it_ended(self) -> str:
        return f"the process that decoded it {self._process.how_it_ended()}"


def decode_all(
    spec: CodecSpec,
    streams: Iterable[tuple[str, bytes]],
    device: str,
    jobs: int,
    timeout_seconds: float | None = None,
) -> Iterator[tuple[str, Ready | Failed, Pixels | Failed] | None]:
    """Decode named streams of a codec variant; yield (name, where, pixels) as they complete.

    None at least once a second while nothing completes. A decoder on a GPU has no other beside it.
    """
    waiting = iter(streams)
    following = next(waiting, None)
    decoders: list[DecoderProcess] = []
    names: dict[Any, tuple[str, DecoderProcess]] = {}
    try:
        while following or names:
            if following and len(names) < _width(decoders, jobs):
                decoder = next((one for one in decoders if one.connection not in names), None)
                if decoder is None:
                    decoder = DecoderProcess(spec, device, timeout_seconds)
                    decoders.append(decoder)
                name, stream = following
                following = next(waiting, None)
                if isinstance(decoder.ready, Failed):
                    yield name, decoder.ready, decoder.ready
                else:
                    decoder.send(stream)
                    names[decoder.connection] = name, decoder
                continue
            done = wait(list(names), timeout=TICK_SECONDS)
            for connection, (name, decoder) in list(names.items()):
                where = decoder.ready  # before the process is replaced
                outcome = decoder.receive() if connection in done else decoder.give_up()
                if outcome is not None:
                    del names[connection]
                    yield name, where, outcome
            if not done:
                yield None
    finally:
        for decoder in decoders:
            decoder.end()


def _width(decoders: Sequence[DecoderProcess], jobs: int) -> int:
    on_gpu = any(
        isinstance(decoder.ready, Ready) and decoder.ready.device == "cuda" for decoder in decoders
    )
    return 1 if on_gpu or not decoders else jobs


def _serve(connection: Connection, spec: CodecSpec) -> None:
    """Serve streams in a decoder's process until the end of the pipe."""
    os.setpgid(0, 0)  # so that it can be ended with all that it started
    try:
        codec = load_codec(spec)
    except Exception as error:
        connection.send(failed_by(None, "load", error))
        return
    device = "cpu"
    with suppress(Unavailable):  # of what only the encoder needs
        device = codec.describe().device
    connection.send(Ready(device))
    while True:
        connection.send(_decoded(codec, connection.recv_bytes()))


def _decoded(codec: Any, stream: bytes) -> Pixels | Failed:
    try:
        pixels: object = codec.decode(stream)
    except Exception as error:  # adapters run foreign code; any exception is that stream's result
        return failed_by(codec, "decode", error)
    if isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.ndim == 3:
        return pixels
    return Failed("verify", f"decode gave {type(pixels).__name__}, not pixels")
