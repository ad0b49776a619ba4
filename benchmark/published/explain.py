"""`bench explain`: how well known rules predict a curve from a reference curve, in dB.

Rules without a parameter are applied to stored per-image values of the reference, if any.
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
from benchmark.rows.stored import read_one_dataset
from benchmark.rows.summary import Point
from benchmark.system.machine import BUNDLED
from benchmark.system.text import counted

METRICS = ("psnr", "ms_ssim", "lpips", "fid256")
# Columns that papers confuse with each other
CONFUSED_COLUMNS = (("psnr_db", "psnr_y_db", "psnr_ycbcr_db"), ("ms_ssim", "ssim"),
         ("lpips_alex", "lpips_vgg", "lpips_squeeze"))  # fmt: skip
MAX_POINTS = 1000
MAX_ERROR_DB = 0.05  # maximum residual that errors of points can explain
MISSED_DB = 0.07  # residual assumed for points that a rule does not predict
MIN_PREDICTED = 0.6  # minimum share of points that a rule must predict
SAME_RATE = 1e-3  # maximum relative difference of equal streams' rates in two programs
SAME_DB = 0.01  # maximum difference of equal streams' values in printed tables
NEAR_RATE = 5e-3  # the same for cropped or padded images of several sizes
MIN_DECIMALS = 3  # minimum number assumed for printed rates
UNIT_ERRORS = (8, 1 / 8, 3, 1 / 3)  # ratios that only a wrong unit (bytes, channels) explains
POOLED = "pooled"  # rule that needs images of several sizes
RATE_RULES = ("subset", POOLED)  # rules that also change rates
END_TOLERANCE = 5e-3  # a rounded rate may exceed the end of a curve by this share
PEAK = 255.0**2
UNITS = {"excess": "squared levels", "shift": "dB", "average": "dB", "ratio": "x", "offset": "bpp"}
RULES: Mapping[str, Mapping[str, Any]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
)

Scale = Literal["psnr", "saturating", "distance"]
Record = dict[str, Any]


class Reference(NamedTuple):
    """Curve from which another is predicted: bpp and dB, of shape (settings,)."""

    scale: Scale
    bpp: Float64Array
    decibels: Float64Array
    measured: Mapping[str, tuple[Float64Array, Float64Array]] = {}  # curves under other rules


def convert_to_decibels(values: Any, scale: Scale) -> Float64Array:
    """Convert a metric to dB: MS-SSIM to -10 log10(1 - x), LPIPS and FID to 10 log10(x)."""
    array = np.asarray(values, np.float64)
    if scale == "psnr":
        return array
    with np.errstate(divide="ignore", invalid="ignore"):
        decibels = -10 * np.log10(1 - array) if scale == "saturating" else 10 * np.log10(array)
    return np.asarray(decibels)


def interpolate_rates(
    bpp: Float64Array, decibels: Float64Array, rates: Float64Array
) -> Float64Array:
    """Interpolate a curve's dB at rates of any shape, by Akima over log rate; NaN outside."""
    from scipy.interpolate import Akima1DInterpolator

    order = np.argsort(bpp)
    ends = np.log10(bpp[order])
    with np.errstate(divide="ignore", invalid="ignore"):
        x = np.log10(rates)
    clipped_x = np.clip(x, *ends[[0, -1]])
    x = np.where(np.abs(x - clipped_x) < np.log10(1 + END_TOLERANCE), clipped_x, x)
    return np.asarray(Akima1DInterpolator(ends, decibels[order])(x))


def match_settings(bpp: Float64Array, rates: Float64Array, tolerance: Any = SAME_RATE) -> Any:
    """Return whether each of rates, (..., points), is within a relative tolerance of a setting."""
    return (np.abs(rates[..., None] / bpp - 1).min(axis=-1) < tolerance).all(axis=-1)


def rounding_shares(rates: Float64Array) -> Float64Array:
    """Return the largest relative rounding error of printed rates, from their digits, (points,).

    >>> rounding_shares(np.array([0.25, 0.125])), rounding_shares(np.array([1 / 3]))
    (array([0.002, 0.004]), array([0.]))
    """
    for digits in range(MIN_DECIMALS, 7):
        if np.allclose(rates, rates.round(digits), rtol=0, atol=1e-9):
            return 0.5 * 10.0**-digits / rates
    return np.zeros(len(rates))


