"""Compare measured points with published ones of the same codec, dataset and rules.

python -m tools.published_agreement [--results results] [--dataset kodak]; exit code 1 where they
differ by more than anything known explains.

The published curve is interpolated at measured rates, over their logarithm: by Akima's method, and
by PCHIP, whose difference is a tolerance. Differences are measured minus published, in dB.
"""

from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from benchmark.answer import Column
from benchmark.codec import Float64Array
from benchmark.compare.curves import LEAST_POINTS
from benchmark.compare.system_curve import SystemCurve, measured_curves, of_variant
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

# dB, as two versions of one encoder differ (VTM 23.13 by .02 to .04); truncating where colours are
# converted costs .5 dB, another library's chroma filter .1.
TOLERANCE_DB = 0.05
COLUMNS = ("psnr_db", "ms_ssim")  # of the same rules, or of rules whose difference is known


class Agreement(NamedTuple):
    """Comparison of a measured codec with a published curve under one metric."""

    label: str
    published: str
    column: str
    points: int  # measured ones that the published curve reaches
    mean_db: float
    largest_db: float  # in magnitude, with its sign
    at_bpp: float  # where that is
    verdict: Literal["agrees", "explained", "differs"]
    why: str


class KnownDifference(NamedTuple):
    """Explained difference, measured minus published, between values of one codec in dB."""

    column: str  # of the metric: "psnr_db"
    why: str
    low_db: float
    high_db: float
    version: str = ""  # beginning of the measured codec's version; empty: any
    beside: str = ""  # column of a metric that has to agree; empty: none


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
    # needs .4 to .8 % fewer bits for equal PSNR, .4 to 1.5 % for equal MS-SSIM: band and tolerance
    # are 2 %. An error of the conversion shows in PSNR, which has to agree; one of MS-SSIM in BPG
    # and WebP.
    "vtm": (KnownDifference("ms_ssim", VTM_9, 0.0, 0.05, "VTM 23", "psnr_db"),),
}
# Part of the version of a codec whose weights are the published ones.
PUBLISHED_WEIGHTS = {"ours": "5000000 steps, Open Images"}


class NotCompared(NamedTuple):
    """Reason why a measured codec is not compared with a published curve."""

    label: str
    published: str
    column: str
    why: str


class Cause(NamedTuple):
    """A known difference, and the range of measured minus published that it explains, in dB."""

    why: str
    low: Float64Array | float
    high: Float64Array | float


def rounding_db(psnr_db: Float64Array) -> Float64Array:
    """Return the loss by rounding to 8 bits, which adds 1/12 of a level squared to the MSE.

    >>> round(float(rounding_db(np.array(40.5569))), 3)  # CompressAI states .064
    0.063
    """
    return np.asarray(10 * np.log10(1 + 10 ** (psnr_db / 10) / 255**2 / 12))


def truncation_db(psnr_db: Float64Array) -> Float64Array:
    """Return the loss by truncation to 8 bits, which adds 1/3 to the MSE, 1/4 more than rounding.

    >>> truncation_db(np.array([30.0, 39.0, 55.0])).round(3)
    array([0.017, 0.135, 3.923])
    """
    mse = 255**2 / 10 ** (psnr_db / 10)
    return np.asarray(10 * np.log10(mse / np.maximum(mse - 1 / 4, 1 / 12)))


UNROUNDED = "published before rounding to 8 bits"
RULES: dict[tuple[str, str], Callable[[Float64Array], Cause]] = {  # by published rule and ours
    ("psnr-rgb-unrounded/1", "psnr-rgb8/1"): lambda x: Cause(UNROUNDED, -rounding_db(x), 0.0),
    # rounding costs MS-SSIM 7e-5 to 1.1e-4 in CompressAI's own tables of both
    ("ms-ssim-rgb-unrounded/1", "ms-ssim-rgb8/1"): lambda x: Cause(
        UNROUNDED, -10.0 * np.log10((1 - x + 1.2e-4) / (1 - x)), 0.0
    ),
    ("psnr-rgb8-truncated/1", "psnr-rgb8/1"): lambda x: Cause(
        "published of pictures truncated to 8 bits", 0.0, truncation_db(x)
    ),
}


def agreements(
    summary: Summary, points: Sequence[PublishedPoint], dataset: str, metrics: Sequence[Metric]
) -> list[Agreement | NotCompared]:
    """Compare every measured codec with its published counterpart on a dataset, by metric.

    PSNR comes first, since causes of other differences may depend on its agreement.
    """
    result: list[Agreement | NotCompared] = []
    agreed: dict[tuple[str, str], set[str]] = {}  # metrics, by codec and published curve
    there = {edition.spec for edition in summary.editions}
    known_here = (edition for edition in CATALOGUE if edition.spec in there)
    own = [of for of in known_here if of.facts.published and not of.facts.budget]
    for metric in sorted(metrics, key=lambda metric: metric.column != "psnr_db"):
        published = published_curves(points, dataset, metric)
        measured = measured_curves(summary, metric)
        for edition, curve in product(own, published):
            if curve.edition.facts.published[0] == edition.facts.published[0]:
                label, mine = label_of(edition.spec), of_variant(measured, edition.spec)
                known = agreed.setdefault((label, curve.title), set())
                result.append(_compare(summary, label, mine, metric, curve, known))
                if getattr(result[-1], "verdict", "") == "agrees":
                    known.add(metric.column)
    return result


