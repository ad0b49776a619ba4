"""The boundary of learned codecs: what trainer, checkpoint, container and coder ask of a method.

Only an architecture's own folder knows its networks and controls. Importing one imports no torch.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from benchmark.errors import UnknownName

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from baselines.neural.bitstream.container import ControlBlock
    from baselines.neural.entropy.hyperprior import LatentNetwork
    from baselines.neural.network import Network
    from benchmark.codec import Pixels


# Architecture names on cards and in recipes -> "module:class", as text: looking one up imports it.
ARCHITECTURES = {
    "crdr": "baselines.neural.crdr.architecture:CRDRArchitecture",
    "compressai": "baselines.compressai.architecture:CompressAIArchitecture",
    "charm": "baselines.neural.charm.architecture:CharmArchitecture",
    "elic": "baselines.neural.elic.architecture:ElicArchitecture",
    "ivr": "baselines.neural.ivr.architecture:IvrArchitecture",
    "hific": "baselines.neural.hific.architecture:HificArchitecture",
    "multirealism": "baselines.neural.multirealism.architecture:MultiRealismArchitecture",
    "pqmim": "baselines.neural.pqmim.architecture:PqMimArchitecture",
    "dirac": "baselines.neural.diffusion.architecture:DiracArchitecture",
    "hfd": "baselines.neural.diffusion.architecture:HfdArchitecture",
}

Config = TypeVar("Config")


class LatentCoder(Protocol):
    """Coder of a trained network on a device, between images, latents and bytes.

    Images are padded to multiples of `stride`. `margin`, in pixels, is what transforms see around a
    tile; 0 to 4080, a multiple of 16.
    """

    stride: int  # divides 256, the smallest step of tiles
    latent_stride: int  # divides `stride`
    latent_channels: int
    margin: int

    def analyse(self, images: "Tensor", controls: Any) -> "Tensor":
        """Return the latents (1, C, h, w) of `images`, float32 (1, 3, H, W) in [-1, 1]."""

    def encode(self, latents: "Tensor") -> bytes:
        """Return the entropy-coded bytes of latents (1, C, h, w)."""

    def decode(self, data: bytes, rows: int, columns: int) -> "Tensor":
        """Return the latents (1, C, rows, columns) that a decoder has; raises `CorruptStream`."""

    def synthesise(self, latents: "Tensor", controls: Any) -> "Tensor":
        """Return the images (1, 3, H, W), about [-1, 1], of latents as `decode` returned them."""


class Architecture(Generic[Config]):
    """Base class of compression methods: their configurations, networks, tables and coders.

    A subclass names its classes as "module:class". By default, configurations are dataclasses, and
    networks have no controls and no integer tables. An instance holds no state.
    """

    name: str
    presets: Mapping[str, Config]  # named configurations, which recipes refer to
    network_type: str  # made with a configuration; has a method `initialise`
    coder_type: str  # made with a network, its tables and a device; may have `exactly` (CRDRCoder)

    @property
    def config_type(self) -> type[Any]:
        """Class of configurations."""
        return type(next(iter(self.presets.values())))

    def config_from_json(self, record: Any) -> Config:
        """Return the configuration on a card; raises `ValueError` that names the wrong field."""
        return from_json(record, self.config_type)

    def config_to_json(self, config: Config) -> dict[str, Any]:
        """Return the json object of `config`, which `config_from_json` reads."""
        return asdict(config)  # type: ignore[call-overload]

    def rate_levels(self, config: Config) -> int:
        """Return the number of rate levels that a network serves."""
        return getattr(config, "rate_levels", 1)

    def control_block(self) -> "ControlBlock":
        """Return the form of controls in a stream's header; here, the empty block."""
        from baselines.neural.bitstream.container import ControlBlock

        return ControlBlock()

    def build(self, config: Config) -> "Network":
        """Return a network with random weights, on torch's default device."""
        return imported(self.network_type)(config)

    def initialise(self, network: Any, crops: "Tensor", lambdas: Sequence[float]) -> None:
        """Set start values from photographs, `crops` of shape (N, 3, H, W) in [-1, 1].

        `lambdas`, for each rate level, weigh bpp, with 150 MSE of values in [0, 1] beside it.
        """
        network.initialise(crops, lambdas)

    def tables(self, network: Any, images: "Sequence[Pixels]") -> "dict[str, Tensor]":
        """Return the integer tensors that a coder needs, made for photographs like `images`."""
        return {}

    def coder(
        self, network: Any, tables: "Mapping[str, Tensor]", device: "torch.device | str" = "cpu"
    ) -> LatentCoder:
        """Return the coder of a network with its tables; raises `ValueError`, `KeyError`."""
        return imported(self.coder_type)(network, tables, device)


