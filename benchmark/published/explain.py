"""`bench explain`: how well each known rule predicts a curve from that of a reference, in dB.

A rule is measured, without a parameter, where values of single images of the reference are stored.
"""

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np

from benchmark.answer import Answer, Column
from benchmark.codec import Float64Array
from benchmark.errors import BenchError, UsageError
from benchmark.facts import reference_codecs
from benchmark.metrics.metric import Metric
from benchmark.option import ARGUMENT, COMPARED, RESULTS, opt
from benchmark.published.registry import read_curve
from benchmark.registry import DISTRIBUTION_METRICS, metric_class
from benchmark.rows.comparable import image_numbers
from benchmark.rows.names import find_variant
from benchmark.rows.schema import metric_names
from benchmark.rows.stored import read_one
from benchmark.rows.summary import Point
from benchmark.system.machine import BUNDLED
from benchmark.system.text import counted

METRICS = ("psnr", "ms_ssim", "lpips", "fid256")
# Columns of one kind, which papers take for each other.
KINDS = (("psnr_db", "psnr_y_db", "psnr_ycbcr_db"), ("ms_ssim", "ssim"),
         ("lpips_alex", "lpips_vgg", "lpips_squeeze"))  # fmt: skip
MOST_POINTS = 1000
FITS_DB = 0.05  # a rule that leaves less is not told from the error of the points
MISSED_DB = 0.07  # that a point costs of which a rule says nothing
LEAST_REACHED = 0.6  # share of the points that a rule has to say something of
SAME_RATE = 1e-3  # of one stream, by two programs
SAME_DB = 0.01  # of one set of streams, as tables print it
NEAR_RATE = 5e-3  # of one setting, where pictures of several sizes were cropped or padded
LEAST_DIGITS = 3  # that a rate is printed with
UNIT_ERRORS = (8, 1 / 8, 3, 1 / 3)  # ratios that no codec's gain is
POOLED = "pooled"  # rule that is measured where images are of several sizes
MOVES_RATES = ("subset", POOLED)  # measured rules
AT_END = 5e-3  # share by which a rate that was printed with few digits is beyond the end of a curve
PEAK = 255.0**2
UNITS = {"excess": "squared levels", "shift": "dB", "average": "dB", "ratio": "x", "offset": "bpp"}
WORDS: Mapping[str, Mapping[str, Any]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
)

Scale = Literal["psnr", "saturating", "distance"]
Record = dict[str, Any]


class Reference(NamedTuple):
    """A curve to explain another by: rates in bit per pixel and dB, each of shape (settings,)."""

    scale: Scale
    bpp: Float64Array
    decibels: Float64Array
    measured: Mapping[str, tuple[Float64Array, Float64Array]] = {}  # its curve by each other rule


def places(values: Any, scale: Scale) -> Float64Array:
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
    ends = np.log10(bpp[order])
    with np.errstate(divide="ignore", invalid="ignore"):
        x = np.log10(rates)
    inside = np.clip(x, *ends[[0, -1]])
    x = np.where(np.abs(x - inside) < np.log10(1 + AT_END), inside, x)
    return np.asarray(Akima1DInterpolator(ends, decibels[order])(x))


def at_settings(bpp: Float64Array, rates: Float64Array, near: Any = SAME_RATE) -> Any:
    """Return whether all rates of shape (..., points) are those of settings, of shape (settings,).

    near: the greatest difference, as a share; of shape (points,) or one for all.

    >>> at_settings(np.array([0.1, 0.2]), np.array([[0.1, 0.2], [0.1, 0.15]]))
    array([ True, False])
    """
    return (np.abs(rates[..., None] / bpp - 1).min(axis=-1) < near).all(axis=-1)


def rounded_by(rates: Float64Array) -> Float64Array:
    """Return the greatest share by which printing moved rates, of shape (points,), by their digits.

    >>> rounded_by(np.array([0.25, 0.125])), rounded_by(np.array([1 / 3]))
    (array([0.002, 0.004]), array([0.]))
    """
    for digits in range(LEAST_DIGITS, 7):
        if np.allclose(rates, rates.round(digits), rtol=0, atol=1e-9):
            return 0.5 * 10.0**-digits / rates
    return np.zeros(len(rates))


