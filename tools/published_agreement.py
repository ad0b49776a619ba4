"""Compare measured points with published points of the same codec, dataset and rules.

python -m tools.published_agreement [--results results] [--dataset kodak]; the exit code is 1 if the
points differ by more than known causes explain.

The published curve is interpolated at the measured points' log rates by Akima's method; where PCHIP
differs, its difference is added to the tolerance. Differences are measured minus published, in dB.
"""

from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from benchmark.answer import Column
from benchmark.codec import Float64Array
from benchmark.compare.curve import Curve, measured_curves, variant_curve
from benchmark.compare.rate_quality import MIN_POINTS
from benchmark.datasets.dataset import profile
from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric
from benchmark.published.curves import published_curves
from benchmark.published.points import PublishedPoint
from benchmark.published.registry import read_points
from benchmark.registry import DATASETS, METRICS
from benchmark.rows.edition import CATALOGUE, label_of
from benchmark.rows.stored import datasets_with_results, read_results
from benchmark.rows.summary import Summary
from benchmark.show.table import Table, plain
from benchmark.spec import parse_codec

# Two versions of an encoder differ by .02 to .04 dB (VTM 23.13), a colour conversion that truncates
# by .5 dB, and another library's chroma filter by .1 dB.
TOLERANCE_DB = 0.05
COLUMNS = ("psnr_db", "ms_ssim")  # metrics with equal rules, or with known differences


class Agreement(NamedTuple):
    """Comparison of a measured codec with a published curve under one metric."""

    label: str
    published_title: str  # of the published curve
    column: str
    num_points: int  # measured points in the range of the published curve
    mean_db: float
    largest_db: float  # the difference of largest magnitude
    largest_bpp: float  # rate of the largest difference
    verdict: Literal["agrees", "explained", "differs"]
    reason: str


class KnownDifference(NamedTuple):
    """Explained difference, measured minus published, between values of one codec in dB."""

    column: str  # column of the metric: "psnr_db"
    reason: str
    low_db: float
    high_db: float
    version: str = ""  # start of the measured codec's version; empty: any
    required_column: str = ""  # column of a metric that has to agree; empty: none


IJG = "published with the IJG's libjpeg 9d, whose chroma filter costs .1 dB; ours is libjpeg-turbo"
VTM_9 = "published with VTM 9.1; 23.13 needs up to 1.5 % fewer bits for equal MS-SSIM"
KNOWN_DIFFERENCES = {
    # Pillow 7.1.2 came with the IJG's libjpeg 9d. On Kodak, quality 10 to 90, it gives the
    # published means to seven digits, libjpeg-turbo .09 to .12 dB more (docs/experiments).
    "jpeg": (
        KnownDifference("psnr_db", IJG, 0.0, 0.12),
        KnownDifference("ms_ssim", IJG, 0.0, 0.32),
    ),
    # VTM 9.1 at QP 12 gives the published bpp to the last digit (CompressAI's issue 210), and 23.13
    # needs .4 to .8 % fewer bits for equal PSNR, .4 to 1.5 % for equal MS-SSIM: 0.05 dB, with the
    # tolerance, allow 2 % fewer bits. A wrong colour conversion would show in PSNR, which has to
    # agree; an error in MS-SSIM would show in BPG and WebP.
    "vtm": (KnownDifference("ms_ssim", VTM_9, 0.0, 0.05, "VTM 23", "psnr_db"),),
}
# Text that a codec's version contains if it has the published weights
PUBLISHED_WEIGHTS = {"ours": "5000000 steps, Open Images"}


class NotCompared(NamedTuple):
    """Reason why a measured codec is not compared with a published curve."""

    label: str
    published_title: str
    column: str
    reason: str


class Cause(NamedTuple):
    """A known difference, with its range of measured minus published, in dB."""

    reason: str
    low: Float64Array | float
    high: Float64Array | float


def rounding_db(psnr_db: Float64Array) -> Float64Array:
    """Return the loss due to rounding to 8 bits, which adds 1/12 of a level squared to the MSE.

    >>> round(float(rounding_db(np.array(40.5569))), 3)  # CompressAI states .064
    0.063
    """
    return np.asarray(10 * np.log10(1 + 10 ** (psnr_db / 10) / 255**2 / 12))