def predictions(
    reference: Reference, rates: Float64Array
) -> Iterator[tuple[str, Float64Array | None, Float64Array]]:
    """Yield each rule, its trial parameters (None: no parameter), predicted dB (trials, points)."""

    def predict(moved_rates: Float64Array) -> Float64Array:
        return interpolate_rates(reference.bpp, reference.decibels, moved_rates)

    tolerance = SAME_RATE + rounding_shares(rates)
    decibels, is_at_settings = predict(rates), bool(match_settings(reference.bpp, rates, tolerance))
    for rule, curve in reference.measured.items():
        # A rule that changes rates also predicts rates, which must match
        if rule.partition(":")[0] not in RATE_RULES or match_settings(curve[0], rates, tolerance):
            yield rule, None, interpolate_rates(*curve, rates)[None]
    grid, is_distance = np.geomspace(0.05, 900, 1000), reference.scale == "distance"
    if reference.scale == "psnr":
        excess = np.concatenate([-grid[grid < 0.2], grid])
        error = PEAK / 10 ** (decibels / 10) + excess[:, None]
        with np.errstate(invalid="ignore"):
            yield "excess", excess, 10 * np.log10(PEAK / np.where(error > 0, error, np.nan))
    elif is_distance or not reference.measured:
        shifts = np.arange(-9.0, 9.0, 0.01) if is_distance else np.arange(-3.0, 3.0, 0.01)
        yield "shift" if is_distance else "average", shifts, decibels + shifts[:, None]
    if is_at_settings:  # rates were not changed
        return
    ratios = np.geomspace(0.7, 1.4, 700)
    tolerance = tolerance + (NEAR_RATE if POOLED in reference.measured else 0)
    ratios = ratios[match_settings(reference.bpp, rates / ratios[:, None], tolerance)]
    ratios = np.concatenate([ratios, UNIT_ERRORS])
    yield "ratio", ratios, predict(rates / ratios[:, None])
    steps = np.geomspace(2e-5, 0.01, 150)
    offsets = np.concatenate([-steps, steps])
    yield "offset", offsets, predict(rates - offsets[:, None])


def rank_rules(reference: Reference, rates: Float64Array, decibels: Float64Array) -> list[Record]:
    """Return a record for each rule that applies to a curve (points,), lowest residual first.

    A residual is the root mean square over the points that a rule predicts, at least MIN_PREDICTED
    of all points. Only the best subset of images and the best other metric are listed.
    """
    rules: dict[str, tuple[float, Record]] = {}
    for rule, parameters, predicted_db in predictions(reference, rates):
        is_predicted, rule_kind = np.isfinite(predicted_db), rule.partition(":")[0]
        squares = np.where(is_predicted, decibels - predicted_db, MISSED_DB) ** 2
        costs = np.where(is_predicted.mean(axis=1) >= MIN_PREDICTED, squares.mean(axis=1), np.inf)
        index = int(costs.argmin())
        if costs[index] < rules.get(rule_kind, (np.inf,))[0]:
            parameter = None if parameters is None else float(parameters[index])
            cause = rule if parameter is None else find_cause(rule, parameter)
            cause = "" if cause == "pixels" and POOLED not in reference.measured else cause
            residual_db = float(np.sqrt(squares[index][is_predicted[index]].mean()))
            fields = {"rule": rule, "parameter": parameter, "unit": UNITS.get(rule, "")}
            record = {
                **fields,
                "cause": cause,
                "points": int(is_predicted[index].sum()),
                "residual_db": residual_db,
            }
            rules[rule_kind] = float(costs[index]), record
    return [record for _, record in sorted(rules.values(), key=lambda rule: rule[0])]


def find_cause(rule: str, parameter: float) -> str:
    """Return the id of the known cause of a rule's parameter; "" if unknown.

    >>> find_cause("excess", 0.25), find_cause("ratio", 8.0), find_cause("shift", 0.01)
    ('truncated', 'bytes', '')
    """
    ranges = ((name, *limits) for name, entry in RULES.items() for limits in entry.get(rule, ()))
    return next((name for name, low, high in ranges if low <= parameter <= high), "")


def is_explained(residual_db: float, difference_db: float | None) -> bool:
    """Return whether a residual is at most the error of points, and a third of the difference."""
    return residual_db <= min(MAX_ERROR_DB, np.inf if difference_db is None else difference_db / 3)


