"""BD-rates of the field if networks of one rate see as many crops as networks of all rates.

Networks of one rate are too large to be bundled: their rows on Kodak are in results/budgets, copied
by tools/ship_results.py; the rows of one hyperprior are bundled.
"""

import math

import numpy as np
import pandas as pd

import benchmark
from benchmark.compare.interval import (
    bd_rate_interval,
    bd_rates,
    jackknife_weights,
)
from benchmark.compare.rate_quality import RateQuality
from benchmark.compare.rule import USUAL_RULE
from tools.results_table import KODAK, bd_rate_cell

ALL_CROPS = KODAK.parent / "budgets" / "results" / "kodak"
HYPERPRIOR = "hyperprior:weights=matched"
ONE_RATE = {"compressai": HYPERPRIOR, "charm": "charm", "elic": "elic"}  # codec -> label
ALL_RATES = "ivr", "ours:beta=0:size=micro", "ours:beta=3.84:size=micro", "ours:beta=0"


def all_crops_bd_rates(bundled: pd.DataFrame, labels: pd.Series) -> dict[str, str]:
    """Return PSNR BD-rates (%) against the hyperprior with all crops, by label, with intervals."""
    is_hyperprior = bundled["codec"].str.endswith("weights=matched-whole")
    all_crops = pd.concat([benchmark.load(ALL_CROPS), bundled[is_hyperprior]])
    names = all_crops["codec"].str.partition(":")[0]
    rows_by_label = {label: all_crops[names == codec] for codec, label in ONE_RATE.items()}
    rows_by_label |= {label: bundled[labels == label] for label in ALL_RATES}
    curves = {label: _curve(rows) for label, rows in rows_by_label.items()}
    anchor = curves.pop(HYPERPRIOR)
    return {HYPERPRIOR: "0", **{label: _bd_rate(anchor, curve) for label, curve in curves.items()}}


def _curve(rows: pd.DataFrame) -> RateQuality:
    # the curve over all images, then a curve without each image
    bpp, psnr = (
        rows.pivot(index="image", columns="setting_value", values=column).to_numpy(np.float64)
        for column in ("bpp", "psnr_db")
    )
    weights = jackknife_weights(len(bpp))
    return RateQuality(weights @ bpp, weights @ psnr)


def _bd_rate(anchor: RateQuality, test: RateQuality) -> str:
    low, high = bd_rate_interval(anchor, test, USUAL_RULE) or (math.nan, math.nan)
    return bd_rate_cell(bd_rates(anchor, test, USUAL_RULE)[0], low, high)