def predictions(
    reference: Reference, rates: Float64Array
) -> Iterator[tuple[str, Float64Array | None, Float64Array]]:
    """Yield each rule, the parameters tried (None: none) and dB, shape (tried, points)."""

    def at(moved: Float64Array) -> Float64Array:
        return at_rates(reference.bpp, reference.decibels, moved)

    near = SAME_RATE + rounded_by(rates)
    base, own = at(rates), bool(at_settings(reference.bpp, rates, near))
    for rule, curve in reference.measured.items():
        # A prediction of both coordinates: what was measured at other rates tells nothing of it.
        if rule.partition(":")[0] not in MOVES_RATES or at_settings(curve[0], rates, near):
            yield rule, None, at_rates(*curve, rates)[None]
    fine, distance = np.geomspace(0.05, 900, 1000), reference.scale == "distance"
    if reference.scale == "psnr":
        excess = np.concatenate([-fine[fine < 0.2], fine])
        error = PEAK / 10 ** (base / 10) + excess[:, None]
        with np.errstate(invalid="ignore"):
            yield "excess", excess, 10 * np.log10(PEAK / np.where(error > 0, error, np.nan))
    elif distance or not reference.measured:
        shifts = np.arange(-9.0, 9.0, 0.01) if distance else np.arange(-3.0, 3.0, 0.01)
        yield "shift" if distance else "average", shifts, base + shifts[:, None]
    if own:  # no rate was moved
        return
    ratios = np.geomspace(0.7, 1.4, 700)
    near = near + (NEAR_RATE if POOLED in reference.measured else 0)
    ratios = ratios[at_settings(reference.bpp, rates / ratios[:, None], near)]
    ratios = np.concatenate([ratios, UNIT_ERRORS])
    yield "ratio", ratios, at(rates / ratios[:, None])
    steps = np.geomspace(2e-5, 0.01, 150)
    offsets = np.concatenate([-steps, steps])
    yield "offset", offsets, at(rates - offsets[:, None])


def explained(reference: Reference, rates: Float64Array, decibels: Float64Array) -> list[Record]:
    """Return a record for each rule that applies to a curve, the one that leaves least first.

    rates, decibels: of the curve, shape (points,). A rule leaves the root mean square over the
    points that it says something of; one that does so for few (LEAST_REACHED) is left out. Of
    subsets of images, and of other metrics, the one that leaves least is a rule.
    """
    rules: dict[str, tuple[float, Record]] = {}
    for rule, parameters, predicted in predictions(reference, rates):
        reached, kind = np.isfinite(predicted), rule.partition(":")[0]
        squares = np.where(reached, decibels - predicted, MISSED_DB) ** 2
        costs = np.where(reached.mean(axis=1) >= LEAST_REACHED, squares.mean(axis=1), np.inf)
        best = int(costs.argmin())
        if costs[best] < rules.get(kind, (np.inf,))[0]:
            parameter = None if parameters is None else float(parameters[best])
            cause = rule if parameter is None else cause_of(rule, parameter)
            cause = "" if cause == "pixels" and POOLED not in reference.measured else cause
            left = float(np.sqrt(squares[best][reached[best]].mean()))
            known = {"rule": rule, "parameter": parameter, "unit": UNITS.get(rule, "")}
            record = {
                **known,
                "cause": cause,
                "points": int(reached[best].sum()),
                "residual_db": left,
            }
            rules[kind] = float(costs[best]), record
    return [record for _, record in sorted(rules.values(), key=lambda rule: rule[0])]


def cause_of(rule: str, parameter: float) -> str:
    """Return the id of the known cause of a rule's parameter; empty for none.

    >>> cause_of("excess", 0.25), cause_of("ratio", 8.0), cause_of("shift", 0.01)
    ('truncated', 'bytes', '')
    """
    ranges = ((name, *of) for name, words in WORDS.items() for of in words.get(rule, ()))
    return next((name for name, low, high in ranges if low <= parameter <= high), "")