def read_reference(codec: str, dataset: str, metric: Metric, results: Path) -> Reference:
    """Read a codec's stored curve, or else a published one; `UsageError` if there is none."""
    other_scale: Scale = "saturating" if metric.saturating else "distance"
    scale: Scale = "psnr" if metric.column.startswith("psnr") else other_scale
    groups = (group for group in CONFUSED_COLUMNS if metric.column in group)
    columns: tuple[str, ...] = next(groups, (metric.column,))
    all_names = (*metric_names("all"), *DISTRIBUTION_METRICS)
    metrics = [name for name in all_names if metric_class(name).column in columns]
    for folder in (results, BUNDLED):
        with suppress(BenchError):
            stored_results = read_one_dataset(folder, dataset, codec, metrics)
            spec = find_variant(codec, stored_results.summary.editions)
            points = [
                point for point in stored_results.summary.points if point.edition.spec == spec
            ]
            means = [point.means[metric.column] for point in points]
            if means and all(mean.value is not None for mean in means):
                numbers, names = (
                    image_numbers(stored_results.table),
                    stored_results.table.select("image").rows(),
                )
                images = dict(zip(numbers.tolist(), names, strict=True))
                bpp, values = zip(*((mean.bpp, mean.value) for mean in means), strict=True)
                rules = {}
                if not metric.is_distribution:
                    rules = rule_curves(points, metric, scale, columns, images)
                return Reference(scale, np.array(bpp), convert_to_decibels(values, scale), rules)
    series = read_curve(codec, dataset, results).series
    if not (curve := series.get(metric.column) or series.get(metric.published)):
        raise UsageError(f"{codec} has no {metric.label} on {dataset}: choose another metric")
    return Reference(scale, np.array(curve[0]), convert_to_decibels(curve[1], scale))


def rule_curves(
    points: list[Point],
    metric: Metric,
    scale: Scale,
    columns: tuple[str, ...],
    images: Mapping[int, tuple[str]],
) -> dict[str, tuple[Float64Array, Float64Array]]:
    """Return rates and dB of stored points with other averages, metrics and subsets of images."""
    ids = points[0].image_ids.tolist()
    order = sorted(range(len(ids)), key=lambda index: images[ids[index]])
    names = [name for index in order for name in images[ids[index]]]
    bpp = np.array([point.image_bpp[order] for point in points])
    values = {column: np.array([point.image_values[column][order] for point in points])
              for column in points[0].image_values if column in columns}  # fmt: skip
    values = {column: array for column, array in values.items() if not np.isnan(array).any()}
    if (metric_values := values.pop(metric.column, None)) is None or np.isnan(bpp).any():
        return {}
    rates, decibels = bpp.mean(axis=1), convert_to_decibels(metric_values.mean(axis=1), scale)
    curves = {
        f"column:{column}": (rates, convert_to_decibels(other_values.mean(axis=1), scale))
        for column, other_values in values.items()
    }
    if scale == "psnr":
        error = (PEAK / 10 ** (metric_values / 10)).mean(axis=1)
        curves["mean_error"] = rates, 10 * np.log10(PEAK / error)
    if scale == "saturating":
        curves["mean_of_db"] = rates, convert_to_decibels(metric_values, scale).mean(axis=1)
    if np.ptp(pixels := points[0].image_pixels[order].astype(float)):
        curves[POOLED] = (bpp * pixels).sum(axis=1) / pixels.sum(), decibels
    positions = np.arange(len(names)) if len(names) > 1 else np.array([], int)
    masks = {f"first {count} images": positions < count for count in positions[1:]}
    masks |= {f"without {names[count]}": positions != count for count in positions}
    for name, mask in masks.items():
        curve = (
            bpp[:, mask].mean(axis=1),
            convert_to_decibels(metric_values[:, mask].mean(axis=1), scale),
        )
        curves[f"subset:{name}"] = curve
    return curves


