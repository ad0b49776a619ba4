"""Rules by which curves differ: what each predicts of a stranger's curve, from the reference's.

A rule is measured where values of single images are known, and then has no parameter; otherwise its
parameter is fitted (`explain`). Curves are in dB (`places`).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from benchmark.codec import BoolArray, Float64Array, Pixels
from benchmark.metrics.psnr import psnr

PEAK = 255.0**2
WEIGHTS = {
    "709": (0.2126, 0.0722),
    "601": (0.299, 0.114),
}  # of red and blue in luma; BT.709-6, BT.601-7
SAME_RATE = 1e-3  # rates of one stream, counted by two programs or versions
SAME = "same"  # the rule of two curves that are one
SUBSET = "subset:"  # begins rules of some of the images
FEW = 3  # points; below, subsets of images are no candidates

Scale = Literal["psnr", "saturating", "distance"]


class Cause(NamedTuple):
    """A known cause, by its id, and the parameters of a rule that it has."""

    name: str
    low: float
    high: float


# Squared levels that a rule adds to the squared error of every image. Truncation of R, G and B
# adds 1/4, 8 bits before them as much. What a conversion to and from Y'CbCr adds depends on the
# pictures: 1 to 4 if it truncates, .5 to 1 if samples are a level off, .8 to 9 for 4:2:0, 4 and
# more with another matrix or range. None of these can be told from another by a curve.
EXCESS = (
    Cause("unrounded", -0.12, -0.05), Cause("rounded", 0.05, 0.12),
    Cause("truncated", 0.18, 0.65), Cause("conversion", 0.5, 900.0),
)  # fmt: skip
SHIFTS: Mapping[Scale, tuple[Cause, ...]] = {  # dB
    "psnr": (),  # luma and the mean error differ by .1 to 2 dB with the rate: measured alone
    "saturating": (Cause("mean_of_db", 0.08, 0.6), Cause("db_of_mean", -0.6, -0.08)),
    "distance": (Cause("net_or_patches", 0.2, 9.0), Cause("net_or_patches", -9.0, -0.2)),
}
RATIOS = (  # of rates, theirs to the reference's
    Cause("version", 1.003, 1.06), Cause("version", 0.94, 0.997),
    Cause("pixels", 1.02, 1.3), Cause("pixels", 0.75, 0.98),
    Cause("bytes", 7.9, 8.1), Cause("bytes", 1 / 8.1, 1 / 7.9),
    Cause("samples", 2.97, 3.03), Cause("samples", 1 / 3.03, 1 / 2.97),
)  # fmt: skip
OFFSETS = (Cause("header_left_out", -0.01, -2e-5), Cause("container", 2e-5, 0.01))  # bpp


class Images(NamedTuple):
    """Values of single images behind a reference, shape (settings, images)."""

    bpp: Float64Array
    values: Float64Array  # of the metric
    pixels: Float64Array  # shape (images,)
    names: tuple[str, ...]
    wide: BoolArray  # shape (images,): whether an image is wider than high
    columns: Mapping[str, Float64Array] = {}  # other metrics of the same kind, by column
    # squared error of wrong colour conversions of the pictures themselves, shape (images,)
    colours: Mapping[str, Float64Array] = {}


class Reference(NamedTuple):
    """A curve to explain another by: rates in bit per pixel and dB, each of shape (settings,)."""

    scale: Scale
    bpp: Float64Array
    decibels: Float64Array
    images: Images | None = None


class Candidates(NamedTuple):
    """Predictions of a rule at a stranger's rates, for each value of its parameter."""

    rule: str
    how: Literal["fitted", "measured"]
    parameters: Float64Array  # shape (parameters,); a single NaN where there is none
    predicted: Float64Array  # in dB, shape (parameters, points); NaN beyond the reference
    causes: tuple[Cause, ...] = ()  # empty: any parameter is known
    images: int = 0  # that a subset has


