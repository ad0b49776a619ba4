"""BD-rates of the methods of `tools.field_table` if each network is trained on as many crops.

Single-rate networks then see as many crops as networks of all rates. They are too large to be
bundled: tools/ship_results.py copied their rows on Kodak to results/budgets.
"""

import math

import numpy as np
import pandas as pd

import benchmark
from benchmark.compare.interval import bd_rate_interval, bd_rates, jackknife_weights
from benchmark.compare.rate_quality import RateQuality
from benchmark.compare.rule import USUAL_RULE
from tools.results_table import KODAK, bd_rate_cell

ALL_CROPS = KODAK.parent / "budgets" / "results" / "kodak"
HYPERPRIOR = "hyperprior:weights=matched"
# Methods with a network for each rate (codec -> label), and labels of methods with one network.
ONE_RATE = {"compressai": HYPERPRIOR, "charm": "charm", "elic": "elic"}
ALL_RATES = "ivr", "ours:beta=0:size=micro", "ours:beta=3.84:size=micro", "ours:beta=0"


def all_crops_bd_rates(bundled: pd.DataFrame, labels: pd.Series) -> dict[str, str]:
    """Return PSNR BD-rates (%) with intervals, by label, against the hyperprior on all crops."""
    is_hyperprior = bundled["codec"].str.endswith("weights=matched-whole")
    all_crops = pd.concat([benchmark.load(ALL_CROPS), bundled[is_hyperprior]])
    names = all_crops["codec"].str.partition(":")[0]
    rows_by_label = {label: all_crops[names == codec] for codec, label in ONE_RATE.items()}
    rows_by_label |= {label: bundled[labels == label] for label in ALL_RATES}
    curves = {label: _curve(rows) for label, rows in rows_by_label.items()}
    anchor = curves.pop(HYPERPRIOR)
    return {HYPERPRIOR: "0", **{label: _bd_rate(anchor, curve) for label, curve in curves.items()}}


def _curve(rows: pd.DataFrame) -> RateQuality:
    # the curve over all images, then the curves that each leave out one image
    bpp, psnr = (
        rows.pivot(index="image", columns="setting_value", values=column).to_numpy(np.float64)
        for column in ("bpp", "psnr_db")
    )
    weights = jackknife_weights(len(bpp))
    return RateQuality(weights @ bpp, weights @ psnr)


def _bd_rate(anchor: RateQuality, test: RateQuality) -> str:
    low, high = bd_rate_interval(anchor, test, USUAL_RULE) or (math.nan, math.nan)
    return bd_rate_cell(bd_rates(anchor, test, USUAL_RULE)[0], low, high)