class HyperpriorArchitecture(Architecture[Config]):
    """Base class of architectures whose networks are `LatentNetwork`."""

    coder_type = "baselines.neural.entropy.hyperprior_coder:TransformCoder"
    # Returns the integer tables of the distributions of y and z, of z's prior.
    symbols_type = "baselines.neural.entropy.factorised:hyperprior_tables"

    def tables(self, network: "LatentNetwork", images: "Sequence[Pixels]") -> "dict[str, Tensor]":
        """Return distributions, thresholds and fractional bits, these calibrated on `images`."""
        import torch

        from baselines.neural.entropy.fixed.integer_path import calibrate, fractional_bit_tables

        with torch.inference_mode():
            bits = fractional_bit_tables(calibrate(network, self.latents(network, images)))
        return {**imported(self.symbols_type)(network.prior), **bits}

    def latents(self, network: "LatentNetwork", images: "Sequence[Pixels]") -> "Iterator[Tensor]":
        """Yield y (1, M, h, w) of each image, padded, at every rate level."""
        import torch

        from baselines.neural.inference import padded, to_images

        for pixels in images:
            planes = to_images(padded(pixels), torch.device("cpu"))
            for level in range(self.rate_levels(network.config)):
                yield network.analyse(planes, network.controls_at(float(level), 0.0))


def imported(target: str) -> Any:
    """Return the object that "module:name" names."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def load_architecture(name: str) -> Architecture[Any]:
    """Return the architecture of that name; raises `UnknownName`."""
    if name not in ARCHITECTURES:
        raise UnknownName("architecture", name, ARCHITECTURES)
    return imported(ARCHITECTURES[name])()


def from_json(record: Any, kind: type[Config]) -> Config:
    """Return the dataclass `kind` of a json object; raises `ValueError` that names a field."""
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if isinstance(record, dict) and (unknown := sorted(set(record) - known)):
        raise ValueError(f"{kind.__name__} has no field {unknown[0]!r}")
    try:
        return msgspec.convert(record, kind)
    except msgspec.ValidationError as error:
        expected, _, path = str(error).partition(" - at `$.")
        name = path.strip("`").partition("[")[0]
        raise ValueError(f"{name} is {record[name]!r}: {expected}" if name else expected) from error


class Cost(NamedTuple):
    """Size and work of a part of a network."""

    parameters: int
    macs_per_pixel: float


@cache
def costs(architecture: str, config: Any) -> Mapping[str, Cost]:
    """Return parameters and work of each part of the network that `config` describes.

    Work, per pixel in encoding and decoding together, is that of convolutions and
    `Network.further_macs_per_pixel`.
    """
    import torch
    from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

    try:
        with FakeTensorMode():
            return _counted(architecture, config)
    except DataDependentOutputException:
        # CompressAI's entropy bottleneck reads numbers out of tensors. Its networks are small
        # enough to be run as they are.
        with torch.random.fork_rng(devices=[]):
            return _counted(architecture, config)


def _counted(architecture: str, config: Any) -> dict[str, Cost]:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from baselines.neural.blocks.control import Control

    network = load_architecture(architecture).build(config)
    side, lowest = network.stride, Control(torch.zeros(1), None)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, side, side), network.controls_at(lowest, lowest), noisy=False)
    counted, kind = counter.get_flop_counts(), type(network).__name__
    further = network.further_macs_per_pixel()
    flops = {path.removeprefix(f"{kind}."): by_kind for path, by_kind in counted.items()}
    return {
        path: Cost(
            sum(parameter.numel() for parameter in part.parameters()),
            # A multiply-accumulate is two floating-point operations.
            flops.get(path, {}).get(torch.ops.aten.convolution, 0) / 2 / side**2
            + further.get(path, 0),
        )
        for path, part in _parts(network, "", flops)
    }


def _parts(
    module: "nn.Module", prefix: str, flops: Mapping[str, object]
) -> "Iterator[tuple[str, nn.Module]]":
    """Yield the children by path; for a child that is not run itself, its children."""
    for name, child in module.named_children():
        path = f"{prefix}{name}"
        if path not in flops and any(known.startswith(f"{path}.") for known in flops):
            yield from _parts(child, f"{path}.", flops)
        else:
            yield path, child


def macs_per_pixel(architecture: str, config: Any) -> float:
    """Return the multiply-accumulates per pixel of encoding and decoding, as `costs` counts."""
    return sum(cost.macs_per_pixel for cost in costs(architecture, config).values())