def truncation_db(psnr_db: Float64Array) -> Float64Array:
    """Return the loss due to truncation to 8 bits, which adds 1/4 more to the MSE than rounding.

    >>> truncation_db(np.array([30.0, 39.0, 55.0])).round(3)
    array([0.017, 0.135, 3.923])
    """
    mse = 255**2 / 10 ** (psnr_db / 10)
    return np.asarray(10 * np.log10(mse / np.maximum(mse - 1 / 4, 1 / 12)))


UNROUNDED = "published before rounding to 8 bits"
RULES: dict[tuple[str, str], Callable[[Float64Array], Cause]] = {  # by published rule, our rule
    ("psnr-rgb-unrounded/1", "psnr-rgb8/1"): lambda x: Cause(UNROUNDED, -rounding_db(x), 0.0),
    # rounding lowers MS-SSIM by 7e-5 to 1.1e-4 in CompressAI's tables of both protocols
    ("ms-ssim-rgb-unrounded/1", "ms-ssim-rgb8/1"): lambda x: Cause(
        UNROUNDED, -10.0 * np.log10((1 - x + 1.2e-4) / (1 - x)), 0.0
    ),
    ("psnr-rgb8-truncated/1", "psnr-rgb8/1"): lambda x: Cause(
        "published for pictures truncated to 8 bits", 0.0, truncation_db(x)
    ),
}


def agreements(
    summary: Summary, points: Sequence[PublishedPoint], dataset: str, metrics: Sequence[Metric]
) -> list[Agreement | NotCompared]:
    """Compare every measured codec with its published curves on a dataset, by metric."""
    result: list[Agreement | NotCompared] = []
    # Columns in which a codec and a published curve agree
    agreeing_columns: dict[tuple[str, str], set[str]] = {}
    specs = {edition.spec for edition in summary.editions}
    editions = [
        edition
        for edition in CATALOGUE
        if edition.spec in specs and edition.facts.published and not edition.facts.budget
    ]
    # PSNR first: causes of other differences may depend on its agreement
    for metric in sorted(metrics, key=lambda metric: metric.column != "psnr_db"):
        published_for_metric = published_curves(points, dataset, metric)
        curves = measured_curves(summary, metric)
        for edition, curve in product(editions, published_for_metric):
            if curve.edition.facts.published[0] == edition.facts.published[0]:
                label = label_of(edition.spec)
                measured_curve = variant_curve(curves, edition.spec)
                columns = agreeing_columns.setdefault((label, curve.title), set())
                result.append(_compare(summary, label, measured_curve, metric, curve, columns))
                if getattr(result[-1], "verdict", "") == "agrees":
                    columns.add(metric.column)
    return result


