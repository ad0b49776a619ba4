"""Rules that turn a reference's curve into a stranger's: candidates, fits, verdicts, false alarms.

Pure arithmetic. A rule is a function from curve to curve. It is measured where values of single
images are known, and has then no parameter; otherwise its parameter is fitted. Curves are in dB:
PSNR, MS-SSIM as -10 log10(1 - x), distances (LPIPS, FID) as 10 log10(x).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from benchmark.codec import BoolArray, Float64Array, Int64Array

PEAK = 255.0**2
# dB that may be left by a rule; by a rough one, as a share of the difference, and at most
EXACT_DB, SHARE, MOST_DB = 0.05, 0.15, 0.3
IMPROVED = 1 / 3  # share of the difference that may be left
SAME_RATE = 1e-3  # rates of one stream, counted by two programs or versions
LEAST_USED = 0.6  # share of the points that a rule has to reach
FEW = 3  # points; below, subsets of images are no candidates
DRAWS = 200

Scale = Literal["psnr", "saturating", "distance"]


class Cause(NamedTuple):
    """A known cause, by its id, and the parameters of a rule that it has."""

    name: str
    low: float
    high: float


# Squared levels that a rule adds to the squared error of every image. Truncation of R, G and B
# adds 1/4, 8 bits before them as much. Truncation of Y', Cb and Cr shifts each by 1/2, and so R, G,
# B by 1.29, .17, 1.43: 1.24 on average, 2.45 with truncation of R, G and B. 4:2:0 on Kodak: 4.4.
EXCESS = (
    Cause("unrounded", -0.12, -0.05), Cause("rounded", 0.05, 0.12),
    Cause("truncated", 0.18, 0.65), Cause("truncated_colour", 1.1, 2.9),
    Cause("chroma_420", 3.0, 9.0), Cause("matrix_or_range", 15.0, 900.0),
)  # fmt: skip
# Squared gain that wrong ranges give to the error of the codec itself.
GAINS = {"range_reduced": (219 / 255) ** 2, "range_expanded": (255 / 219) ** 2}
SHIFTS: Mapping[Scale, tuple[Cause, ...]] = {  # dB
    "psnr": (Cause("luma", 0.3, 3.0), Cause("mean_error", -2.0, -0.1)),
    "saturating": (Cause("mean_of_db", 0.08, 0.6), Cause("db_of_mean", -0.6, -0.08)),
    "distance": (Cause("net_or_patches", 0.2, 9.0), Cause("net_or_patches", -9.0, -0.2)),
}
RATIOS = (  # of rates, theirs to the reference's
    Cause("version", 1.003, 1.06), Cause("version", 0.94, 0.997),
    Cause("pixels", 1.02, 1.3), Cause("pixels", 0.75, 0.98),
    Cause("bytes", 7.9, 8.1), Cause("bytes", 1 / 8.1, 1 / 7.9),
    Cause("samples", 2.97, 3.03), Cause("samples", 1 / 3.03, 1 / 2.97),
)  # fmt: skip
OFFSETS = (Cause("header_left_out", -0.02, -2e-5), Cause("container", 2e-5, 0.02))  # bpp


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
    """What a rule predicts at a stranger's rates for each value of its parameter."""

    rule: str
    how: Literal["fitted", "measured"]
    parameters: Float64Array  # shape (parameters,); a single NaN where there is none
    predicted: Float64Array  # in dB, shape (parameters, points); NaN beyond the reference
    causes: tuple[Cause, ...] = ()  # empty: any parameter is known
    images: int = 0  # that a subset has
    rough: bool = False  # the errors of pictures and codec are not quite independent


class Verdict(NamedTuple):
    """A rule after its fit."""

    rule: str
    how: Literal["fitted", "measured"]
    causes: tuple[str, ...]  # ids whose range has the parameter
    parameter: float | None
    points: int  # that the rule reaches
    residual_db: float  # root of the squares over points less parameters
    verdict: Literal["explains", "possible", "no"]  # possible: too few points to be tested


