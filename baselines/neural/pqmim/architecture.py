"""PQ-MIM as an architecture, its dimensions our choice after the abstract. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from msgspec import Meta

from baselines.neural.architecture import (
    LARGEST_COUNT,
    LARGEST_WIDTH,
    Architecture,
    Count,
    Dimensions,
    EvenWidth,
    Kernel,
    Number,
    Width,
    size_table,
)

FACTOR = 16  # pixels along a token
LARGEST_WINDOW = 32  # tokens: sums over a window stay exact (`coder`)
LARGEST_TRANSFORMER = 1024  # channels, for the same reason

# Five stages in a quincunx: 1 token of 4 x 4 in stage 0, then 1, 2, 4 and 8. Inferred from a figure
# of a later paper that shows 4, 8, 16, 32, 64 of 64 tokens known.
QUINCUNX = ((0, 4, 2, 4), (4, 3, 4, 3), (2, 4, 1, 4), (4, 3, 4, 3))


@dataclass(frozen=True, slots=True)
class PqMimSizes(Dimensions):
    """Dimensions of a network whose tokens are of 16 x 16 pixels, in `books` parts."""

    # The last of the encoder's stages ends in the code vectors.
    encoder: tuple[EvenWidth, EvenWidth, EvenWidth]
    decoder: tuple[EvenWidth, EvenWidth, EvenWidth]
    blocks: Count  # bottlenecks in each stage
    outer_kernel: Kernel  # of the convolution next to the image, at either end
    inner_kernel: Kernel  # of the other three that change the resolution
    books: Number  # M, parts into which a position's vector is split
    entries: Annotated[int, Meta(ge=2, le=LARGEST_WIDTH)]  # K, of each codebook
    code_width: Width  # d, channels of a part
    window: Annotated[int, Meta(ge=1, le=LARGEST_WINDOW)]  # side of a transformer's window, tokens
    width: Annotated[int, Meta(ge=1, le=LARGEST_TRANSFORMER)]  # of the transformer
    layers: Number
    heads: Number
    hidden: Width  # of a layer's perceptron
    order: tuple[tuple[int, ...], ...] = QUINCUNX  # stages of the tokens of a square, repeated
    in_turn: bool = True  # a part of a token is coded given those before it, else given none
    attention: ClassVar[bool] = False  # tiles and whole images would see other statistics

    def __post_init__(self) -> None:
        Dimensions.__post_init__(self)
        side = len(self.order)
        if not side or {len(row) for row in self.order} != {side}:
            raise ValueError("order is not a square of stages")
        stages = {stage for row in self.order for stage in row}
        if len(stages) > LARGEST_COUNT or stages != set(range(len(stages))):
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


NAMED = size_table(PqMimSizes, "pqmim")
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