def explain(
    curve: Annotated[str, opt(ARGUMENT, "Curve: a csv, json or md file, or a published system.")],
    against: Annotated[
        str, opt(COMPARED, "Reference: a measured codec, published system or file; default: VTM.")
    ] = "",
    dataset: Annotated[str, opt(COMPARED, "Dataset of both curves.")] = "kodak",
    metrics: Annotated[
        str, opt(COMPARED, "Comma-separated metrics; default: the first that the curve has.")
    ] = "",
    results: Annotated[Path, RESULTS] = Path("results"),
) -> Answer:
    """Explain why two published curves differ.

    Predicts the curve from the reference under each known difference of protocol, such as luma or a
    truncating colour conversion. Prints each rule with its best parameter and its residual (root
    mean square over the points, in dB), and the residual without a rule (`none of these`).

    Examples:
      bench explain mine.csv --against vtm --dataset kodak
      bench explain mine.json --against VTM:CompressAI --metrics psnr,ms_ssim
    """
    against = against or reference_codecs()[-1]
    curve_to_explain = read_curve(curve, dataset, results)
    requested_metrics = [
        Metric.named(name) for name in (metric_names(metrics) if metrics else METRICS)
    ]
    available_metrics = [m for m in requested_metrics if m.column in curve_to_explain.series]
    if not available_metrics or (metrics and available_metrics != requested_metrics):
        missing_labels = ", ".join(
            metric.label for metric in requested_metrics if metric not in available_metrics
        )
        raise UsageError(f"{curve_to_explain.name} has no {missing_labels}: choose another metric")
    records, sentences = list[Record](), [f"{curve_to_explain.name} against {against}, {dataset}."]
    for metric in available_metrics if metrics else available_metrics[:1]:
        reference = read_reference(against, dataset, metric, results)
        bpp, values = map(np.array, curve_to_explain.series[metric.column])
        if len(bpp) > MAX_POINTS:
            name = curve_to_explain.name
            raise UsageError(f"{name} has {len(bpp)} points: give at most {MAX_POINTS}")
        decibels = convert_to_decibels(values, reference.scale)
        differences = decibels - interpolate_rates(reference.bpp, reference.decibels, bpp)
        differences = differences[np.isfinite(differences)]
        rules = rank_rules(reference, bpp, decibels)
        difference_db = float(np.sqrt((differences**2).mean())) if differences.size else None
        if not rules or (difference_db is None and not is_explained(rules[0]["residual_db"], None)):
            raise UsageError(
                f"{curve_to_explain.name} ({bpp.min():.4g} to {bpp.max():.4g} bpp) has no rate in "
                f"common with {against}: name another reference with --against"
            )
        no_rule = {**dict.fromkeys(rules[0]), "rule": "none", "points": differences.size}
        rules.append({**no_rule, "residual_db": difference_db})
        records += ({"metric": metric.column, **rule} for rule in rules)
        tolerance = SAME_RATE + rounding_shares(bpp)[:, None]
        is_setting = match_settings(reference.bpp, bpp[:, None], tolerance)
        points = f"{counted(len(bpp), 'point')}, {is_setting.sum()} at a rate of the reference"
        equal_db = SAME_DB if is_setting.all() else MAX_ERROR_DB
        verdict = _verdict(rules[0], difference_db, len(bpp), equal_db)
        sentences.append(f"{metric.column}: {points}. {verdict}")
    facts = {"curve": curve_to_explain.name, "against": against, "dataset": dataset}
    return Answer(records, COLUMNS, " ".join(sentences), (), facts)


def _verdict(rule: Record, difference_db: float | None, points: int, equal_db: float) -> str:
    if difference_db is not None and difference_db <= equal_db:
        return f"The curves differ by {difference_db:.3f} dB: there is nothing to explain."
    if not is_explained(rule["residual_db"], difference_db):
        return "None of these rules explains the difference."
    if points == 1:
        return "Any rule with a parameter fits a single point: add more points."
    remedy = RULES[(rule["cause"] or rule["rule"]).partition(":")[0]].get("do", "find out why")
    return f"The first rule has the smallest residual. If this rule applies: {remedy}."


def _describe_rule(name: str | None) -> str:
    rule, _, detail = (name or "").partition(":")
    return str(RULES[rule]["is"]).format(detail) if rule else ""


def _describe_cause(rule: Record) -> str:
    return _describe_rule(rule["cause"] if rule["unit"] else "")


COLUMNS = (
    Column("metric"),
    Column("rule", lambda rule: _describe_rule(rule["rule"])),
    Column("likely cause", _describe_cause),
    Column("parameter", lambda rule: rule if rule["unit"] else None,
           lambda rule: f"{rule['parameter']:.4g} {rule['unit']}"),
    Column("points", "points", "d"),
    Column("residual (dB)", "residual_db", ".3f"),
)  # fmt: skip
