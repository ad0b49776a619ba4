"""Print the table of results on Kodak in the README, from the bundled rows.

python tools/results_table.py; tests/commands/test_readme.py compares the README with it.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

import benchmark

KODAK = Path(__file__).parents[1] / "results" / "kodak"
CODECS = {  # label in the rows -> what the README calls it
    "jpeg:optimize=1": "JPEG, optimised",
    "bpg": "BPG",
    "avif": "AVIF",
    "vtm": "VTM (VVC)",
    "elic": "ELIC",
    "ivr": "IVR",
    "hific": "HiFiC",
    "multirealism:beta=2.56": "Multi-Realism, beta 2.56",
    "dirac:steps=100": "DIRAC, 100 steps",
    "hfd": "HFD, 20 steps",
    "ours:beta=0": "**`ours`, beta 0**",
    "ours:beta=0:effort=2": "**`ours`, beta 0, effort 2**",
    "ours:beta=3.84": "**`ours`, beta 3.84**",
}
LPIPS = "lpips_squeeze"
RATE_BPP = 0.3
LEAST_OVERLAP = 0.5  # of two curves, below which docs/protocol.md marks a BD-rate


def lines(kodak: Path) -> Iterator[str]:
    """Yield the lines of the table: BD-rates (%) with 95 % intervals, and LPIPS at one rate.

    kodak: folder of results with the bundled rows alone.
    """
    rows = benchmark.load(kodak)
    columns = [
        bd_rates(rows, "jpeg:optimize=1", "psnr"),
        bd_rates(rows, "vtm", "psnr"),
        bd_rates(rows, "jpeg:optimize=1", LPIPS),
    ]
    means = benchmark.summary(rows, metrics=LPIPS)
    heads = "PSNR, v JPEG", "PSNR, v VTM", "LPIPS, v JPEG", f"LPIPS at {RATE_BPP} bpp"
    yield f"| Kodak, 24 images | {' | '.join(heads)} |"
    yield "|---|--:|--:|--:|--:|"
    for label, name in CODECS.items():
        rates = " | ".join(column[label] for column in columns)
        yield f"| {name} | {rates} | {_at_rate(means[means['codec'] == label]):.3f} |"


def bd_rates(rows: pd.DataFrame, anchor: str, metric: str) -> dict[str, str]:
    """Return BD-rates against the anchor by label, with intervals where the metric has them."""
    found = {anchor: "0"}
    for row in benchmark.bd_rate(rows, anchor, metric).to_dict("records"):
        value, low, high = (row[f"bd_rate_{one}percent"] for one in ("", "low_", "high_"))
        mark = "†" if row["bd_rate_overlap"] < LEAST_OVERLAP else ""
        ends = "" if math.isnan(low) else f" [{low:+.1f}, {high:+.1f}]"
        found[row["codec"]] = "–" if math.isnan(value) else f"{value:+.1f}{mark}{ends}"
    return found


def _at_rate(means: pd.DataFrame) -> float:
    """Interpolate the mean of LPIPS linearly over the logarithm of the rate."""
    ordered = means.sort_values("bpp")
    inside = ordered["bpp"].min() <= RATE_BPP <= ordered["bpp"].max()
    assert inside, "no codec of the table is extrapolated"
    return float(np.interp(math.log(RATE_BPP), np.log(ordered["bpp"]), ordered[LPIPS]))


if __name__ == "__main__":
    print("\n".join(lines(KODAK)))
