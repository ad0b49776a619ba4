"""Print the table of results on Kodak in the README, and the one of other metrics, from the rows.

python -m tools.results_table; tests/commands/test_documentation.py compares pages with it. The
other metrics, and the sentences on what decides places, are in docs/experiments/metrics.md.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

import benchmark
from baselines.crdr import SEARCH_STEPS
from benchmark.api.rows import source_of
from benchmark.compare.anchor import read_compared
from benchmark.compare.bd import compare
from benchmark.compare.rule import USUAL_RULE
from benchmark.facts import facts_of
from benchmark.metrics.metric import Metric
from benchmark.spec import parse_codec
from benchmark.system.text import listed

KODAK = Path(__file__).parents[1] / "results" / "kodak"
ANCHOR = "vtm"
CODECS = {  # label in the rows -> what the README calls it
    "vtm": "VTM 23.13 (VVC)",
    "vvenc": "VVenC (VVC), fast, 4:2:0",
    "avif:speed=2": "AVIF (libaom, speed 2)",
    "ours:beta=0:effort=1": "**CRDR** (`ours`), beta 0, encoder search",
    "x265": "x265 (HEVC)",
    "ours:beta=0": "**CRDR** (`ours`), beta 0",
    "ours:beta=3.84": "**CRDR** (`ours`), beta 3.84",
    "webp": "WebP, 4:2:0",
    "jpegxl": "JPEG XL",
    "jpeg:optimize=1": "JPEG, optimised, 4:2:0",
}
LPIPS = "lpips_squeeze"
AT = "bpp=0.3"
HEADS = (
    *("PSNR (%)", "LPIPS (%)", "LPIPS at 0.3 bpp"),
    *("kMAC per pixel", "s per megapixel at 0.3 bpp"),
)
OTHERS = {  # metric -> what the page calls it
    "psnr_y": "PSNR of luma",
    "ssimulacra2": "SSIMULACRA 2",
    "vmaf": "VMAF",
    "cvvdp": "CVVDP",
    "vif": "VIF",
    "fsim": "FSIM",
    "iw_ssim": "IW-SSIM (dB)",
    "nlpd": "NLPD",
    "psnr_hvs_m": "PSNR-HVS-M",
}
SEARCH = 1  # effort of the encoder search in the table
BOXED = "avif:speed=2"  # whose files have a container
LEAST_OVERLAP = 0.5  # of two curves, below which docs/protocol.md marks a BD-rate


def lines(kodak: Path) -> Iterator[str]:
    """Yield the lines of the table, best PSNR first.

    Columns: BD-rates against VTM with 95 % intervals, LPIPS of the mean curve at one rate, work of
    encoder and decoder, typical seconds of both on one core. kodak: results with the bundled rows.
    """
    rows = _rows(kodak)
    rates = [bd_rates(rows, ANCHOR, metric) for metric in ("psnr", LPIPS)]
    # All images have as many pixels, so that the rate of the set is the mean rate.
    ranked = benchmark.rank(rows, AT, metrics=LPIPS, budget="set").set_index("codec")
    yield f"| Kodak, 24 images | {' | '.join(HEADS)} |"
    yield f"|---|{'--:|' * len(HEADS)}"
    for label, name in CODECS.items():
        at_rate = ranked.loc[label]
        cells = [
            *(rate[label] for rate in rates),
            _shown(at_rate[LPIPS], ".3f"),
            _shown(facts_of(parse_codec(label)).kmac or math.nan, ",.0f"),
            _seconds(at_rate["typical_seconds_per_megapixel"]),
        ]
        yield f"| {name} | {' | '.join(cells)} |"


def other_metrics(kodak: Path) -> Iterator[str]:
    """Yield the lines of the table of BD-rates in other metrics; x: the curves cross."""
    rows = _rows(kodak)
    yield f"| codec | {' | '.join(OTHERS.values())} |"
    yield f"|---|{'--:|' * len(OTHERS)}"
    rates = [bd_rates(rows, ANCHOR, metric) for metric in OTHERS]
    crossing = [crossings(rows, ANCHOR, metric) for metric in OTHERS]
    for label, name in list(CODECS.items())[1:]:
        cells = [
            rate[label].split(" ")[0] + " x" * (label in cross)
            for rate, cross in zip(rates, crossing, strict=True)
        ]
        yield f"| {name.replace('**', '')} | {' | '.join(cells)} |"


def note(kodak: Path) -> str:
    """Return the sentences on what decides places in both tables."""
    rows = benchmark.load(kodak, details=True)
    rows = rows[rows["codec"].isin([ANCHOR, BOXED])]
    bare = rows["num_bytes"] - rows["container_bytes"].fillna(0)
    boxes = rows["container_bytes"][rows["codec"] == BOXED].dropna().unique()
    psnr, lpips = (
        bd_rates(rows.assign(num_bytes=bare), ANCHOR, metric)[BOXED].split(" ")[0]
        for metric in ("psnr", LPIPS)
    )
    every = _rows(kodak)
    pairs, of_avif = (bd_rates(every, anchor, "psnr") for anchor in ("vvenc", BOXED))
    search = f"ours:beta=0:effort={SEARCH}"
    psnr_cross, lpips_cross = (
        listed([CODECS[label].replace("**", "") for label in crossings(every, ANCHOR, metric)])
        for metric in ("psnr", LPIPS)
    )
    return (
        f"AVIF's {boxes[0]:.0f} container bytes are counted; without them: {psnr} % (PSNR), "
        f"{lpips} % (LPIPS). VTM, VVenC and x265 are bare streams. In pairs, by PSNR: AVIF "
        f"{pairs[BOXED]} against VVenC, the search {pairs[search]} against VVenC and "
        f"{of_avif[search]} against AVIF. The search takes {SEARCH_STEPS[SEARCH]} steps an image. "
        "These curves cross VTM's by more than 1 % of the bits: "
        f"by PSNR {psnr_cross or 'none'}; by LPIPS {lpips_cross}."
    )


def crossings(rows: pd.DataFrame, anchor: str, metric: str) -> list[str]:
    """Return the labels of the codecs whose curves cross the anchor's."""
    summary = read_compared(source_of(rows), "all", (metric,)).summary
    (reference,) = (edition for edition, label in summary.labels.items() if label == anchor)
    compared = compare(summary, [Metric.named(metric)], reference, USUAL_RULE)
    return [record["codec"] for record in compared.values() if record["crossing"] is not None]


