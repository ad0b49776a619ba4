"""The masked transformer: a categorical distribution for each part of each unknown token.

::

    known tokens' vectors ─ linear ─┐
    a vector for the unknown ─────┴─ + place ─ layers of attention, perceptron ─ norm ─┐
    a vector for each earlier part of the token ─────────────────────────────────────────┴─ linear

As in masked image models (Chang et al., "MaskGIT", CVPR 2022), all unknown tokens are predicted at
once from the known ones, within windows. Our choices: normalisation by the root mean square, ReLUs,
windows that do not move, a bias of attention for each relative place (Liu et al., ICCV 2021), and
parts of a token coded in turn, unless `in_turn` is false.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from baselines.neural.architecture import PqMimSizes


class Windows(NamedTuple):
    """Windows of a batch of images, row by row in each, those at the edges filled up."""

    side: int  # of a window, tokens
    shape: tuple[int, ...]  # images, rows and columns of tokens
    inside: Tensor | None  # bool (windows, side^2), false where no token is; None: all are

    @classmethod
    def of(cls, shape: tuple[int, ...], side: int, device: torch.device) -> "Windows":
        """Return the windows of `shape`, the number of images, their rows and columns of tokens."""
        _, rows, columns = shape
        whole = cls(side, shape, None)
        if rows % side == 0 and columns % side == 0:
            return whole
        return cls(side, shape, whole.split(torch.ones(*shape, 1, device=device))[:, :, 0] > 0)

    def split(self, values: Tensor) -> Tensor:
        """Return values (N, rows, columns, C) as (windows, side^2, C), zeros where no token is."""
        side, (count, rows, columns) = self.side, self.shape
        filled = pad(values, (0, 0, 0, -columns % side, 0, -rows % side))
        down, across = filled.shape[1] // side, filled.shape[2] // side
        grid = filled.view(count, down, side, across, side, -1)
        return grid.transpose(2, 3).reshape(count * down * across, side * side, -1)

    def join(self, values: Tensor) -> Tensor:
        """Return (windows, side^2, C) as (N, rows, columns, C): the inverse of `split`."""
        side, (count, rows, columns) = self.side, self.shape
        down, across = -(-rows // side), -(-columns // side)
        grid = values.view(count, down, across, side, side, -1).transpose(2, 3)
        return grid.reshape(count, down * side, across * side, -1)[:, :rows, :columns]


EPSILON = 1e-6
SPREAD = 0.02  # of the last layer at the start
PLACE_SPREAD = 0.5  # of the vectors beside embedded tokens


class RootMeanSquareNorm(nn.Module):
    """x / sqrt(mean(x^2) + 1e-6), times a gain for each channel (Zhang, Sennrich, 2019)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))

    def forward(self, values: Tensor) -> Tensor:
        """Normalise `values` (..., C)."""
        exact = values.float()
        normal = exact / (exact.square().mean(-1, keepdim=True) + EPSILON).sqrt() * self.gain
        return normal.to(values.dtype)


class Layer(nn.Module):
    """x + attention(norm(x)), then x + perceptron(norm(x))."""

    def __init__(self, width: int, heads: int, hidden: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.nearness = nn.Parameter(_falling(heads, window))
        self.attention_norm, self.perceptron_norm = (RootMeanSquareNorm(width) for _ in range(2))
        self.query_key_value = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.expand, self.reduce = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, features: Tensor, inside: Tensor | None) -> Tensor:
        """Map `features` (windows, tokens, C); those that `inside` denies are attended by none."""
        projected = self.query_key_value(self.attention_norm(features))
        query, key, value = by_heads(projected, self.heads)
        bias = self.biases().to(query.dtype)[None]
        if inside is not None:
            bias = bias.masked_fill(~inside[:, None, None], -torch.inf)
        attended = scaled_dot_product_attention(query, key, value, attn_mask=bias)
        features = features + self.mix(attended.transpose(1, 2).flatten(2))
        inner = self.expand(self.perceptron_norm(features)).relu()
        return features + self.reduce(inner)

    def biases(self) -> Tensor:
        """Return the bias of each query for each key, (heads, window^2, window^2)."""
        row, column = torch.meshgrid(*(torch.arange(self.window),) * 2, indexing="ij")
        places = torch.stack([row.reshape(-1), column.reshape(-1)])
        down, across = places[:, :, None] - places[:, None, :] + self.window - 1
        return self.nearness[:, down, across]


