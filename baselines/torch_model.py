"""Base class for a user's learned codec in one file: a network with `compress` and `decompress`.

    class Mine(TorchModel):
        checkpoints = {0.0018: "low.pth", 0.0932: "high.pth"}  # by lambda, lowest rate first

        def load(self, file):
            return MyNetwork.from_state_dict(torch.load(file))

A stream is the MessagePack of the checkpoint's number, the image's size, and what `compress`
returns, a shape and strings: about ten bytes more than the strings. Images are padded with zeros
around them, and pixels rounded, as in CompressAI's evaluation.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from baselines.compressai.codec import cached_network, inner_pixels, padded_planes
from benchmark.codec import Pixels, Setting
from benchmark.system.digest import file_sha256
from benchmark.system.settings import chosen_device

if TYPE_CHECKING:
    from torch import nn

STREAM = tuple[int, int, int, Any, list[Any]]  # checkpoint, height, width, shape, strings


class TorchModel:
    """Codec of a network with `compress` and `decompress`; see the module's example."""

    checkpoints: ClassVar[Mapping[float, str]]  # value of `setting` -> file
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
        """Checkpoint files, which are part of the fingerprint."""
        return list(self.checkpoints.values())

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return an image's stream, coded by the network of the setting's checkpoint."""
        from baselines.neural.network import inference

        height, width, _ = pixels.shape
        number = [*self.checkpoints].index(setting.value)
        with inference():
            compressed = self._cached_network(number).compress(padded_planes(pixels, self.device))
        stream: STREAM = number, height, width, compressed["shape"], compressed["strings"]
        return msgspec.msgpack.encode(stream)

    def decode(self, data: bytes) -> Pixels:
        """Return a stream's image, rounded to 8 bits."""
        from baselines.neural.network import inference

        number, height, width, shape, strings = msgspec.msgpack.decode(data, type=STREAM)
        with inference():
            planes = self._cached_network(number).decompress(strings, shape)["x_hat"][0]
            return inner_pixels(planes, width, height)

    def _cached_network(self, number: int) -> Any:
        file = self.files[number]
        return cached_network(self._sources[number], lambda: self._load_network(file))

    @cached_property
    def _sources(self) -> list[tuple[str, ...]]:
        class_name = type(self).__module__, type(self).__qualname__
        return [(*class_name, file, file_sha256(Path(file)), self.device) for file in self.files]

    def _load_network(self, file: str) -> "nn.Module":
        network = self.load(file).eval().requires_grad_(False)
        if callable(update := getattr(network, "update", None)):
            update(force=True)  # a checkpoint's tables may be older than its weights
        return network.to(self.device)
