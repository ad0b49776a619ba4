"""Codec that encodes a picture `times` times; the last stream is measured."""

from dataclasses import replace

from benchmark.codec import Codec, CodecInfo, Pixels, Setting, require_options
from benchmark.errors import BadOption
from benchmark.spec import load_codec, sole_variant

MAX_TIMES = 1000


class Repeat:
    """Another codec applied `times` times at one setting, each time to its own decoded picture."""

    name = "repeat"

    def __init__(self, base: str, times: int = 2) -> None:
        require_options(self.name, times=(times, range(1, MAX_TIMES + 1)))
        self._times, spec = times, sole_variant(base, "base")
        if spec.name == self.name:
            raise BadOption(f"base={base} is `repeat` itself: increase `times` instead")
        self._encoder: Codec = load_codec(spec)
        if hasattr(self._encoder, "declared"):
            raise BadOption(f"base={base} cannot encode: name a codec that can")
        self._decoder: Codec = load_codec(spec)
        self.sweep: tuple[Setting, ...] = self._encoder.sweep
        if accepts := getattr(self._encoder, "accepts", None):
            self.accepts = accepts

    def describe(self) -> CodecInfo:
        """Return the base codec's description with the number of its calls."""
        info, times = self._encoder.describe(), self._times
        timed = f"{times} encodings and {times - 1} decodings of {info.timed}"
        return replace(info, command=f"{times} times: {info.command}", timed=timed)

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return the last stream."""
        for _ in range(self._times - 1):
            pixels = self._decoder.decode(self._encoder.encode(pixels, setting))
        return self._encoder.encode(pixels, setting)

    def decode(self, data: bytes) -> Pixels:
        """Decode the last stream."""
        return self._decoder.decode(data)