def _compare(
    summary: Summary,
    label: str,
    mine: SystemCurve | None,
    metric: Metric,
    curve: SystemCurve,
    agreed: set[str],
) -> Agreement | NotCompared:
    """Compare a codec with a published curve. agreed: metrics in which the two agree."""
    editions = [point.edition for point in summary.points if label_of(point.edition.spec) == label]
    codec = parse_codec(label).name
    weights = PUBLISHED_WEIGHTS.get(codec, "")
    theirs, ours = rules = curve.protocol, summary.protocols[metric.column]
    caveats = next((edition.ran.caveats for edition in editions if edition.ran.caveats), ())
    refusals = {
        f"ours are {', '.join(caveats)}": bool(caveats),
        "ours are other weights": any(weights not in edition.ran.version for edition in editions),
        f"{theirs} is another rule than {ours}": theirs != ours and rules not in RULES,
        f"{len(curve.points)} published points are too few": len(curve.points) < LEAST_POINTS,
        "no complete point is measured": mine is None,
        "ours are over other images": mine and mine.points[0].images != curve.points[0].images,
    }
    key = label, curve.title, metric.column
    why = next((why for why, applies in refusals.items() if applies), "")
    if mine is None or why:
        return NotCompared(*key, why)
    bpp, places = map(np.array, curve.plotted)
    rates, values = map(np.array, mine.plotted)
    inside = (rates >= bpp[0]) & (rates <= bpp[-1])
    if not inside.any():
        return NotCompared(*key, "no rate in common")
    from scipy.interpolate import Akima1DInterpolator, PchipInterpolator

    at, x = np.log10(rates[inside]), np.log10(bpp)
    akima = Akima1DInterpolator(x, places)(at)
    difference = values[inside] - akima
    reading = max((point.value_error or 0.0 for point in curve.points), default=0.0)
    slack = TOLERANCE_DB + reading + np.abs(PchipInterpolator(x, places)(at) - akima)
    raw = np.interp(at, x, [point.value for point in curve.points])
    causes = [RULES[rules](raw)] if rules in RULES else []
    causes += [
        Cause(known.why, known.low_db, known.high_db)
        for known in KNOWN_DIFFERENCES.get(codec, ())
        if known.column == metric.column
        and all(edition.ran.version.startswith(known.version) for edition in editions)
        and (not known.beside or known.beside in agreed)
    ]
    low = sum((cause.low for cause in causes), np.zeros(len(at))) - slack
    high = sum((cause.high for cause in causes), np.zeros(len(at))) + slack
    worst = int(np.abs(difference).argmax())
    numbers = float(difference.mean()), float(difference[worst]), float(rates[inside][worst])
    result = Agreement(*key, len(at), *numbers, "agrees", "")
    if (np.abs(difference) <= slack).all():
        return result
    if ((difference >= low) & (difference <= high)).all():
        return result._replace(verdict="explained", why="; ".join(cause.why for cause in causes))
    why = f"no known difference makes more than {low.min():+z.2f} to {high.max():+z.2f} dB"
    return result._replace(verdict="differs", why=why)


AGREEMENT = (
    Column("dataset"),
    Column("codec", "label"),
    Column("published"),
    Column("metric", "column"),
    Column("verdict"),
    Column("points", form="d"),
    Column("mean (dB)", "mean_db", "+z.3f"),
    Column("largest (dB)", "largest_db", "+z.3f"),
    Column("at bpp", "at_bpp", ".3f"),
)


def check_published(results: Path, dataset: str) -> tuple[Table, bool]:
    """Compare measured points with published ones of the same codec, dataset and rules.

    Return the comparisons, and whether any differs by more than what is known explains. dataset:
    one that has results, or "all". Raises `UsageError` where nothing can be compared.
    """
    metrics = {name: Metric.named(name) for name in METRICS}
    metrics = {name: metric for name, metric in metrics.items() if metric.column in COLUMNS}
    points = read_points(results)
    rows, notes, differs = [], [], False
    for name in datasets_with_results(results, dataset):
        wanted = profile(name).published_images
        if wanted is None:
            continue
        summary = read_results(results, name, "all", [*metrics], bundled="all").summary
        if summary.images != wanted:
            notes.append(f"not compared: {name}: {summary.images} of its {wanted} images")
            continue
        for agreement in agreements(summary, points, name, [*metrics.values()]):
            what = f"{agreement.label}, {agreement.column}, {name}: {agreement.why}"
            if isinstance(agreement, NotCompared):
                notes.append(f"not compared: {what}")
                continue
            differs |= agreement.verdict == "differs"
            rows.append({"dataset": name, **agreement._asdict()})
            if agreement.why:
                notes.append(f"{agreement.verdict}: {what}")
    if not rows and not notes:
        known = ", ".join(name for name in DATASETS if profile(name).published_images)
        of = known if dataset == "all" else f"{dataset}: name another --dataset"
        raise UsageError(
            f"nothing to compare: {results} has no rows of a codec with published means of {of}"
        )
    rule = f"Measured minus published at equal rate; up to {TOLERANCE_DB:g} dB agrees."
    return Table.of(AGREEMENT, rows, (rule, *notes)), differs


def main(words: Sequence[str] | None = None) -> int:
    """Print the table; return the exit code."""
    parser = ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--dataset", default="all")
    asked = parser.parse_args(words)
    table, differs = check_published(asked.results, asked.dataset)
    print(plain(table), end="")
    return int(differs)


if __name__ == "__main__":
    raise SystemExit(main())
