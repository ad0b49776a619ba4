"""Feature maps of AlexNet, SqueezeNet 1.1 and VGG-16, without torchvision's slow import."""

import platform
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Literal, NamedTuple

from benchmark.codec import Pixels
from benchmark.errors import Unavailable
from benchmark.system.digest import file_sha256
from benchmark.system.foreign_files import load_tensors
from benchmark.system.settings import find_fetched

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Pair = tuple[int, int]


@cache
def has_onednn() -> bool:
    """Return whether torch has oneDNN, and oneDNN has fast kernels for this processor."""
    import torch

    return platform.machine() in ("x86_64", "AMD64") and bool(
        torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    )


def convolve(
    signal: "Tensor",
    weight: "Tensor",
    bias: "Tensor",
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
) -> "Tensor":
    """Convolve a signal (n, inputs, height, width), and apply ReLU.

    With a single thread torch uses MKL for 1 x 1 kernels, which is half as fast as oneDNN on
    processors not from Intel. oneDNN has no gradients, so it is used only in inference mode.
    """
    import torch
    from torch.nn.functional import conv2d

    uses_onednn = (
        torch.is_inference_mode_enabled()
        and signal.dtype == torch.float32
        and signal.device.type == "cpu"
        and has_onednn()
        and torch.backends.mkldnn.enabled
    )
    if uses_onednn:
        return torch.mkldnn_convolution(signal, weight, bias, padding, stride, (1, 1), 1).relu_()
    return conv2d(signal, weight, bias, stride, padding).relu_()


LPIPS_VERSION = "0.1.4"
SHIFT = (-0.030, -0.088, -0.188)  # ImageNet's normalisation for [-1, 1], rounded as in lpips
SCALE = (0.458, 0.448, 0.450)
EPSILON = 1e-10
MEAN = (0.485, 0.456, 0.406)  # ImageNet's normalisation for [0, 1] (torchvision's documentation)
DEVIATION = (0.229, 0.224, 0.225)
# Raised by torch.load, or by code that uses its result, if the file is not the expected one
CONTENT_ERRORS = (RuntimeError, UnpicklingError, LookupError, TypeError, AttributeError)
READ_ERRORS = (OSError, EOFError, *CONTENT_ERRORS)
Weights = Mapping[str, "Tensor"]


class Step(NamedTuple):
    """Operation of a layer on a signal (n, channels, height, width); not in place."""

    apply: "Callable[[Tensor, Weights], Tensor]"
    tensor_keys: tuple[str, ...] = ()  # state-dict keys of the weights; empty for a pool


def pool(side_px: int = 3, ceil_mode: bool = False) -> Step:
    """Make a max pool of stride 2; with `ceil_mode`, the last window may exceed the edge."""

    def apply(signal: "Tensor", weights: Weights) -> "Tensor":
        from torch.nn import functional

        return functional.max_pool2d(signal, side_px, stride=2, ceil_mode=ceil_mode)

    return Step(apply)


def convolution(name: str, stride: int = 1, padding: int = 0) -> Step:
    """Make a convolution followed by a ReLU; name: the layer's name in torchvision."""
    tensor_keys = f"{name}.weight", f"{name}.bias"

    def apply(signal: "Tensor", weights: Weights) -> "Tensor":
        weight, bias = (weights[tensor_key] for tensor_key in tensor_keys)
        return convolve(signal, weight, bias, (stride, stride), (padding, padding))

    return Step(apply, tensor_keys)


def fire(name: str) -> Step:
    """Make a Fire module: a 1 x 1 convolution, then 1 x 1 and 3 x 3 convolutions of its output."""
    squeeze = convolution(f"{name}.squeeze")
    expansions = convolution(f"{name}.expand1x1"), convolution(f"{name}.expand3x3", padding=1)

    def apply(signal: "Tensor", weights: Weights) -> "Tensor":
        import torch

        squeezed_signal = squeeze.apply(signal, weights)
        return torch.cat([expand.apply(squeezed_signal, weights) for expand in expansions], dim=1)

    return Step(apply, sum((step.tensor_keys for step in (squeeze, *expansions)), ()))


class Backbone(NamedTuple):
    """A network whose layers' outputs are compared, with facts about its weight file."""

    name: str
    file: str  # publisher and name of the weight file, for messages
    patterns: tuple[str, ...]  # file names to search for
    fetch_name: str  # name in `bench fetch`
    sha256: str
    min_side_px: int
    heads: str  # file of channel weights in lpips
    layers: tuple[tuple[Step, ...], ...]  # each layer's output is compared
    # "tensors": sha256 of the bytes of the tensors in order, equal for a complete checkpoint of
    # torchvision and for a file that contains only features
    digest_kind: Literal["tensors", "file"] = "tensors"

    @property
    def tensor_keys(self) -> list[str]:
        """Return the state-dict keys of all weights, first layer first."""
        return [name for layer in self.layers for step in layer for name in step.tensor_keys]

    def find(self) -> Path:
        """Return the weight file's path without reading it; `Unavailable` if there is none."""
        return find_fetched(self.patterns, self.fetch_name, self.file)

    def require(self, *, channel_weights: bool = False) -> None:
        """Raise `Unavailable` if the weight file, or lpips for `channel_weights`, is missing."""
        self.find()
        if channel_weights:
            _find_lpips_file(self.heads)

    def load(self, path: Path, device: str, dtype: "torch.dtype") -> "dict[str, Tensor]":
        """Load the weights to a device; `Unavailable` if the file has other content."""
        if self.digest_kind == "file":
            require_pinned(path, self.sha256, self.file)
        try:
            content = load_tensors(path)
            tensors = {name: content[name] for name in self.tensor_keys}
            content_bytes = b"".join(tensor.numpy().tobytes() for tensor in tensors.values())
        except READ_ERRORS as error:
            raise Unavailable(f"{path} cannot be read as {self.file}: replace it") from error
        if self.digest_kind == "tensors" and sha256(content_bytes).hexdigest() != self.sha256:
            description = f"the {self.name} that LPIPS is defined with"
            raise Unavailable(f"{path} is not {description}: replace it with {self.file}")
        return {name: channels_last(tensor).to(device, dtype) for name, tensor in tensors.items()}

    def channel_weights(self) -> "list[Tensor]":
        """Return LPIPS' channel weights of each layer, float32 of shape (1, channels, 1, 1)."""
        content = load_tensors(_find_lpips_file(self.heads))
        return [content[f"lin{number}.model.1.weight"] for number in range(len(self.layers))]

    def features(self, signal: "Tensor", weights: "Mapping[str, Tensor]") -> "Iterator[Tensor]":
        """Yield each layer's output for a normalised signal of shape (n, 3, height, width)."""
        for layer in self.layers:
            for step in layer:
                signal = step.apply(signal, weights)
            yield signal