def places(values: Sequence[float] | Float64Array, scale: Scale) -> Float64Array:
    """Return values of a metric in dB: MS-SSIM as -10 log10(1 - x), LPIPS and FID as 10 log10(x).

    >>> places([0.9], "saturating"), places([0.1], "distance")
    (array([10.]), array([-10.]))
    """
    array = np.asarray(values, np.float64)
    if scale == "psnr":
        return array
    with np.errstate(divide="ignore", invalid="ignore"):
        decibels = -10 * np.log10(1 - array) if scale == "saturating" else 10 * np.log10(array)
    return np.asarray(decibels)


def at_rates(bpp: Float64Array, decibels: Float64Array, rates: Float64Array) -> Float64Array:
    """Return a curve's dB at rates of any shape, by Akima over log rate; NaN beyond its ends."""
    from scipy.interpolate import Akima1DInterpolator

    order = np.argsort(bpp)
    with np.errstate(divide="ignore", invalid="ignore"):
        x = np.log10(rates)
    ends = np.log10(bpp[order])
    # a rate counted by another program is not beyond the end
    inside = np.clip(x, *ends[[0, -1]])
    x = np.where(np.abs(x - inside) < SAME_RATE, inside, x)
    return np.asarray(Akima1DInterpolator(ends, decibels[order])(x))


def candidates(reference: Reference, rates: Float64Array) -> Iterator[Candidates]:
    """Yield every rule that applies to a metric, at a stranger's rates."""
    base = at_rates(reference.bpp, reference.decibels, rates)
    none = np.array([np.nan])
    yield Candidates(SAME, "measured", none, base[None])
    fine = np.geomspace(0.05, 900, 1000)

    def at(scaled: Float64Array) -> Float64Array:
        return at_rates(reference.bpp, reference.decibels, scaled)

    if reference.scale == "psnr":
        excess = np.concatenate([-fine[fine < 0.2], fine])
        error = PEAK / 10 ** (base / 10) + excess[:, None]
        with np.errstate(invalid="ignore"):
            predicted = 10 * np.log10(PEAK / np.where(error > 0, error, np.nan))
        yield Candidates("excess", "fitted", excess, predicted, EXCESS)
    widest = 9.0 if reference.scale == "distance" else 3.0
    shifts = np.arange(-widest, widest, 0.01)
    if reference.scale == "distance" or (reference.scale == "saturating" and not reference.images):
        yield Candidates("shift", "fitted", shifts, base + shifts[:, None], SHIFTS[reference.scale])
    ratios = np.concatenate([np.geomspace(0.7, 1.4, 700), *([k] for k in (8, 1 / 8, 3, 1 / 3))])
    yield Candidates("ratio", "fitted", ratios, at(rates / ratios[:, None]), RATIOS)
    steps = np.geomspace(2e-5, 0.01, 150)
    offsets = np.concatenate([-steps, steps])
    yield Candidates("offset", "fitted", offsets, at(rates - offsets[:, None]), OFFSETS)
    if images := reference.images:  # the reference's own, or of another version of its program
        own = places(images.values.mean(axis=1), reference.scale)
        apart = base - at_rates(images.bpp.mean(axis=1), own, rates)
        for candidate in _measured(reference.scale, images, rates):
            yield candidate._replace(predicted=candidate.predicted + apart)


