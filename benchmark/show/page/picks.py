"""Which images of a page have pictures, in which order, within which limits. Pure."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from benchmark.compare.pictures import distance, matched_rate
from benchmark.errors import BadOption, UsageError
from benchmark.facts import Facts, facts_of
from benchmark.measure.estimate import interpolated
from benchmark.show.page.content import ImageKey
from benchmark.spec import CodecSpec
from benchmark.system.text import by_key

ALL = "all"
MOST_SECONDS = 20.0  # of decoding, on one core
SLOW_SECONDS = 10.0  # of a megapixel: diffusion of a hundred steps is for `ALL`
UNKNOWN_SECONDS = 1.0  # of a megapixel, where nothing is known of the codec
UNKNOWN_BYTES = 1.5  # of a pixel, where the original is not here
DECODED_SHARE = 0.9  # of an original's bytes; .12 to .86 in 70 pictures of four codecs
# Bits per pixel at which a photograph first has pictures of all codecs, in this order, so that
# pictures of one rate are beside each other however few there are.
RATES = (0.25, 0.5, 0.125, 1.0, 2.0)
FEW_PHOTOGRAPHS = 6  # each of which has pictures at ROUNDS rates before one has them at every rate
ROUNDS = 3

StoredRow = Mapping[str, Any]


class Limit(NamedTuple):
    """Limits of a page's pictures; None is no limit."""

    most_bytes: int | None  # of all picture files together, originals included
    most_seconds: float | None = None  # of decoding, on one core


def limit_of(text: str) -> Limit:
    """Return the limit that `--page-images` states; raises `UsageError` for any other text.

    >>> limit_of("14MB"), limit_of("all")
    (Limit(most_bytes=14000000, most_seconds=20.0), Limit(most_bytes=None, most_seconds=None))
    """
    if text == ALL:
        return Limit(None)
    size = re.fullmatch(r"(\d+(?:\.\d+)?) ?MB", text, re.IGNORECASE)
    if not size:
        raise UsageError(f"--page-images {text!r} is neither a size (14MB) nor 'all'")
    return Limit(round(float(size[1]) * 1e6), MOST_SECONDS)


def words(limit: Limit) -> str:
    """Return the limits as a part of a sentence."""
    if limit.most_bytes is None:
        return ""
    return f" (at most {limit.most_bytes / 1e6:g} MB, {MOST_SECONDS:.0f} core seconds)"


def in_order(rows: Mapping[ImageKey, StoredRow], first: Sequence[str] = ()) -> list[ImageKey]:
    """Return the images in the order in which the page gets their pictures.

    One photograph follows the other, so that every point opens into an image of the first; of
    FEW_PHOTOGRAPHS the first ROUNDS rates of each come before. Of a photograph codecs of `first`
    come before the others, and of either the points nearest to `rate_of` and RATES, of all codecs
    at one rate after the other. Photographs are in the order of their number of pictures, most
    first, then of their size, smallest first, then of their names.
    """
    by_number = by_key((key[2], key) for key in rows)

    def rank(number: int) -> tuple[int, int, str]:
        row = rows[by_number[number][0]]
        return -len(by_number[number]), row["width_px"] * row["height_px"], row["image"]

    def at_rates(keys: Sequence[ImageKey], rates: Sequence[float]) -> Iterator[ImageKey]:
        for rate in rates:
            for label in dict.fromkeys(label for label, _, _ in keys):
                of_label = [key for key in keys if key[0] == label]
                yield min(of_label, key=lambda key: distance(rows[key]["bpp"], rate))

    rounds: list[list[ImageKey]] = [[] for _ in range(ROUNDS)]
    result: list[ImageKey] = []
    numbers = sorted(by_number, key=rank)
    for number in numbers:
        keys = by_number[number]
        shown = [key for label in first for key in keys if key[0] == label]
        rates = [*rate_of(rows, shown), *RATES]
        for turn, rate in zip(rounds, rates, strict=False):
            turn.extend(at_rates(shown, [rate]))
        others = [key for key in keys if key[0] not in first]
        result += [*at_rates(shown, rates), *shown, *at_rates(others, RATES), *others]
    if len(numbers) <= FEW_PHOTOGRAPHS:
        result = [*chain.from_iterable(rounds), *result]
    return list(dict.fromkeys(result))


def within(
    order: Sequence[ImageKey],
    rows: Mapping[ImageKey, StoredRow],
    seconds: Mapping[ImageKey, float],
    size: Callable[[ImageKey], float],
    limit: Limit,
    maps: float = 0.0,
) -> list[ImageKey]:
    """Return the images of `order` that `limit` has room for.

    `size` is the bytes of an original, `maps` the share of it that a picture's maps take; the sum
    stops at the first image without room. Where seconds are limited, slow decoders are left out.
    """
    bytes_left = math.inf if limit.most_bytes is None else limit.most_bytes
    seconds_left = math.inf if limit.most_seconds is None else limit.most_seconds
    slowest = math.inf if limit.most_seconds is None else SLOW_SECONDS
    kept: list[ImageKey] = []
    numbers: set[int] = set()
    for key in order:
        if seconds[key] > min(seconds_left, slowest * megapixels(rows[key])):
            continue
        needed = size(key) * (DECODED_SHARE + maps + (key[2] not in numbers))
        if needed > bytes_left:
            break
        bytes_left, seconds_left = bytes_left - needed, seconds_left - seconds[key]
        numbers.add(key[2])
        kept.append(key)
    return kept


def decode_seconds(row: StoredRow, device: str) -> float:
    """Return the seconds that a row's stream took to decode, else those typical of its codec."""
    if row["decode_seconds"] is not None and row["device"] == device:
        return float(row["decode_seconds"])
    try:
        facts = facts_of(CodecSpec.of_row(row))
    except BadOption:
        facts = Facts()
    of_device = [typical.seconds for typical in facts.typical if typical.device == device]
    rate = interpolated(of_device[0], row["setting_value"]) if of_device else UNKNOWN_SECONDS
    return rate * megapixels(row)


def megapixels(row: StoredRow) -> float:
    """Return the millions of pixels of a row's image."""
    return float(row["width_px"] * row["height_px"] / 1e6)


def rate_of(rows: Mapping[ImageKey, StoredRow], keys: Sequence[ImageKey]) -> list[float]:
    """Return the rate at which most codecs of one photograph's images are shown, if any are."""
    rates = by_key((key[0], rows[key]["bpp"]) for key in keys)
    return [matched_rate(rates)] if len(rates) > 1 else []
