"""The boundary of learned codecs: what trainer, checkpoint, container and coder ask of a method.

Only an architecture's own folder knows its networks and controls. Importing one imports no torch.
Dimensions declare their limits with the fields; named sizes are tables in `sizes/`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    Protocol,
    TypeVar,
    get_type_hints,
)

import msgspec
from msgspec import Meta, ValidationError, convert

from benchmark.errors import UnknownName
from benchmark.system.text import read_toml

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
    "charm": "baselines.neural.field.architectures:CharmArchitecture",
    "elic": "baselines.neural.field.architectures:ElicArchitecture",
    "ivr": "baselines.neural.field.architectures:IvrArchitecture",
    "hific": "baselines.neural.field.architectures:HificArchitecture",
    "multirealism": "baselines.neural.field.architectures:MultiRealismArchitecture",
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

        from baselines.neural.network import padded, to_images

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


FOLDER = Path(__file__).parent / "sizes"
LARGEST_WIDTH = 4096
LARGEST_COUNT = 64

Width = Annotated[int, Meta(ge=1, le=LARGEST_WIDTH)]  # channels
EvenWidth = Annotated[int, Meta(ge=2, le=LARGEST_WIDTH)]  # with room for halves or pairs
Count = Annotated[int, Meta(ge=0, le=LARGEST_COUNT)]  # of blocks or levels
Number = Annotated[int, Meta(ge=1, le=LARGEST_COUNT)]  # the same, at least 1
Kernel = Literal[1, 3, 5, 7, 9]
Parts = Annotated[tuple[Width, ...], Meta(max_length=LARGEST_COUNT)]  # widths of slices or groups

Sizes = TypeVar("Sizes")


@dataclass(frozen=True, slots=True)
class Dimensions:
    """Configuration of a network, checked by its fields' limits; raises `ValueError`."""

    def __post_init__(self) -> None:
        for name, kind in _declared(type(self)).items():  # type: ignore[arg-type]
            value = getattr(self, name)
            try:
                convert(value, kind)
            except ValidationError as error:
                raise ValueError(f"{name} is {value!r}: {error}") from error


@cache
def _declared(kind: type[Dimensions]) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in fields(kind)}


@dataclass(frozen=True, slots=True)
class ResidualSizes(Dimensions):
    """Dimensions of transforms that go down or up by 16, of hyper-transforms by another 4."""

    encoder: tuple[EvenWidth, EvenWidth, EvenWidth]  # after each stage but the last, of `latent`
    decoder: tuple[EvenWidth, EvenWidth, EvenWidth]  # likewise; the last ends in the image
    latent: EvenWidth  # y
    hyper_latent: Width  # z
    blocks: Count  # bottleneck blocks per stage
    attention: bool  # residual attention in the middle and at the latent
    outer_kernel: Kernel  # of the convolution next to the image, at either end
    inner_kernel: Kernel  # of the other three that change the resolution
    hyper_encoder: tuple[Width, Width]
    hyper_decoder: tuple[Width, Width]  # of each stack, where there are two
    hyper_kernel: Kernel  # of the hyper-convolutions that change the resolution


@dataclass(frozen=True, slots=True)
class ConditionedSizes(ResidualSizes):
    """`ResidualSizes` with a channel context, and a decoder conditioned on a realism weight."""

    support: Width  # output of a stack of the hyper-decoder, from which slices take theirs
    slices: Parts  # widths, summing to `latent`
    support_slices: int  # number of slices, the first ones, that inform later ones
    context: tuple[Width, Width]  # hidden widths of a slice's transforms
    context_kernels: tuple[Kernel, Kernel, Kernel]
    condition: Width  # of the embedded beta


def require_slices(latent: int, slices: Sequence[int], support_slices: int) -> None:
    """Raise `ValueError` unless slices sum to the latent and enough inform later ones."""
    if sum(slices) != latent:
        raise ValueError(f"slices sum to {sum(slices)}, the latent has {latent}")
    if not 0 <= support_slices <= len(slices):
        raise ValueError(f"support_slices {support_slices} of {len(slices)} slices")


def size_table(kind: type[Sizes], name: str) -> dict[str, Sizes]:
    """Return the configurations by name of a method, from `sizes/NAME.toml`."""
    tables = read_toml(FOLDER / f"{name}.toml", dict[str, dict[str, Any]])
    return {preset: convert(table, kind) for preset, table in tables.items()}