def fits(left_db: float, before_db: float | None) -> bool:
    """Return whether a rule leaves next to nothing, and under a third of the difference."""
    return left_db <= min(FITS_DB, np.inf if before_db is None else before_db / 3)


def read_reference(asked: str, dataset: str, metric: Metric, results: Path) -> Reference:
    """Return a codec's stored curve, else a published one; raise `UsageError`."""
    other: Scale = "saturating" if metric.saturating else "distance"
    scale: Scale = "psnr" if metric.column.startswith("psnr") else other
    kind = next((kind for kind in KINDS if metric.column in kind), (metric.column,))
    every = (*metric_names("all"), *DISTRIBUTION_METRICS)
    names = [name for name in every if metric_class(name).column in kind]
    for folder in (results, BUNDLED):
        with suppress(BenchError):
            stored = read_one(folder, dataset, asked, names)
            spec = find_variant(asked, stored.summary.editions)
            points = [point for point in stored.summary.points if point.edition.spec == spec]
            means = [point.means[metric.column] for point in points]
            if means and all(mean.value is not None for mean in means):
                images = stored.table.select("image").rows()
                of_images = dict(zip(image_numbers(stored.table).tolist(), images, strict=True))
                bpp, values = zip(*((mean.bpp, mean.value) for mean in means), strict=True)
                others = {} if metric.of_sets else by_rule(points, metric, scale, kind, of_images)
                return Reference(scale, np.array(bpp), places(values, scale), others)
    series = read_curve(asked, dataset, results).series
    if not (curve := series.get(metric.column) or series.get(metric.published)):
        raise UsageError(f"{asked} has no {metric.label} on {dataset}: name another metric")
    return Reference(scale, np.array(curve[0]), places(curve[1], scale))


def by_rule(
    points: list[Point],
    metric: Metric,
    scale: Scale,
    kind: tuple[str, ...],
    images: Mapping[int, tuple[str]],
) -> dict[str, tuple[Float64Array, Float64Array]]:
    """Return rates and dB of stored points by other averages, metrics of a kind, fewer images."""
    ids = points[0].image_ids.tolist()
    order = sorted(range(len(ids)), key=lambda at: images[ids[at]])
    names = [name for at in order for name in images[ids[at]]]
    bpp = np.array([point.image_bpp[order] for point in points])
    values = {c: np.array([point.image_values[c][order] for point in points])
              for c in points[0].image_values if c in kind}  # fmt: skip
    values = {column: of for column, of in values.items() if not np.isnan(of).any()}
    if (mine := values.pop(metric.column, None)) is None or np.isnan(bpp).any():
        return {}
    rates, plain = bpp.mean(axis=1), places(mine.mean(axis=1), scale)
    curves = {f"column:{c}": (rates, places(of.mean(axis=1), scale)) for c, of in values.items()}
    if scale == "psnr":
        error = (PEAK / 10 ** (mine / 10)).mean(axis=1)
        curves["mean_error"] = rates, 10 * np.log10(PEAK / error)
    if scale == "saturating":
        curves["mean_of_db"] = rates, places(mine, scale).mean(axis=1)
    if np.ptp(pixels := points[0].image_pixels[order].astype(float)):
        curves[POOLED] = (bpp * pixels).sum(axis=1) / pixels.sum(), plain
    place = np.arange(len(names)) if len(names) > 1 else np.array([], int)
    masks = {f"first {n} images": place < n for n in place[1:]}
    masks |= {f"without {names[n]}": place != n for n in place}
    for name, mask in masks.items():
        of = bpp[:, mask].mean(axis=1), places(mine[:, mask].mean(axis=1), scale)
        curves[f"subset:{name}"] = of
    return curves