def _falling(heads: int, window: int) -> Tensor:
    """Return minus the distance times 1, 1/2, 1/4 ... (heads, 2 window - 1, 2 window - 1)."""
    along = torch.arange(1 - window, window).float()
    distance = torch.hypot(along[:, None], along)
    return -distance * 0.5 ** torch.arange(heads).float()[:, None, None]


def by_heads(values: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, keys and values (windows, heads, tokens, C / heads) of (..., tokens, 3 C)."""
    split = values.view(*values.shape[:2], 3, heads, -1).permute(2, 0, 3, 1, 4)
    return split[0], split[1], split[2]


def picked(values: Tensor, wanted: Tensor) -> Tensor:
    """Return the vectors (P, ...) of `values` (N, h, w, ...) where `wanted` (N, h, w) is true."""
    places = wanted.reshape(-1).nonzero()[:, 0].to(values.device, non_blocking=True)
    return values.flatten(0, 2)[places]


class MaskedTransformer(nn.Module):
    """Predictor of unknown tokens."""

    def __init__(self, sizes: PqMimSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.embedding = nn.Linear(sizes.latent, sizes.width)
        self.unknown = nn.Parameter(torch.randn(sizes.width) * PLACE_SPREAD)
        self.places = nn.Parameter(torch.randn(sizes.window**2, sizes.width) * PLACE_SPREAD)
        self.layers = nn.ModuleList(
            Layer(sizes.width, sizes.heads, sizes.hidden, sizes.window) for _ in range(sizes.layers)
        )
        self.norm = RootMeanSquareNorm(sizes.width)
        self.head = nn.Linear(sizes.width, sizes.books * sizes.entries)
        nn.init.normal_(self.head.weight, std=SPREAD)
        nn.init.zeros_(self.head.bias)
        tables = sizes.books - 1 if sizes.in_turn else 0
        self.earlier = nn.Parameter(torch.zeros(tables, sizes.entries, sizes.width))

    def forward(self, tokens: Tensor, vectors: Tensor, known: Tensor, wanted: Tensor) -> Tensor:
        """Return logits (P, M, K) of the P tokens that are `wanted`, image by image, row by row.

        tokens: int64 (N, M, h, w); vectors: (N, M d, h, w), their entries. Logits of part m depend
        on `known` tokens and on parts 0 to m - 1 of the token itself. `wanted` is on the CPU.
        """
        embedded = self.embedding(vectors.permute(0, 2, 3, 1))
        features = torch.where(known[..., None], embedded, self.unknown.to(embedded.dtype))
        windows = Windows.of(known.shape, self.sizes.window, vectors.device)
        features = windows.split(features) + self.places
        for layer in self.layers:
            features = layer(features, windows.inside)
        of_tokens = self.norm(picked(windows.join(features), wanted))
        chosen = picked(tokens.permute(0, 2, 3, 1), wanted)
        of_parts = of_tokens[:, None] + self._of_earlier_parts(chosen)
        by_book = self.head.weight.view(self.sizes.books, self.sizes.entries, -1)
        products = torch.einsum("pmc,mkc->pmk", of_parts, by_book)
        return products + self.head.bias.view(self.sizes.books, -1)

    def _of_earlier_parts(self, chosen: Tensor) -> Tensor:
        """Return the sums (P, M, C) of the vectors of the parts before each of tokens (P, M)."""
        book = torch.arange(len(self.earlier), device=chosen.device)
        sums = self.earlier[book, chosen[:, : len(book)]].cumsum(1)
        return pad(sums, (0, 0, chosen.shape[1] - len(book), 0))


def stages_of(
    sizes: PqMimSizes, rows: int, columns: int, device: torch.device | str = "cpu"
) -> Tensor:
    """Return the stage, int64, of `rows` x `columns` tokens: the order's square, repeated."""
    square = torch.tensor(sizes.order, device=device)
    row, column = (torch.arange(count, device=device) % len(square) for count in (rows, columns))
    return square[row[:, None], column]