class Explanation(NamedTuple):
    """Verdicts on a curve, the likeliest rule first, with what its rates say."""

    before_db: float  # root mean square of the difference itself
    mean_db: float  # theirs minus the reference's
    same_rates: int  # points whose rate is that of a setting of the reference
    # fewest images whose whole bytes the rates are; 0: none up to 100; None: too few digits to tell
    counted: int | None
    verdicts: tuple[Verdict, ...]
    false_alarms: float  # share of simulated curves of no rule that some rule explains as well

    @property
    def explained(self) -> tuple[Verdict, ...]:
        """The rules that explain the curve, or may."""
        return tuple(verdict for verdict in self.verdicts if verdict.verdict != "no")


def places(values: Sequence[float] | Float64Array, scale: Scale) -> Float64Array:
    """Return values of a metric in dB.

    >>> places([0.9], "saturating"), places([0.1], "distance")
    (array([10.]), array([-10.]))
    """
    array = np.asarray(values, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        if scale == "psnr":
            return array
        return np.asarray((-10 if scale == "saturating" else 10) * np.log10(
            1 - array if scale == "saturating" else array
        ))  # fmt: skip


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
    if not reference.images or reference.scale == "distance":  # otherwise they are measured
        yield Candidates("shift", "fitted", shifts, base + shifts[:, None], SHIFTS[reference.scale])
    ratios = np.concatenate([np.geomspace(0.7, 1.4, 700), *([k] for k in (8, 1 / 8, 3, 1 / 3))])
    yield Candidates("ratio", "fitted", ratios, at(rates / ratios[:, None]), RATIOS)
    steps = np.geomspace(2e-5, 0.02, 150)
    offsets = np.concatenate([-steps, steps])
    yield Candidates("offset", "fitted", offsets, at(rates - offsets[:, None]), OFFSETS)
    if reference.images:
        yield from _measured(reference.scale, reference.images, rates)


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
            total = GAINS.get(name, 1.0) * error + lost
            yield rule(name, 10 * np.log10(PEAK / total).mean(axis=1))._replace(rough=True)
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
                yield rule(f"subset:{name}", mean(mask), bpp, size)


def counted_images(rates: Sequence[float], pixels: int, most: int = 100) -> int | None:
    """Return the fewest images of a size whose whole bytes all mean rates can be.

    0 where there are none up to `most`; None where the rates have too few digits to tell.

    >>> counted_images([8 * bytes / (3 * 393216) for bytes in (10001, 20000, 40003)], 393216)
    3
    """
    digits = min(len(repr(float(rate)).partition(".")[2]) for rate in rates)
    if len(rates) < FEW or 10.0**-digits * most * pixels / 8 > 0.02:
        return None
    totals = np.array(rates) * pixels / 8 * np.arange(1, most + 1)[:, None]
    whole = (np.abs(totals - totals.round()) < 1e-3).all(axis=1)
    return int(whole.argmax()) + 1 if whole.any() else 0


def explain(
    reference: Reference, rates: Float64Array, decibels: Float64Array, draws: int = DRAWS
) -> Explanation:
    """Return verdicts of all rules on a stranger's curve, the likeliest first.

    rates, decibels: of the stranger, shape (points,). Raises `ValueError` where no point is within
    the reference's rates, even with another unit.
    """
    known = [*candidates(reference, rates)]
    base = at_rates(reference.bpp, reference.decibels, rates)
    apart = np.abs(rates[:, None] / reference.bpp - 1).min(axis=1)
    same = apart < SAME_RATE
    counted = None
    images = reference.images
    if images is not None and len(set(images.pixels.tolist())) == 1:
        counted = counted_images(rates.tolist(), int(images.pixels[0]))
    before = decibels - base
    rms = float(np.sqrt(np.nanmean(before**2))) if np.isfinite(before).any() else np.inf
    verdicts = [_verdict(one, rates, decibels, rms, same, counted) for one in known]
    if not np.isfinite(base).any() and all(v.verdict == "no" for v in verdicts):
        raise ValueError("no rate in common")
    verdicts.sort(key=_order)
    mean = float(np.nanmean(before)) if np.isfinite(before).any() else np.nan
    alarms = _false_alarms(known, rates, base, same, counted, draws)
    return Explanation(rms, mean, int(same.sum()), counted, tuple(verdicts), alarms)


def _order(verdict: Verdict) -> tuple[int, float]:
    """Return a sort key: rules that explain, without a parameter first; that may; the others."""
    fitted = verdict.how == "fitted"
    if verdict.verdict == "possible":
        return 2, 0.0  # in their own order
    return (int(fitted) if verdict.verdict == "explains" else 3), verdict.residual_db


def _fitted(
    one: Candidates,
    rates: Float64Array,
    decibels: Float64Array,
    before: Float64Array,
    same: BoolArray,
    counted: int | None,
) -> tuple[Int64Array, Float64Array, BoolArray]:
    """Fit a rule's parameter to curves; return its index, dB left, and whether that explains them.

    decibels: shape (curves, points); before: shape (curves,), as all that is returned.
    """
    used = np.isfinite(one.predicted).sum(axis=1)
    free = np.maximum(used - (one.how == "fitted"), 1)
    squares = np.nansum((decibels[:, None] - one.predicted) ** 2, axis=2) / free
    squares[:, used < LEAST_USED * len(rates)] = np.inf
    best = squares.argmin(axis=1)
    residual = np.sqrt(squares[np.arange(len(best)), best])
    parameter = one.parameters[best]
    loose = np.minimum(SHARE * before, MOST_DB) if one.rough else 0.0
    explains = residual <= np.maximum(EXACT_DB, loose)
    explains &= (residual <= IMPROVED * before) & (before > EXACT_DB)
    if one.causes:
        explains &= np.any([(c.low <= parameter) & (parameter <= c.high) for c in one.causes], 0)
    # rates of the same streams are moved by no rule, but by a header
    if same.any() and one.rule in ("ratio", "offset"):
        moved = np.abs(parameter - 1 if one.rule == "ratio" else parameter / rates.min())
        explains &= moved <= 2 * SAME_RATE
    if one.images and (same.any() or counted == 0 or (counted and one.images % counted)):
        explains &= False  # a subset has other rates than the whole, and whole bytes
    return best, residual, explains


def _verdict(
    one: Candidates,
    rates: Float64Array,
    decibels: Float64Array,
    before: float,
    same: BoolArray,
    counted: int | None,
) -> Verdict:
    """Fit a rule's parameter to a curve and judge what is left."""
    at, left, fits = _fitted(one, rates, decibels[None], np.array([before]), same, counted)
    parameter = float(one.parameters[at[0]])
    points = int(np.isfinite(one.predicted[at[0]]).sum())
    explains: Literal["explains", "possible"] = "explains"
    if points < 2 and one.how == "fitted":
        explains = "possible"
    return Verdict(
        one.rule,
        one.how,
        tuple(cause.name for cause in one.causes if cause.low <= parameter <= cause.high),
        None if one.how == "measured" else parameter,
        points,
        float(left[0]),
        explains if fits[0] else "no",
    )


def _false_alarms(
    known: Sequence[Candidates],
    rates: Float64Array,
    base: Float64Array,
    same: BoolArray,
    counted: int | None,
    draws: int,
) -> float:
    """Return the share of random smooth differences, of up to 3.5 dB, that some rule explains."""
    if not draws or not np.isfinite(base).any():
        return float("nan")
    x = np.log(rates)
    u = 2 * (x - x.min()) / max(float(np.ptp(x)), 1e-9) - 1
    a, b, c, noise = _random(draws, len(u))
    difference = a + b * u + c * u**2 + noise
    before = np.sqrt(np.nanmean(np.where(np.isfinite(base), difference**2, np.nan), axis=1))
    curves = base + difference
    alarms = [_fitted(one, rates, curves, before, same, counted)[2] for one in known]
    return float(np.any(alarms, axis=0).mean())


def _random(draws: int, points: int) -> tuple[Float64Array, ...]:
    random = np.random.default_rng(0)
    parts = (random.uniform(-most, most, (draws, 1)) for most in (2.0, 1.0, 0.5))
    return (*parts, random.normal(0, 0.01, (draws, points)))
