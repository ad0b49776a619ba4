"""Decode streams in fresh processes that get the name of a codec and bytes, and nothing else.

It never has a source, an encoder's output beside the stream, a row or a hash. One process decodes
the streams of one codec variant, one after another, and ends with them.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

import numpy as np

from benchmark.codec import Pixels
from benchmark.codec_spec import CodecSpec, load_codec
from benchmark.errors import Unavailable
from benchmark.measure.engine.local import GRACE_SECONDS, how_it_ended
from benchmark.measure.engine.patience import ENDING_SECONDS, Patience
from benchmark.measure.engine.worker_context import start_worker, worker_context
from benchmark.measure.execute import Failed, failed_by
from benchmark.system.device import VARIABLE as DEVICE_VARIABLE
from benchmark.system.process_tree import end_tree
from benchmark.system.processes.hang_up import work_for

TICK_SECONDS = 1.0


class Ready(NamedTuple):
    """A decoder that can begin."""

    device: str  # where it decodes: cpu or cuda


class DecoderProcess:
    """A process that decodes one codec variant; after `Failed` of stage "load", nothing."""

    def __init__(self, spec: CodecSpec, device: str, timeout_seconds: float | None = None) -> None:
        """Start the process; device: cpu or cuda, which the codec may ignore.

        timeout_seconds: of one stream; None for no limit.
        """
        self._spec, self._device = spec, device
        self._patience = Patience(timeout_seconds)
        self._start()

    def _start(self) -> None:
        context = worker_context()
        self.connection, theirs = context.Pipe()
        environment = {**os.environ, DEVICE_VARIABLE: self._device}
        self._process: BaseProcess = context.Process(
            target=serve, args=(theirs, environment, self._spec), daemon=True
        )
        start_worker(self._process)
        theirs.close()
        self._greeting: Ready | Failed | None = None
        self._busy = False

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
        """Begin to decode; `receive` has what comes of it."""
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
        if self._patience.left_seconds() != 0 or not self.waits(0):
            return None
        self.stop()
        return self._patience.failure()

    @property
    def process_id(self) -> int | None:
        """Id of the present process."""
        return self._process.pid

    def waits(self, seconds: float) -> bool:
        """Wait up to that number of seconds; return whether nothing came back."""
        return not self.connection.poll(seconds)

    def stop(self) -> None:
        """End the process and all that it started; the next stream gets a new one."""
        assert self._process.pid is not None
        end_tree(self._process.pid, self._ended, ENDING_SECONDS)
        self._how_it_ended()
        self._busy = False
        self._start()

    def _ended(self, seconds: float) -> bool:
        self._process.join(timeout=seconds)
        return not self._process.is_alive()

    def end(self) -> None:
        """Let an idle process finish; one that is busy is killed."""
        self.connection.close()
        if self._busy:
            self._process.terminate()
        self._process.join(timeout=GRACE_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _how_it_ended(self) -> str:
        self._process.join()
        self.connection.close()
        return f"the process that decoded it {how_it_ended(self._process.exitcode or 0)}"


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
                idle = [one for one in decoders if one.connection not in names]
                decoder = idle[0] if idle else DecoderProcess(spec, device, timeout_seconds)
                if not idle:
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
    on_gpu = any(isinstance(one.ready, Ready) and one.ready.device == "cuda" for one in decoders)
    return 1 if on_gpu or not decoders else jobs


def serve(connection: Connection, environment: dict[str, str], spec: CodecSpec) -> None:
    """Serve streams in a decoder's process until the end of the pipe."""
    os.environ.clear()
    os.environ.update(environment)
    os.setpgid(0, 0)  # so that it can be ended with all that it started
    work_for(connection.fileno(), partial(_serve, connection, spec))


def _serve(connection: Connection, spec: CodecSpec) -> None:
    try:
        codec = load_codec(spec)
    except Exception as error:
        connection.send(failed_by(None, "load", error))
        return
    connection.send(Ready(_device_of(codec)))
    while True:
        stream = connection.recv_bytes()
        connection.send(_decoded(codec, stream))


def _decoded(codec: Any, stream: bytes) -> Pixels | Failed:
    try:
        pixels: object = codec.decode(stream)
    except Exception as error:  # adapters run foreign code; any exception is that stream's result
        return failed_by(codec, "decode", error)
    if isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.ndim == 3:
        return pixels
    return Failed("verify", f"decode gave {type(pixels).__name__}, not pixels")


def _device_of(codec: Any) -> str:
    try:
        device: str = codec.describe().device
    except Unavailable:  # of what only the encoder needs
        return "cpu"
    return device