def _rows(kodak: Path) -> pd.DataFrame:
    rows = benchmark.load(kodak)
    return rows[rows["codec"].isin(CODECS)]


def bd_rates(rows: pd.DataFrame, anchor: str, metric: str) -> dict[str, str]:
    """Return BD-rates against the anchor by label, with intervals where the metric has them."""
    shown = {anchor: "0"}
    for row in benchmark.bd_rate(rows, anchor, metric).to_dict("records"):
        value, low, high = (row[f"bd_rate_{end}percent"] for end in ("", "low_", "high_"))
        mark = "†" if row["bd_rate_overlap"] < LEAST_OVERLAP else ""
        shown[row["codec"]] = bd_rate_cell(value, low, high, mark)
    return shown


def bd_rate_cell(value: float, low: float, high: float, mark: str = "") -> str:
    """Return a BD-rate (%) with the ends of its interval, which may be NaN as it may."""
    ends = "" if math.isnan(low) else f" [{low:+z.1f}, {high:+z.1f}]"
    return "–" if math.isnan(value) else f"{value:+z.1f}{mark}{ends}"


def _seconds(value: float) -> str:
    return _shown(value, ".0f" if value >= 100 else ".2g")


def _shown(value: float, form: str) -> str:
    return "–" if math.isnan(value) else format(value, form)


if __name__ == "__main__":
    print("\n".join([*lines(KODAK), "", *other_metrics(KODAK), "", note(KODAK)]))