def load_pinned(path: Path, sha256: str, file: str) -> "dict[str, Tensor]":
    """Verify a weight file's digest, and load it. file: the name shown in `Unavailable`."""
    require_pinned(path, sha256, file)
    return dict(load_tensors(path))


def require_pinned(path: Path, sha256: str, file: str) -> None:
    """Raise `Unavailable` unless the file's digest begins with `sha256`. file: the name shown."""
    try:
        digest = file_sha256(path)
    except OSError as error:
        raise Unavailable(f"{path} cannot be read as {file}: replace it") from error
    if not digest.startswith(sha256):
        difference = f"its sha256 begins with {digest[:8]} instead of {sha256[:8]}"
        raise Unavailable(f"{path} is not {file}, {difference}: replace it")


def _find_lpips_file(name: str) -> Path:
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        package = distribution("lpips")
    except PackageNotFoundError:
        raise Unavailable("the Python package 'lpips' is not installed") from None
    if package.version != LPIPS_VERSION:
        remedy = f"but {package.version} is installed: install lpips=={LPIPS_VERSION}"
        raise Unavailable(f"LPIPS is defined with lpips {LPIPS_VERSION}, {remedy}")
    return Path(str(package.locate_file(f"lpips/weights/v0.1/{name}")))


def image_tensor(pixels: Pixels, template: "Tensor") -> "Tensor":
    """Convert pixels to (1, 3, height, width), 0..255, with dtype and device of `template`."""
    import torch

    planes = torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy())
    return planes.to(template.device).to(template.dtype)


def channels_last(tensor: "Tensor") -> "Tensor":
    """Convert a 4-D tensor to the fastest layout on a CPU; return other tensors unchanged."""
    import torch

    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


def _same_size_convolutions(*numbers: int) -> tuple[Step, ...]:
    return tuple(convolution(f"features.{number}", padding=1) for number in numbers)


ALEXNET = Backbone(
    name="AlexNet",
    file="torchvision's alexnet-owt-7be5be79.pth",
    patterns=("alexnet-owt-*.pth", "alexnet_features.pth"),
    fetch_name="alexnet",
    sha256="2b566cc3a4d6f0a7343701af22f461f1ac3dcd03a3ac28cce10968a1d3c85fdc",
    heads="alex.pth",
    min_side_px=31,  # with smaller sides, the second pool has no input
    layers=(
        (convolution("features.0", stride=4, padding=2),),
        (pool(), convolution("features.3", padding=2)),
        (pool(), convolution("features.6", padding=1)),
        _same_size_convolutions(8),
        _same_size_convolutions(10),
    ),
)
SQUEEZENET = Backbone(
    name="SqueezeNet 1.1",
    file="torchvision's squeezenet1_1-b8a52dc0.pth",
    patterns=("squeezenet1_1-*.pth", "squeezenet1_1_features.pth"),
    fetch_name="squeezenet",
    sha256="31a70309e8549af9ed7a9ac21db00c246844293b72a774f4d1a18e9edfde8605",
    heads="squeeze.pth",
    # The third pool needs sides of 2 pixels, so the second needs 4, the first 8, and the
    # convolution of stride 2 before it 17
    min_side_px=17,
    layers=(
        (convolution("features.0", stride=2),),
        (pool(ceil_mode=True), fire("features.3"), fire("features.4")),
        (pool(ceil_mode=True), fire("features.6"), fire("features.7")),
        (pool(ceil_mode=True), fire("features.9")),
        (fire("features.10"),),
        (fire("features.11"),),
        (fire("features.12"),),
    ),
)
# The file of VGG-16 has a published digest (in its name and elsewhere), but its tensors have none
VGG16 = Backbone(
    name="VGG-16",
    file="torchvision's vgg16-397923af.pth",
    patterns=("vgg16-397923af.pth",),
    fetch_name="vgg",
    sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    digest_kind="file",
    heads="vgg.pth",
    min_side_px=16,  # halved four times
    layers=(
        _same_size_convolutions(0, 2),
        (pool(side_px=2), *_same_size_convolutions(5, 7)),
        (pool(side_px=2), *_same_size_convolutions(10, 12, 14)),
        (pool(side_px=2), *_same_size_convolutions(17, 19, 21)),
        (pool(side_px=2), *_same_size_convolutions(24, 26, 28)),
    ),
)
