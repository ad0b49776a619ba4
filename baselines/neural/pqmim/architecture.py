"""PQ-MIM as an architecture, its dimensions our choice after the abstract. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from msgspec import Meta

from baselines.neural import dimensions as dim
from baselines.neural.architecture import Architecture

FACTOR = 16  # pixels along a token
LARGEST_WINDOW = 32  # tokens: sums over a window stay exact (`coder`)
LARGEST_TRANSFORMER = 1024  # channels, for the same reason

# Five stages in a quincunx: 1 token of 4 x 4 in stage 0, then 1, 2, 4 and 8. Inferred from a figure
# of a later paper that shows 4, 8, 16, 32, 64 of 64 tokens known.
QUINCUNX = ((0, 4, 2, 4), (4, 3, 4, 3), (2, 4, 1, 4), (4, 3, 4, 3))


@dataclass(frozen=True, slots=True)
class PqMimSizes(dim.Dimensions):
    """Dimensions of a network whose tokens are of 16 x 16 pixels, in `books` parts."""

    # The last of the encoder's stages ends in the code vectors.
    encoder: tuple[dim.EvenWidth, dim.EvenWidth, dim.EvenWidth]
    decoder: tuple[dim.EvenWidth, dim.EvenWidth, dim.EvenWidth]
    blocks: dim.Count  # bottlenecks in each stage
    outer_kernel: dim.Kernel  # of the convolution next to the image, at either end
    inner_kernel: dim.Kernel  # of the other three that change the resolution
    books: dim.Number  # M, parts into which a position's vector is split
    entries: Annotated[int, Meta(ge=2, le=dim.LARGEST_WIDTH)]  # K, of each codebook
    code_width: dim.Width  # d, channels of a part
    window: Annotated[int, Meta(ge=1, le=LARGEST_WINDOW)]  # side of a transformer's window, tokens
    width: Annotated[int, Meta(ge=1, le=LARGEST_TRANSFORMER)]  # of the transformer
    layers: dim.Number
    heads: dim.Number
    hidden: dim.Width  # of a layer's perceptron
    order: tuple[tuple[int, ...], ...] = QUINCUNX  # stages of the tokens of a square, repeated
    in_turn: bool = True  # a part of a token is coded given those before it, else given none
    attention: ClassVar[bool] = False  # tiles and whole images would see other statistics

    def __post_init__(self) -> None:
        dim.Dimensions.__post_init__(self)
        side = len(self.order)
        if not side or {len(row) for row in self.order} != {side}:
            raise ValueError("order is not a square of stages")
        stages = {stage for row in self.order for stage in row}
        if len(stages) > dim.LARGEST_COUNT or stages != set(range(len(stages))):
            raise ValueError(f"order lacks one of the stages 0 to {self.stages - 1}")
        if self.window % side:
            raise ValueError(f"window is {self.window}, not a multiple of {side}")
        if self.width % self.heads:
            raise ValueError(f"width is {self.width}, not a multiple of {self.heads} heads")

    @property
    def latent(self) -> int:
        """Width of the latent: the code vectors of all books."""
        return self.books * self.code_width

    @property
    def stages(self) -> int:
        """Number of stages in which tokens are decoded, each a pass of the transformer."""
        return max(stage for row in self.order for stage in row) + 1


# `full` is after the abstract: the transforms of ELIC, the transformer of a usual masked image
# model. The transforms of `small` and `micro` have about the work per pixel of CRDR's networks of
# that name; the transformer comes on top of it. `tiny` is for tests.
NAMED = dim.size_table(
    PqMimSizes,
    "full small micro tiny",
    encoder=((192, 192, 192), (144, 176, 224), (48, 64, 112), (6, 8, 8)),
    decoder=((192, 192, 192), (224, 176, 144), (112, 64, 48), (8, 8, 6)),
    blocks=(3, 2, 1, 1),
    outer_kernel=(5, 5, 5, 5),
    inner_kernel=(5, 3, 3, 3),
    books=(8, 8, 8, 2),
    entries=(256, 256, 256, 16),
    code_width=(8, 8, 8, 3),
    window=(16, 16, 16, 8),
    width=(768, 384, 128, 64),
    layers=(12, 8, 4, 2),
    heads=(24, 12, 4, 2),
    hidden=(3072, 1536, 512, 24),
)
FULL, SMALL, MICRO, TINY = NAMED.values()


def transformer_macs_per_pixel(sizes: PqMimSizes) -> float:
    """Return the multiply-accumulates of a pass of the transformer in whole windows, per pixel."""
    keys = sizes.window**2
    layer = sizes.width * (4 * sizes.width + 2 * sizes.hidden + 2 * keys)
    ends = sizes.width * (sizes.latent + sizes.books * sizes.entries)
    return (sizes.layers * layer + ends) / FACTOR**2


class PqMimArchitecture(Architecture[PqMimSizes]):
    """The network of El-Nouby et al. (TMLR 2023), after the abstract; a network for each rate."""

    name = "pqmim"
    presets: Mapping[str, PqMimSizes] = NAMED
    network_type = "baselines.neural.pqmim.model:PqMimNetwork"
    coder_type = "baselines.neural.pqmim.coder:PqMimCoder"
