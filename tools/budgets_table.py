"""Print the table "equal crops per network" of docs/field.md from rows on Kodak.

    python -m tools.budgets_table

Networks of one rate that saw all crops are not bundled, for their size: their rows are, in
results/budgets, copied by tools/ship_results.py; the hyperprior's are among the bundled ones.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from scipy.interpolate import PchipInterpolator

import benchmark
from benchmark.analysis.systems import label_of
from benchmark.codec import Float64Array, Int64Array
from tools.results_table import KODAK

WHOLE = KODAK.parent / "budgets" / "results" / "kodak"
CROPS = 716_800
OWN = {"compressai": "hyperprior", "charm": "Charm", "elic": "ELIC"}  # by codec
HYPERPRIOR = "hyperprior:weights=matched"
OTHERS = {  # label in the rows -> head of the column
    "ivr": "IVR",
    "ours:beta=0:size=micro": "`ours` (`micro`), beta 0 ‡",
    "elic": "ELIC, a fifth",
    "ours:beta=0": "`ours` (`mini`), beta 0",
}
DRAWS = 1000  # of images

Point = tuple[Float64Array, Float64Array]  # bits per pixel and PSNR (dB) of each image


def lines() -> Iterator[str]:
    """Yield the lines of the table: percent of the bits of a network, at its PSNR, by others.

    Rates are interpolated over the mean PSNR, monotonically and by their logarithms; 95 %
    intervals are of a bootstrap over images.
    """
    bundled, others = benchmark.load(KODAK), benchmark.load(WHOLE)
    curves = _curves(bundled)
    whole = {("compressai", 3.0): curves[f"{HYPERPRIOR}-whole"][3.0]}
    for (codec, variant), rows in others.groupby(["codec", "variant"]):
        points = _curves(rows)[label_of(codec, variant)]
        whole |= {(codec, level): point for level, point in points.items()}
    heads = "bpp, dB", "with a fifth of the crops", *OTHERS.values()
    yield f"| equal crops per network ({CROPS:,}) | {' | '.join(heads)} |"
    yield "|---|---|" + "--:|" * (len(heads) - 1)
    for (codec, level), (bpp, psnr) in whole.items():
        fifth = HYPERPRIOR if codec == "compressai" else codec
        cells = [_percent((bpp, psnr), curves[label]) for label in (fifth, *OTHERS)]
        mean = f"{bpp.mean():.3f}".removeprefix("0")
        start = f"| {OWN[codec]} {level:g} | {mean}, {psnr.mean():.2f}"
        yield f"{start} | {' | '.join(cells)} |"


def _curves(rows: pd.DataFrame) -> dict[str, dict[float, Point]]:
    """Return the points of each codec variant by its label and setting, images in one order."""
    curves: dict[str, dict[float, Point]] = {}
    labels = pd.Series(map(label_of, rows["codec"], rows["variant"]), rows.index)
    for (label, setting), of in rows.sort_values("image").groupby([labels, "setting_value"]):
        columns = of["bpp"].to_numpy(np.float64), of["psnr_db"].to_numpy(np.float64)
        curves.setdefault(label, {})[setting] = columns
    return curves


def _percent(point: Point, curve: Mapping[float, Point]) -> str:
    images = np.arange(len(point[0]))
    random = np.random.default_rng(1)
    drawn = [_more_bits(point, curve, random.choice(images, len(images))) for _ in range(DRAWS)]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return f"{_more_bits(point, curve, images):+.1f} [{low:+.1f}, {high:+.1f}]"


def _more_bits(point: Point, curve: Mapping[float, Point], images: Int64Array) -> float:
    """Return the percent by which a curve takes more bits than a point; NaN beyond its ends."""
    bpp, psnr = (column[images].mean() for column in point)
    means = [[column[images].mean() for column in of] for of in curve.values()]
    rates, qualities = np.array(sorted(means, key=lambda mean: mean[1])).T
    rate = PchipInterpolator(qualities, np.log(rates), extrapolate=False)(psnr)
    return 100 * (float(np.exp(rate)) / bpp - 1)


if __name__ == "__main__":
    print("\n".join(lines()))