def _compare(
    summary: Summary,
    label: str,
    measured_curve: Curve | None,
    metric: Metric,
    curve: Curve,
    agreeing_columns: set[str],
) -> Agreement | NotCompared:
    editions = [point.edition for point in summary.points if label_of(point.edition.spec) == label]
    codec = parse_codec(label).name
    weights = PUBLISHED_WEIGHTS.get(codec, "")
    published_rule, our_rule = rules = curve.protocol, summary.protocols[metric.column]
    has_known_rules = published_rule == our_rule or rules in RULES
    caveats = next(
        (edition.run_facts.caveats for edition in editions if edition.run_facts.caveats), ()
    )
    refusals = {
        f"measured with {', '.join(caveats)}": bool(caveats),
        "measured with other weights": any(
            weights not in edition.run_facts.version for edition in editions
        ),
        f"{published_rule} is a different rule from {our_rule}": not has_known_rules,
        f"{len(curve.points)} published points are too few": len(curve.points) < MIN_POINTS,
        "no point was measured on all images": measured_curve is None,
        "measured and published means are over different images": measured_curve
        and measured_curve.points[0].images != curve.points[0].images,
    }
    key = label, curve.title, metric.column
    reason = next((reason for reason, applies in refusals.items() if applies), "")
    if measured_curve is None or reason:
        return NotCompared(*key, reason)
    bpp, plotted_values = map(np.array, curve.plotted)
    rates, measured_values = map(np.array, measured_curve.plotted)
    is_in_range = (rates >= bpp[0]) & (rates <= bpp[-1])
    if not is_in_range.any():
        return NotCompared(*key, "no measured rate is in the range of the published curve")
    from scipy.interpolate import Akima1DInterpolator, PchipInterpolator

    measured_log_rates, log_rates = np.log10(rates[is_in_range]), np.log10(bpp)
    akima = Akima1DInterpolator(log_rates, plotted_values)(measured_log_rates)
    differences_db = measured_values[is_in_range] - akima
    reading_error_db = max((point.value_error or 0.0 for point in curve.points), default=0.0)
    tolerance_db = (
        TOLERANCE_DB
        + reading_error_db
        + np.abs(PchipInterpolator(log_rates, plotted_values)(measured_log_rates) - akima)
    )
    published_values = np.interp(
        measured_log_rates, log_rates, [point.value for point in curve.points]
    )
    causes = [RULES[rules](published_values)] if rules in RULES else []
    causes += [
        Cause(difference.reason, difference.low_db, difference.high_db)
        for difference in KNOWN_DIFFERENCES.get(codec, ())
        if difference.column == metric.column
        and all(edition.run_facts.version.startswith(difference.version) for edition in editions)
        and (not difference.required_column or difference.required_column in agreeing_columns)
    ]
    low = sum((cause.low for cause in causes), np.zeros(len(differences_db))) - tolerance_db
    high = sum((cause.high for cause in causes), np.zeros(len(differences_db))) + tolerance_db
    index = int(np.abs(differences_db).argmax())
    mean_db, largest_db = float(differences_db.mean()), float(differences_db[index])
    numbers = len(differences_db), mean_db, largest_db, float(rates[is_in_range][index])
    result = Agreement(*key, *numbers, "agrees", "")
    if (np.abs(differences_db) <= tolerance_db).all():
        return result
    if ((differences_db >= low) & (differences_db <= high)).all():
        reason = "; ".join(cause.reason for cause in causes)
        return result._replace(verdict="explained", reason=reason)
    reason = f"known causes explain only {low.min():+z.2f} to {high.max():+z.2f} dB"
    return result._replace(verdict="differs", reason=reason)


AGREEMENT = (
    Column("dataset"),
    Column("codec", "label"),
    Column("published", "published_title"),
    Column("metric", "column"),
    Column("verdict"),
    Column("points", "num_points", "d"),
    Column("mean difference (dB)", "mean_db", "+z.3f"),
    Column("largest difference (dB)", "largest_db", "+z.3f"),
    Column("its rate (bpp)", "largest_bpp", ".3f"),
)


def check_published(results: Path, dataset: str) -> tuple[Table, bool]:
    """Compare measured with published points; return the table, and whether any point differs.

    dataset: a dataset with results, or "all". Raises `UsageError` if nothing can be compared.
    """
    metrics = {name: Metric.named(name) for name in METRICS}
    metrics = {name: metric for name, metric in metrics.items() if metric.column in COLUMNS}
    points = read_points(results)
    rows, notes, any_differs = [], [], False
    for name in datasets_with_results(results, dataset):
        image_count = profile(name).published_images
        if image_count is None:
            continue
        summary = read_results(results, name, "all", [*metrics], bundled="all").summary
        if summary.images != image_count:
            notes.append(f"not compared: {name}: {summary.images} of its {image_count} images")
            continue
        for agreement in agreements(summary, points, name, [*metrics.values()]):
            sentence = f"{agreement.label}, {agreement.column}, {name}: {agreement.reason}"
            if isinstance(agreement, NotCompared):
                notes.append(f"not compared: {sentence}")
                continue
            any_differs |= agreement.verdict == "differs"
            rows.append({"dataset": name, **agreement._asdict()})
            if agreement.reason:
                notes.append(f"{agreement.verdict}: {sentence}")
    if not rows and not notes:
        names = ", ".join(name for name in DATASETS if profile(name).published_images)
        text = names if dataset == "all" else f"{dataset}: give another --dataset"
        raise UsageError(
            f"nothing to compare: {results} has no rows of a codec with published means for {text}"
        )
    rule = f"Measured minus published at equal rate; up to {TOLERANCE_DB:g} dB count as agreement."
    return Table.create(AGREEMENT, rows, (rule, *notes)), any_differs


def main(command_line: Sequence[str] | None = None) -> int:
    """Print the table; return the exit code."""
    parser = ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--dataset", default="all")
    arguments = parser.parse_args(command_line)
    table, any_differs = check_published(arguments.results, arguments.dataset)
    print(plain(table), end="")
    return int(any_differs)


if __name__ == "__main__":
    raise SystemExit(main())
