"""Base of a user's learned codec in one file: a network with `compress` and `decompress`.

    class Mine(TorchModel):
        checkpoints = {0.0018: "low.pth", 0.0932: "high.pth"}  # by lambda, lowest rate first

        def load(self, file):
            return MyNetwork.from_state_dict(torch.load(file))

A stream holds, as MessagePack, the number of the checkpoint, the image's size, and the shape and
strings that `compress` returned: about ten bytes beside the strings. Padding (zeros, centred) and
rounding are those of CompressAI's own evaluation.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from baselines.compressai.codec import inner_pixels, kept, padded_planes
from benchmark.codec import Pixels, Setting
from benchmark.system.digest import file_sha256
from benchmark.system.settings import chosen_device

if TYPE_CHECKING:
    from torch import nn

STREAM = tuple[int, int, int, Any, list[Any]]  # checkpoint, height, width, shape, strings


class TorchModel:
    """Codec of a network that has CompressAI's `compress` and `decompress`.

    A subclass has `checkpoints`, files by the value of `setting`, and the method `load`.
    """

    checkpoints: ClassVar[Mapping[float, str]]
    setting: ClassVar[str] = "lambda"

    def __init__(self) -> None:
        self.device = chosen_device()

    def load(self, file: str) -> "nn.Module":
        """Return the network of a checkpoint, on any device."""
        raise NotImplementedError

    @property
    def sweep(self) -> tuple[Setting, ...]:
        """Settings, one for each checkpoint."""
        return tuple(Setting(self.setting, value) for value in self.checkpoints)

    @property
    def files(self) -> Sequence[str]:
        """The checkpoints, which are part of the fingerprint."""
        return list(self.checkpoints.values())

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return the stream of an image by the network of a setting's checkpoint."""
        from baselines.neural.network import inference

        height, width, _ = pixels.shape
        number = [*self.checkpoints].index(setting.value)
        with inference():
            coded = self._network(number).compress(padded_planes(pixels, self.device))
        stream: STREAM = number, height, width, coded["shape"], coded["strings"]
        return msgspec.msgpack.encode(stream)

    def decode(self, data: bytes) -> Pixels:
        """Return the image of a stream, rounded to 8 bits."""
        from baselines.neural.network import inference

        number, height, width, shape, strings = msgspec.msgpack.decode(data, type=STREAM)
        with inference():
            decoded = self._network(number).decompress(strings, shape)["x_hat"][0]
            return inner_pixels(decoded, width, height)

    def _network(self, number: int) -> Any:
        file = self.files[number]
        return kept(self._sources[number], lambda: self._made(file))

    @cached_property
    def _sources(self) -> list[tuple[str, ...]]:
        """Names of the networks among those of a process; files are hashed once for a codec."""
        kind = type(self).__module__, type(self).__qualname__
        return [(*kind, file, file_sha256(Path(file)), self.device) for file in self.files]

    def _made(self, file: str) -> "nn.Module":
        network = self.load(file).eval().requires_grad_(False)
        if callable(update := getattr(network, "update", None)):
            update(force=True)  # tables of a checkpoint may be older than its weights
        return network.to(self.device)
