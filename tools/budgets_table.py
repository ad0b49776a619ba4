"""Print the table "equal crops per network" of docs/field.md from rows on Kodak.

    python -m tools.budgets_table

Networks of one rate that saw all crops are not bundled, for their size: their rows are, in
results/budgets, copied by tools/ship_results.py; the hyperprior's are among the bundled ones.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

import benchmark
from benchmark.analysis.interval import percentile_interval, set_and_draws
from benchmark.analysis.rate_distortion import interpolated
from benchmark.analysis.systems import label_of
from benchmark.codec import Float64Array
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

Point = tuple[Float64Array, Float64Array]  # bits per pixel and PSNR (dB) of each image


def lines() -> Iterator[str]:
    """Yield the lines of the table: percent of the bits of a network, at its PSNR, by others.

    Rates are interpolated as BD-rates are; intervals are of the reports' bootstrap over images.
    """
    bundled, others = benchmark.load(KODAK), benchmark.load(WHOLE)
    curves = _curves(bundled)
    whole: dict[str, dict[float, Point]] = {codec: {} for codec in OWN}
    whole["compressai"] = {3.0: curves[f"{HYPERPRIOR}-whole"][3.0]}
    for (codec, variant), rows in others.groupby(["codec", "variant"]):
        whole[codec] |= _curves(rows)[label_of(codec, variant)]
    heads = "bpp, dB", "with a fifth of the crops", *OTHERS.values()
    yield f"| equal crops per network ({CROPS:,}) | {' | '.join(heads)} |"
    yield "|---|---|" + "--:|" * (len(heads) - 1)
    for codec, name in OWN.items():
        fifth = HYPERPRIOR if codec == "compressai" else codec
        for level, (bpp, psnr) in sorted(whole[codec].items()):
            cells = [_percent((bpp, psnr), curves[label]) for label in (fifth, *OTHERS)]
            mean = f"{bpp.mean():.3f}".removeprefix("0")
            start = f"| {name} {level:g} | {mean}, {psnr.mean():.2f}"
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
    """Return the percent by which a curve takes more bits than a point, with its interval.

    A dash where the curve does not reach the point's PSNR, on all images or a draw of them.
    """
    weights = set_and_draws(len(point[0]))
    bpp, psnr = (weights @ column for column in point)
    rates, qualities = (
        weights @ np.stack(columns, 1) for columns in zip(*curve.values(), strict=True)
    )
    order = np.argsort(qualities[0])
    log_rate = interpolated(qualities[:, order], np.log10(rates[:, order]), psnr)
    percent = 100 * (10**log_rate / bpp - 1)
    if not np.isfinite(percent).all():
        return "–"
    low, high = percentile_interval(percent[1:])
    return f"{percent[0]:+.1f} [{low:+.1f}, {high:+.1f}]"


if __name__ == "__main__":
    print("\n".join(lines()))