def _measured(scale: Scale, images: Images, rates: Float64Array) -> Iterator[Candidates]:
    none = np.array([np.nan])
    mean_bpp, values = images.bpp.mean(axis=1), images.values

    def rule(
        name: str, decibels: Float64Array, bpp: Float64Array = mean_bpp, count: int = 0
    ) -> Candidates:
        return Candidates(name, "measured", none, at_rates(bpp, decibels, rates)[None], (), count)

    def mean(mask: BoolArray | slice, of: Float64Array = values) -> Float64Array:
        return places(of[:, mask].mean(axis=1), scale)

    everything = slice(None)
    if scale == "psnr":
        error = PEAK / 10 ** (values / 10)
        yield rule("mean_error", 10 * np.log10(PEAK / error.mean(axis=1)))
        for name, added in images.colours.items():
            # what a codec has lost of the finest chroma already, 4:2:0 cannot lose again
            lost = added**2 / (added + error) if name == "chroma_420" else added
            decibels = 10 * np.log10(PEAK / (error + lost)).mean(axis=1)
            yield rule(name, decibels)
    if scale == "saturating":
        yield rule("mean_of_db", places(values, scale).mean(axis=1))
    for name, column in images.columns.items():
        yield rule(f"column:{name}", mean(everything, column))
    if len(set(images.pixels.tolist())) > 1:
        pooled = (images.bpp * images.pixels).sum(axis=1) / images.pixels.sum()
        yield rule("pooled", mean(everything), pooled)
    count = len(images.names)
    if len(rates) >= FEW:
        masks = {f"first {n} images": np.arange(count) < n for n in range(1, count)}
        masks |= {f"without {name}": np.arange(count) != n for n, name in enumerate(images.names)}
        masks |= {"landscape images": images.wide, "portrait images": ~images.wide}
        for name, mask in masks.items():
            if 0 < (size := int(mask.sum())) < count:
                bpp = images.bpp[:, mask].mean(axis=1)
                yield rule(f"{SUBSET}{name}", mean(mask), bpp, size)


def to_rgb(standard: str) -> Float64Array:
    """Return the matrix from Y'CbCr, chroma around 0, to R'G'B', shape (3, 3)."""
    red, blue = WEIGHTS[standard]
    green, a, b = 1 - red - blue, 2 * (1 - red), 2 * (1 - blue)
    return np.array([[1, 0, a], [1, -b * blue / green, -a * red / green], [1, b, 0]])


def colour_errors(pixels: Pixels) -> Mapping[str, float]:
    """Return the mean squared error of a picture by each wrong conversion, by the rule's id.

    What a codec adds is independent of it as far as a mean goes, so that the sum predicts the PSNR
    of a run with that mistake. Full range by default. pixels: uint8, (height, width, 3).
    """
    inverse = {standard: to_rgb(standard) for standard in WEIGHTS}
    ycc = pixels @ np.linalg.inv(inverse["709"]).T
    luma, chroma = ycc[..., :1], ycc[..., 1:]
    other = pixels @ np.linalg.inv(inverse["601"]).T
    expanded = np.concatenate([(luma - 16) * 255 / 219, chroma * 255 / 224], axis=2)
    reduced = np.concatenate([luma * 219 / 255 + 16, chroma * 224 / 255], axis=2)
    halved = np.concatenate([luma, _halved(chroma)], axis=2)
    wrong = {
        "chroma_420": halved @ inverse["709"].T,
        "matrix_601": ycc @ inverse["601"].T,
        "matrix_709": other @ inverse["709"].T,
        "range_expanded": expanded @ inverse["709"].T,
        "range_reduced": reduced @ inverse["709"].T,
    }
    rounded = {name: np.rint(of).clip(0, 255).astype(np.uint8) for name, of in wrong.items()}
    return {name: float(255**2 / 10 ** (psnr(pixels, of) / 10)) for name, of in rounded.items()}


def _halved(chroma: Float64Array) -> Float64Array:
    """Return chroma as means of two by two, interpolated linearly between their centres."""
    height, width = (size + size % 2 for size in chroma.shape[:2])
    whole = np.pad(
        chroma, ((0, height - len(chroma)), (0, width - chroma.shape[1]), (0, 0)), "edge"
    )
    small = whole.reshape(height // 2, 2, width // 2, 2, 2).mean(axis=(1, 3))
    for axis in (0, 1):
        before = np.concatenate([small.take([0], axis), small], axis).take(
            range(small.shape[axis]), axis
        )
        after = np.concatenate([small, small.take([-1], axis)], axis).take(
            range(1, small.shape[axis] + 1), axis
        )
        pair = np.stack([0.75 * small + 0.25 * before, 0.75 * small + 0.25 * after], axis + 1)
        shape = list(small.shape)
        shape[axis] *= 2
        small = pair.reshape(shape)
    return np.asarray(small[: len(chroma), : chroma.shape[1]])
