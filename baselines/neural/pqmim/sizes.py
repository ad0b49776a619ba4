"""Dimensions of PQ-MIM's networks. No torch.

The paper's constants were not at hand, only its abstract: every number here is our choice, and each
is a field that a reader of the paper can set.
"""

from dataclasses import dataclass

from baselines.neural.dimensions import (
    LARGEST_WIDTH,
    require_count,
    require_kernels,
    require_stages,
    require_widths,
)

FACTOR = 16  # pixels along a token
LARGEST_WINDOW = 32  # tokens: sums over a window stay exact (`exact_transformer`)
LARGEST_TRANSFORMER = 1024  # channels, for the same reason

# Five stages in a quincunx: 1 token of 4 x 4 in stage 0, then 1, 2, 4 and 8. Inferred from a figure
# of a later paper that shows 4, 8, 16, 32, 64 of 64 tokens known.
QUINCUNX = (
    (0, 4, 2, 4),
    (4, 3, 4, 3),
    (2, 4, 1, 4),
    (4, 3, 4, 3),
)


@dataclass(frozen=True, slots=True)
class PqMimSizes:
    """Dimensions that determine the shapes of all parameters.

    Widths are numbers of channels, in the order of the data flow. A token stands for 16 x 16
    pixels; it has `books` parts. Raises `ValueError` for dimensions that no network can have.
    """

    encoder: tuple[int, int, int]  # after each stage but the last, which ends in the code vectors
    decoder: tuple[int, int, int]
    blocks: int  # bottlenecks in each stage
    outer_kernel: int  # of the convolution next to the image, at either end
    inner_kernel: int  # of the other three that change the resolution
    books: int  # M, parts into which a position's vector is split
    entries: int  # K, of each codebook
    code_width: int  # d, channels of a part
    window: int  # side of the squares within which the transformer attends, in tokens
    width: int  # of the transformer
    layers: int
    heads: int
    hidden: int  # width of a layer's perceptron
    order: tuple[tuple[int, ...], ...] = QUINCUNX  # stages of the tokens of a square, repeated
    in_turn: bool = True  # a part of a token is coded given those before it, else given none

    def __post_init__(self) -> None:
        require_widths((*self.encoder, *self.decoder, self.code_width, self.hidden))
        require_stages((*self.encoder, *self.decoder))
        require_kernels((self.outer_kernel, self.inner_kernel))
        require_count("blocks", self.blocks)
        require_count("books", self.books, least=1)
        require_count("layers", self.layers, least=1)
        require_count("heads", self.heads, least=1)
        if not 2 <= self.entries <= LARGEST_WIDTH:
            raise ValueError(f"entries is {self.entries}, not 2..{LARGEST_WIDTH}")
        side = len(self.order)
        if not side or {len(row) for row in self.order} != {side}:
            raise ValueError("order is not a square of stages")
        require_count("stages", self.stages, least=1)  # first: a card may have any number
        if {stage for row in self.order for stage in row} != set(range(self.stages)):
            raise ValueError(f"order lacks one of the stages 0 to {self.stages - 1}")
        if self.window % side or not 0 < self.window <= LARGEST_WINDOW:
            raise ValueError(
                f"window is {self.window}, not a multiple of {side} up to {LARGEST_WINDOW}"
            )
        if self.width % self.heads or not 0 < self.width <= LARGEST_TRANSFORMER:
            raise ValueError(
                f"width is {self.width}, not a multiple of {self.heads} heads up to "
                f"{LARGEST_TRANSFORMER}"
            )

    @property
    def latent(self) -> int:
        """Width of the latent: the code vectors of all books."""
        return self.books * self.code_width

    @property
    def stages(self) -> int:
        """Number of stages in which tokens are decoded, each a pass of the transformer."""
        return max(stage for row in self.order for stage in row) + 1

    @property
    def attention(self) -> bool:
        """No attention in the transforms: tiles and whole images would see other statistics."""
        return False


# After the abstract: the transforms of ELIC, the transformer of a usual masked image model.
FULL = PqMimSizes(
    encoder=(192, 192, 192),
    decoder=(192, 192, 192),
    blocks=3,
    outer_kernel=5,
    inner_kernel=5,
    books=8,
    entries=256,
    code_width=8,
    window=16,
    width=768,
    layers=12,
    heads=24,
    hidden=3072,
)

# Transforms of about the work per pixel of CRDR's `small`; the transformer comes on top of it.
SMALL = PqMimSizes(
    encoder=(144, 176, 224),
    decoder=(224, 176, 144),
    blocks=2,
    outer_kernel=5,
    inner_kernel=3,
    books=8,
    entries=256,
    code_width=8,
    window=16,
    width=384,
    layers=8,
    heads=12,
    hidden=1536,
)

# Transforms of about the work per pixel of CRDR's `micro`; the transformer comes on top of it.
MICRO = PqMimSizes(
    encoder=(48, 64, 112),
    decoder=(112, 64, 48),
    blocks=1,
    outer_kernel=5,
    inner_kernel=3,
    books=8,
    entries=256,
    code_width=8,
    window=16,
    width=128,
    layers=4,
    heads=4,
    hidden=512,
)

# For tests: has every part, takes no time.
TINY = PqMimSizes(
    encoder=(6, 8, 8),
    decoder=(8, 8, 6),
    blocks=1,
    outer_kernel=5,
    inner_kernel=3,
    books=2,
    entries=16,
    code_width=3,
    window=8,
    width=64,
    layers=2,
    heads=2,
    hidden=24,
)

NAMED = {"full": FULL, "small": SMALL, "micro": MICRO, "tiny": TINY}


def transformer_macs_per_pixel(sizes: PqMimSizes) -> float:
    """Return the multiply-accumulates of one pass of the transformer, for each pixel.

    `PqMimSizes.stages` passes code an image, and as many decode it. Matrix products count, in whole
    windows.

    >>> round(transformer_macs_per_pixel(MICRO))
    5152
    """
    keys = sizes.window**2
    layer = sizes.width * (4 * sizes.width + 2 * sizes.hidden + 2 * keys)
    ends = sizes.width * (sizes.latent + sizes.books * sizes.entries)
    return (sizes.layers * layer + ends) / FACTOR**2