def explain(
    curve: Annotated[str, opt(ARGUMENT, "Your curve: csv, json, md; or a published one.")],
    against: Annotated[
        str, opt(COMPARED, "A codec with stored rows, a published system, or a file; default: VTM.")
    ] = "",
    dataset: Annotated[str, opt(COMPARED, "Dataset of both.")] = "kodak",
    metrics: Annotated[str, opt(COMPARED, "Comma-separated; default: the curve's first.")] = "",
    results: Annotated[Path, RESULTS] = Path("results"),
) -> Answer:
    """Say how well each known rule predicts a curve from that of a reference.

    A rule is a difference of protocol, such as luma or a truncating conversion of colours. A record
    is a rule with the parameter that leaves least, a root mean square over the points, in dB; what
    is left without any rule is that of `none`.

    Examples:
      bench explain mine.csv --against vtm --dataset kodak
      bench explain mine.json --against VTM:CompressAI --metrics psnr,ms_ssim
    """
    mine, against = read_curve(curve, dataset, results), against or reference_codecs()[-1]
    asked = [Metric.named(name) for name in (metric_names(metrics) if metrics else METRICS)]
    known = [metric for metric in asked if metric.column in mine.series]
    if not known or (metrics and known != asked):
        lacking = ", ".join(metric.label for metric in asked if metric not in known)
        raise UsageError(f"{mine.name} has no {lacking}: name another metric")
    records, sentences = list[Record](), [f"{mine.name} against {against}, {dataset}."]
    for metric in known if metrics else known[:1]:
        reference = read_reference(against, dataset, metric, results)
        bpp, values = map(np.array, mine.series[metric.column])
        if len(bpp) > MOST_POINTS:
            raise UsageError(f"{mine.name} has {len(bpp)} points, at most {MOST_POINTS} are fitted")
        decibels = places(values, reference.scale)
        apart = decibels - at_rates(reference.bpp, reference.decibels, bpp)
        apart, rules = apart[np.isfinite(apart)], explained(reference, bpp, decibels)
        before = float(np.sqrt((apart**2).mean())) if apart.size else None
        if not rules or (before is None and not fits(rules[0]["residual_db"], None)):
            raise UsageError(
                f"{mine.name} has no rate in common with {against}, {bpp.min():.4g} to "
                f"{bpp.max():.4g} bpp: name another reference by --against"
            )
        none = {**dict.fromkeys(rules[0]), "rule": "none", "points": apart.size}
        rules.append({**none, "residual_db": before})
        records += ({"metric": metric.column, **rule} for rule in rules)
        same = at_settings(reference.bpp, bpp[:, None], SAME_RATE + rounded_by(bpp)[:, None])
        points = f"{counted(len(bpp), 'point')}, {same.sum()} at its rates"
        verdict = _verdict(rules[0], before, len(bpp), SAME_DB if same.all() else FITS_DB)
        sentences.append(f"{metric.column}: {points}. {verdict}")
    facts = {"curve": mine.name, "against": against, "dataset": dataset}
    return Answer(records, COLUMNS, " ".join(sentences), (), facts)


def _verdict(best: Record, before: float | None, points: int, equal_db: float) -> str:
    if before is not None and before <= equal_db:
        return f"The curves are {before:.3f} dB apart: there is nothing to explain."
    if not fits(best["residual_db"], before):
        return "None of these rules explains the difference."
    if points == 1:
        return "One point is on the curve of every rule that has a parameter: add others."
    remedy = WORDS[(best["cause"] or best["rule"]).partition(":")[0]].get("do", "find out why")
    return f"The first leaves least. If it is so: {remedy}."


def _words(name: str | None) -> str:
    known, _, detail = (name or "").partition(":")
    return str(WORDS[known]["is"]).format(detail) if known else ""


def _cause(rule: Record) -> str:
    return _words(rule["cause"] if rule["unit"] else "")


COLUMNS = (
    Column("metric"),
    Column("rule", lambda rule: _words(rule["rule"])),
    Column("of such a size", _cause),
    Column("parameter", lambda rule: rule if rule["unit"] else None,
           lambda rule: f"{rule['parameter']:.4g} {rule['unit']}"),
    Column("points", "points", "d"),
    Column("left (dB)", "residual_db", ".3f"),
)  # fmt: skip
