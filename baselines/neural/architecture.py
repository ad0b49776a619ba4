"""Architectures of learned methods: dimensions with limits, and sizes (`sizes/`); no torch."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_type_hints

import msgspec
from msgspec import Meta

from benchmark.codec import Setting
from benchmark.errors import UnknownName
from benchmark.registry import import_target
from benchmark.system.text import read_toml

FOLDER = Path(__file__).parent / "sizes"
MAX_WIDTH = 4096
MAX_COUNT = 64
MAX_WINDOW = 32  # tokens of PQ-MIM: sums over a window stay exact (`pqmim.coder`)
MAX_TRANSFORMER_WIDTH = 1024  # channels, for the same reason
MAX_PATCH_PX = 1 << 14

Width = Annotated[int, Meta(ge=1, le=MAX_WIDTH)]  # channels
EvenWidth = Annotated[int, Meta(ge=2, le=MAX_WIDTH)]  # channels that are halved or paired
# The initialisation needs four channels: a colour, its negative and two constants
WidthFromFour = Annotated[int, Meta(ge=4, le=MAX_WIDTH)]
Count = Annotated[int, Meta(ge=0, le=MAX_COUNT)]  # number of blocks or levels
PositiveCount = Annotated[int, Meta(ge=1, le=MAX_COUNT)]  # a count of at least 1
Kernel = Literal[1, 3, 5, 7, 9]
Widths = Annotated[tuple[Width, ...], Meta(max_length=MAX_COUNT)]  # of slices or groups

Sizes = TypeVar("Sizes")


@dataclass(frozen=True, kw_only=True)
class Dimensions:
    """Dimensions of a network; raises `ValueError` for values beyond their limits."""

    def __post_init__(self) -> None:
        for name, kind in _declared_types(type(self)).items():  # type: ignore[arg-type]
            value = getattr(self, name)
            try:
                msgspec.convert(value, kind)
            except msgspec.ValidationError as error:
                raise ValueError(f"{name} is {value!r}: {error}") from error


@cache
def _declared_types(kind: type[Dimensions]) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in fields(kind)}


@dataclass(frozen=True, kw_only=True)
class Hyperprior(Dimensions):
    """Dimensions of latents (1/16 of an image's sides) and hyper-latents (1/64)."""

    latent: EvenWidth  # y
    hyper_latent: Width  # z
    hyper_encoder: tuple[Width, Width]
    hyper_decoder: tuple[Width, Width]  # widths of each stack, if there are two
    hyper_kernel: Kernel  # for hyper-convolutions that change the resolution


@dataclass(frozen=True, kw_only=True)
class Residual(Dimensions):
    """Dimensions of transforms with four stages, of which three have bottleneck blocks."""

    encoder: tuple[EvenWidth, EvenWidth, EvenWidth]  # after the first three stages; then `latent`
    decoder: tuple[EvenWidth, EvenWidth, EvenWidth]  # after the first three stages; then the image
    blocks: Count  # bottleneck blocks per stage
    outer_kernel: Kernel  # for the convolutions next to the images
    inner_kernel: Kernel  # for the other three that change the resolution


@dataclass(frozen=True, kw_only=True)
class Slices(Hyperprior):
    """Dimensions of an entropy model whose channel slices are conditioned on the first slices."""

    support: Width  # channels that a hyper-decoder stack outputs, as input of the slices
    slices: Widths  # their sum is `latent`
    support_slices: int  # number of slices, from the first, that inform later slices
    context: tuple[Width, Width]  # hidden widths of a slice's networks for mean and scale
    context_kernels: tuple[Kernel, Kernel, Kernel]

    def __post_init__(self) -> None:
        super().__post_init__()
        if sum(self.slices) != self.latent:
            raise ValueError(
                f"slices sum to {sum(self.slices)} channels, but the latent has {self.latent}"
            )
        if not 0 <= self.support_slices <= len(self.slices):
            raise ValueError(f"support_slices is {self.support_slices}, not 0..{len(self.slices)}")


@dataclass(frozen=True, kw_only=True)
class CharmSizes(Slices):
    """Dimensions of Charm."""

    transform: Width  # channels between the four convolutions of a transform
    kernel: Kernel  # for the transforms' convolutions


@dataclass(frozen=True, kw_only=True)
class MultiRealismSizes(Slices, Residual):
    """Dimensions of Multi-Realism; each slice sees an equal part of the support."""

    attention: bool  # residual attention in the middle and at the latent
    condition: Width  # width of the embedded beta

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.support % len(self.slices):
            count = len(self.slices)
            raise ValueError(f"support {self.support} is not divisible by {count} slices")


@dataclass(frozen=True, kw_only=True)
class CrdrSizes(Slices, Residual):
    """Dimensions of CRDR."""

    attention: bool
    condition: Width
    rate_levels: Annotated[int, Meta(ge=2, le=MAX_COUNT)] = 5
    # A sine and a cosine of beta for each frequency; fewer frequencies give smoother control
    frequencies: PositiveCount = 10


@dataclass(frozen=True, kw_only=True)
class ElicSizes(Hyperprior, Residual):
    """Dimensions of ELIC."""

    attention: bool
    support: Width  # output of the hyper-decoder
    groups: Annotated[Widths, Meta(min_length=1)]  # their sum is `latent`
    channel_context: tuple[Width, Width]  # hidden widths of the network that sees earlier groups
    channel_kernel: Kernel
    spatial_kernel: Kernel  # for the checkerboard
    # Hidden widths from contexts to mean and scale; None: they decrease linearly, down to `support`
    aggregation: tuple[Width, Width] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if sum(self.groups) != self.latent:
            raise ValueError(
                f"groups sum to {sum(self.groups)} channels, but the latent has {self.latent}"
            )


@dataclass(frozen=True, kw_only=True)
class IvrSizes(Hyperprior):
    """Dimensions of IVR."""

    transform: Width  # channels between the four convolutions of a transform
    rate_levels: Annotated[int, Meta(ge=2, le=10)]  # the header can state at most ten


@dataclass(frozen=True, kw_only=True)
class HificSizes(Hyperprior):
    """Dimensions of HiFiC; its hyper-decoder outputs means and scales directly, without slices."""

    # Widths of the encoder's stages, in reverse order of the generator's
    widths: tuple[WidthFromFour, WidthFromFour, WidthFromFour, WidthFromFour, WidthFromFour]
    hyper_latent: EvenWidth
    hyper_encoder: tuple[EvenWidth, EvenWidth]
    hyper_decoder: tuple[EvenWidth, EvenWidth]  # of two stacks, each with `latent` outputs
    residual_blocks: Count  # in the generator, where it is widest
    slices: ClassVar[tuple[int, ...]] = ()
    support_slices: ClassVar[int] = 0
    context: ClassVar[tuple[int, int]] = (0, 0)
    context_kernels: ClassVar[tuple[int, int, int]] = (0, 0, 0)

    @property
    def support(self) -> int:
        """Channels of each output of the hyper-decoder, as many as y has."""
        return self.latent


# Stage of each of 4 x 4 tokens in a quincunx: stages 0 to 4 code 1, 1, 2, 4, 8 tokens.
# Inferred from a figure in a later paper, where 4, 8, 16, 32 and 64 of 64 tokens are coded in turn.
QUINCUNX = ((0, 4, 2, 4), (4, 3, 4, 3), (2, 4, 1, 4), (4, 3, 4, 3))


@dataclass(frozen=True, kw_only=True)
class PqMimSizes(Residual):
    """Dimensions of PQ-MIM, chosen here; a token codes 16 x 16 pixels with `books` entries."""

    books: PositiveCount  # M, number of codebooks, one for each part of a position's vector
    entries: Annotated[int, Meta(ge=2, le=MAX_WIDTH)]  # K, in each codebook
    code_width: Width  # d, channels of a codebook's vectors
    window: Annotated[int, Meta(ge=1, le=MAX_WINDOW)]  # side of the transformer's window, in tokens
    width: Annotated[int, Meta(ge=1, le=MAX_TRANSFORMER_WIDTH)]  # channels of the transformer
    layers: PositiveCount  # number of transformer layers, each with `heads` heads
    heads: PositiveCount
    hidden: Width  # width of a layer's perceptron
    order: tuple[tuple[int, ...], ...] = QUINCUNX  # stage of each token in a repeated square
    in_turn: bool = True  # whether a token's entries are coded given its earlier entries
    attention: ClassVar[bool] = False  # it would differ between tiles and whole images

    def __post_init__(self) -> None:
        super().__post_init__()
        side, stages = len(self.order), {stage for row in self.order for stage in row}
        if not side or {len(row) for row in self.order} != {side}:
            raise ValueError("order is not a square of stages")
        if len(stages) > MAX_COUNT or stages != set(range(len(stages))):
            raise ValueError(f"order does not contain all stages from 0 to {self.stages - 1}")
        if self.window % side:
            raise ValueError(f"window is {self.window}, not a multiple of {side}")
        if self.width % self.heads:
            raise ValueError(f"width is {self.width}, not a multiple of {self.heads} heads")

    @property
    def latent(self) -> int:
        """Width of the latent: code vectors of all books."""
        return self.books * self.code_width

    @property
    def stages(self) -> int:
        """Number of decoding stages, each with one pass of the transformer."""
        return max(stage for row in self.order for stage in row) + 1


@dataclass(frozen=True, kw_only=True)
class DiffusionSizes(Dimensions):
    """Dimensions of a diffusion decoder, with its sampler and the base codec it was trained for."""

    widths: tuple[EvenWidth, EvenWidth, EvenWidth]  # at 1/4, 1/8, 1/16 of the sides
    blocks: PositiveCount  # residual blocks of each encoder level; decoder levels have one more
    middle: Count  # residual blocks between encoder and decoder
    embedding: EvenWidth  # width of the vector for the noise level and the scale of residuals
    domain: str
    noise_scale: Annotated[float, Meta(gt=0, le=sys.float_info.max)]  # n of the schedule
    sampler: Literal["ddim", "ancestral"]
    # Share of a level's training residuals that lie within its threshold
    threshold_share: Annotated[float, Meta(gt=0, le=1)] = 0.999
    patch_px: int = 1024  # pictures with a longer side are sampled in patches
    overlap_px: int = 128  # width of the strip that two neighbouring patches share
    base: str = ""  # a codec spec: "elic", "jpeg:optimize=1"; empty in `sizes/`
    base_fingerprint: str = ""  # digest of the base's weights; empty if it has none
    setting: str = ""  # name of the base's rate control
    # The setting's values at the levels, lowest rate first.
    settings: Annotated[tuple[float, ...], Meta(max_length=MAX_COUNT)] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        sides = self.overlap_px, self.patch_px
        if any(side % 16 for side in sides) or not 0 < 2 * sides[0] <= sides[1] <= MAX_PATCH_PX:
            raise ValueError(
                f"patches of {self.patch_px} px overlap by {self.overlap_px} px: both must be "
                f"multiples of 16, overlaps at most half a patch, patches at most {MAX_PATCH_PX}"
            )

    @property
    def rate_levels(self) -> int:
        """Number of the base's rate levels that a network serves."""
        return max(1, len(self.settings))

    @property
    def sweep(self) -> tuple[Setting, ...]:
        """Settings of the base, lowest rate first."""
        return tuple(Setting(self.setting, value) for value in self.settings)


@dataclass(frozen=True, kw_only=True)
class DiracSizes(DiffusionSizes):
    """Dimensions of DIRAC, which samples residuals in units of their deviation, with DDIM."""

    domain: Literal["residual"] = "residual"
    noise_scale: Annotated[float, Meta(gt=0, le=sys.float_info.max)] = 1.0
    sampler: Literal["ddim", "ancestral"] = "ddim"


@dataclass(frozen=True, kw_only=True)
class HfdSizes(DiffusionSizes):
    """Dimensions of HFD, which samples pictures in [-1, 1]."""

    domain: Literal["picture"] = "picture"
    # About the standard deviation of residuals at 0.1 bpp
    noise_scale: Annotated[float, Meta(gt=0, le=sys.float_info.max)] = 0.1
    sampler: Literal["ddim", "ancestral"] = "ancestral"


@dataclass(frozen=True)
class ZooSizes(Dimensions):
    """Configuration of a CompressAI network for one rate."""

    model: str  # CompressAI's name of the architecture
    widths: tuple[int, int]  # CompressAI's N and M: channels of transforms and of the latent
    lmbda: float = 0.0  # in CompressAI's loss, lmbda * 255^2 * MSE + bpp for pixels in [0, 1]


@dataclass(frozen=True)
class Architecture:
    """A method's class of dimensions, its class of networks, and its dimensions by size name."""

    dimensions: Any  # a dataclass, or "module:class"
    network: str  # "module:class", constructed with dimensions
    table: str | Mapping[str, Any]  # name of a file in `sizes/`, or the sizes themselves

    @property
    def sizes(self) -> Mapping[str, Any]:
        """Dimensions by the name of a size in recipes."""
        if isinstance(self.table, str):
            return _read_sizes(self.table, self._dimensions_class)
        return self.table

    @property
    def _dimensions_class(self) -> Any:
        return (
            import_target(self.dimensions) if isinstance(self.dimensions, str) else self.dimensions
        )

    def read(self, record: Any) -> Any:
        """Parse a checkpoint card's dimensions; raise `ValueError` with an invalid field's name."""
        return parse_dimensions(record, self._dimensions_class)

    def build(self, dimensions: Any) -> Any:
        """Return a network with random weights, on torch's default device."""
        return import_target(self.network)(dimensions)


FIELD = "baselines.neural.field"
DIFFUSION = "baselines.neural.diffusion.model:DiffusionNetwork"
ARCHITECTURES = {
    "crdr": Architecture(CrdrSizes, "baselines.neural.crdr.model:CRDRNetwork", "crdr"),
    "compressai": Architecture(ZooSizes, "baselines.compressai.network:ZooNetwork", {}),
    "charm": Architecture(CharmSizes, f"{FIELD}.charm:CharmNetwork", "charm"),
    "elic": Architecture(ElicSizes, f"{FIELD}.elic:ElicNetwork", "elic"),
    "ivr": Architecture(IvrSizes, f"{FIELD}.ivr:IvrNetwork", "ivr"),
    "hific": Architecture(HificSizes, f"{FIELD}.hific:HificNetwork", "hific"),
    "multirealism": Architecture(
        MultiRealismSizes, f"{FIELD}.multirealism:MultiRealismNetwork", "multirealism"
    ),
    "pqmim": Architecture(PqMimSizes, "baselines.neural.pqmim.model:PqMimNetwork", "pqmim"),
    "dirac": Architecture(DiracSizes, DIFFUSION, "diffusion"),
    "hfd": Architecture(HfdSizes, DIFFUSION, "diffusion"),
}


def rate_levels(dimensions: Any) -> int:
    """Return the number of rate levels of a network."""
    return getattr(dimensions, "rate_levels", 1)


def load_architecture(name: str) -> Architecture:
    """Return the architecture with this name; raises `UnknownName`."""
    if name not in ARCHITECTURES:
        raise UnknownName("architecture", name, ARCHITECTURES)
    return ARCHITECTURES[name]


@cache
def _read_sizes(name: str, kind: type[Sizes]) -> Mapping[str, Sizes]:
    tables = read_toml(FOLDER / f"{name}.toml", dict[str, dict[str, Any]])
    return {size: msgspec.convert(table, kind) for size, table in tables.items()}


def parse_dimensions(record: Any, kind: type[Sizes]) -> Sizes:
    """Convert a JSON object to `kind`; raise `ValueError` with an invalid field's name."""
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if isinstance(record, dict) and (unknown := sorted(set(record) - names)):
        raise ValueError(f"{kind.__name__} has no field {unknown[0]!r}")
    try:
        return msgspec.convert(record, kind)
    except msgspec.ValidationError as error:
        expected, _, path = str(error).partition(" - at `$.")
        name = path.strip("`").partition("[")[0]
        raise ValueError(f"{name} is {record[name]!r}: {expected}" if name else expected) from error
