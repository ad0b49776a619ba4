"""Patches to the 2048 features of FID, by the Inception network that pytorch-fid takes them from.

Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception Architecture for Computer
Vision" (2016), with the weights of TensorFlow's release of 2015-12-05 and what differs there: means
that leave the border out, and a maximum in the last block. pytorch-fid 0.3.0 builds it of parts of
torchvision, whose import costs 1.3 s and 300 MB a process. This one is the same arithmetic, ordered
for speed on a CPU: channels last, the batch normalisation in the convolutions, a 1 x 1 convolution
before the mean that it follows.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from benchmark.system.backbone import channels_last, load_pinned
from benchmark.system.weights import find_weights

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor

FILE = "pt_inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
PATTERNS = (FILE, "weights-inception-2015-12-05-6726825d.pth")  # torch-fidelity's name for it
DIMENSIONS = 2048
SIDE_PX = 299  # to which every patch is scaled
VARIANCE_EPSILON = 1e-3  # of the batch normalisation


class Unit(NamedTuple):
    """A convolution with its batch normalisation in it."""

    weight: "Tensor"
    bias: "Tensor"

    @property
    def padding(self) -> tuple[int, int]:
        """That keeps height and width."""
        return self.weight.shape[2] // 2, self.weight.shape[3] // 2


def find_inception() -> "Path":
    """The weight file, unread; `Unavailable` where there is none."""
    return find_weights(
        PATTERNS, f"run `bench fetch inception`, or put pytorch-fid's {FILE} into one of them"
    )


class Inception:
    """The network on a device."""

    def __init__(self, path: "Path", device: str, dtype: "torch.dtype") -> None:
        """Raises `Unavailable` where the file is another one."""
        state = load_pinned(path, SHA256, f"pytorch-fid's {FILE}")
        self._units = {
            name: Unit(channels_last(unit.weight).to(device, dtype), unit.bias.to(device, dtype))
            for name, unit in _folded(state)
        }

    def features(self, patches: "Tensor") -> "Tensor":
        """Patches (n, 3, height, width) in [0, 1], scaled to 299 x 299 px here, to (n, 2048)."""
        from torch.nn.functional import interpolate

        scaled = interpolate(patches, (SIDE_PX, SIDE_PX), mode="bilinear", align_corners=False)
        signal = self._stem(2 * scaled - 1)
        for letter in "bcd":
            signal = self._mixed_35px(signal, f"Mixed_5{letter}")
        signal = self._halve_35px(signal, "Mixed_6a")
        for letter in "bcde":
            signal = self._mixed_17px(signal, f"Mixed_6{letter}")
        signal = self._halve_17px(signal, "Mixed_7a")
        signal = self._mixed_8px(signal, "Mixed_7b", self._mean_branch(signal, "Mixed_7b"))
        signal = self._mixed_8px(signal, "Mixed_7c", self._maximum_branch(signal, "Mixed_7c"))
        return signal.mean((2, 3))

    def _stem(self, signal: "Tensor") -> "Tensor":
        signal = self._reduce(signal, "Conv2d_1a_3x3", stride=2)
        signal = self._reduce(signal, "Conv2d_2a_3x3")
        signal = _maximum(self._chain(signal, "Conv2d_2b_3x3"))
        signal = self._chain(signal, "Conv2d_3b_1x1")
        return _maximum(self._reduce(signal, "Conv2d_4a_3x3"))

    def _mixed_35px(self, signal: "Tensor", block: str) -> "Tensor":
        return _side_by_side(
            self._branch(signal, block, "1x1"),
            self._branch(signal, block, "5x5_1", "5x5_2"),
            self._branch(signal, block, "3x3dbl_1", "3x3dbl_2", "3x3dbl_3"),
            self._mean_branch(signal, block),
        )

    def _halve_35px(self, signal: "Tensor", block: str) -> "Tensor":
        double = self._branch(signal, block, "3x3dbl_1", "3x3dbl_2")
        return _side_by_side(
            self._reduce(signal, f"{block}.branch3x3", stride=2),
            self._reduce(double, f"{block}.branch3x3dbl_3", stride=2),
            _maximum(signal),
        )

    def _mixed_17px(self, signal: "Tensor", block: str) -> "Tensor":
        return _side_by_side(
            self._branch(signal, block, "1x1"),
            self._branch(signal, block, *(f"7x7_{i}" for i in range(1, 4))),
            self._branch(signal, block, *(f"7x7dbl_{i}" for i in range(1, 6))),
            self._mean_branch(signal, block),
        )

    def _halve_17px(self, signal: "Tensor", block: str) -> "Tensor":
        wide = self._branch(signal, block, *(f"7x7x3_{i}" for i in range(1, 4)))
        return _side_by_side(
            self._reduce(self._branch(signal, block, "3x3_1"), f"{block}.branch3x3_2", stride=2),
            self._reduce(wide, f"{block}.branch7x7x3_4", stride=2),
            _maximum(signal),
        )

    def _mixed_8px(self, signal: "Tensor", block: str, pooled: "Tensor") -> "Tensor":
        single = self._branch(signal, block, "3x3_1")
        double = self._branch(signal, block, "3x3dbl_1", "3x3dbl_2")
        return _side_by_side(
            self._branch(signal, block, "1x1"),
            self._branch(single, block, "3x3_2a"),
            self._branch(single, block, "3x3_2b"),
            self._branch(double, block, "3x3dbl_3a"),
            self._branch(double, block, "3x3dbl_3b"),
            pooled,
        )

    def _mean_branch(self, signal: "Tensor", block: str) -> "Tensor":
        """A mean over 3 x 3, then a 1 x 1 convolution and a ReLU.

        The convolution is done first: the two commute, and the mean then has fewer channels.
        """
        from torch.nn.functional import avg_pool2d, conv2d

        unit = self._units[f"{block}.branch_pool"]
        fewer = conv2d(signal, unit.weight)
        mean = avg_pool2d(fewer, 3, stride=1, padding=1, count_include_pad=False)
        return mean.add_(unit.bias[:, None, None]).relu_()

    def _maximum_branch(self, signal: "Tensor", block: str) -> "Tensor":
        from torch.nn.functional import max_pool2d

        return self._chain(max_pool2d(signal, 3, stride=1, padding=1), f"{block}.branch_pool")

    def _branch(self, signal: "Tensor", block: str, *names: str) -> "Tensor":
        return self._chain(signal, *(f"{block}.branch{name}" for name in names))

    def _chain(self, signal: "Tensor", *names: str) -> "Tensor":
        """Convolutions that keep height and width, each followed by a ReLU."""
        from torch.nn.functional import conv2d

        for name in names:
            unit = self._units[name]
            signal = conv2d(signal, unit.weight, unit.bias, padding=unit.padding).relu_()
        return signal

    def _reduce(self, signal: "Tensor", name: str, stride: int = 1) -> "Tensor":
        """A convolution without padding, followed by a ReLU."""
        from torch.nn.functional import conv2d

        unit = self._units[name]
        return conv2d(signal, unit.weight, unit.bias, stride).relu_()


def _folded(state: "dict[str, Tensor]") -> Iterator[tuple[str, Unit]]:
    """Convolutions and what follows them as convolutions alone, computed in float64."""
    for key in state:
        name, end, _ = key.partition(".conv.weight")
        if end:
            scale, shift, mean, variance = (
                state[f"{name}.bn.{part}"].double()
                for part in ("weight", "bias", "running_mean", "running_var")
            )
            factor = scale / (variance + VARIANCE_EPSILON).sqrt()
            weight = state[key].double() * factor[:, None, None, None]
            yield name, Unit(weight, shift - mean * factor)


def _maximum(signal: "Tensor") -> "Tensor":
    from torch.nn.functional import max_pool2d

    return max_pool2d(signal, 3, stride=2)


def _side_by_side(*branches: "Tensor") -> "Tensor":
    import torch

    return torch.cat(branches, dim=1)
