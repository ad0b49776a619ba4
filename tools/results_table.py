"""Print the README's table of results on Kodak, a table of other metrics, and a note, from rows.

Run `python -m tools.results_table`; tests/commands/test_documentation.py compares its output with
the pages. The table of other metrics and the note are in docs/experiments/metrics.md.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

import benchmark
from baselines.crdr import SEARCH_STEPS
from benchmark.api.rows import source_of
from benchmark.compare.anchor import read_with_anchor
from benchmark.compare.bd import compare
from benchmark.compare.rule import USUAL_RULE
from benchmark.facts import facts_of
from benchmark.metrics.metric import Metric
from benchmark.spec import parse_codec
from benchmark.system.text import listed

KODAK = Path(__file__).parents[1] / "results" / "kodak"
ANCHOR = "vtm"
CODECS = {  # label in the rows -> name in the README, best PSNR first
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
RANKING_TARGET = "bpp=0.3"
HEADINGS = (
    *("PSNR (%)", "LPIPS (%)", "LPIPS at 0.3 bpp"),
    *("kMAC per pixel", "s per megapixel at 0.3 bpp"),
)
OTHER_METRICS = {  # metric -> name on the page
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
SEARCH = 1  # `effort` of the encoder search in the table
CONTAINER_CODEC = "avif:speed=2"  # codec whose streams have a container
MIN_OVERLAP = 0.5  # a BD-rate of curves that overlap less is marked (docs/protocol.md)


def lines(kodak: Path) -> Iterator[str]:
    """Yield the lines of the table; kodak: folder of the bundled rows."""
    # BD-rates against VTM with 95 % intervals; LPIPS of the mean curve at a rate; kMAC and typical
    # seconds on one core, of encoder and decoder together
    rows = _rows(kodak)
    rates = [bd_rates(rows, ANCHOR, metric) for metric in ("psnr", LPIPS)]
    # since all images have the same size, the rate of the set is the mean of their rates
    ranked = benchmark.rank(rows, RANKING_TARGET, metrics=LPIPS, budget="set").set_index("codec")
    yield f"| Kodak, 24 images | {' | '.join(HEADINGS)} |"
    yield f"|---|{'--:|' * len(HEADINGS)}"
    for label, name in CODECS.items():
        ranked_row = ranked.loc[label]
        cells = [
            *(rate[label] for rate in rates),
            _format_number(ranked_row[LPIPS], ".3f"),
            _format_number(facts_of(parse_codec(label)).kmac or math.nan, ",.0f"),
            _seconds(ranked_row["typical_seconds_per_megapixel"]),
        ]
        yield f"| {name} | {' | '.join(cells)} |"


def other_metrics(kodak: Path) -> Iterator[str]:
    """Yield the lines of the table of BD-rates in other metrics; "x" marks curves that cross."""
    rows = _rows(kodak)
    yield f"| codec | {' | '.join(OTHER_METRICS.values())} |"
    yield f"|---|{'--:|' * len(OTHER_METRICS)}"
    rates = [bd_rates(rows, ANCHOR, metric) for metric in OTHER_METRICS]
    crossing_labels = [crossings(rows, ANCHOR, metric) for metric in OTHER_METRICS]
    for label, name in list(CODECS.items())[1:]:
        cells = [
            rate[label].split(" ")[0] + " x" * (label in labels)
            for rate, labels in zip(rates, crossing_labels, strict=True)
        ]
        yield f"| {name.replace('**', '')} | {' | '.join(cells)} |"


def note(kodak: Path) -> str:
    """Return the note on AVIF's container, other anchors, and crossing curves."""
    rows = benchmark.load(kodak, details=True)
    rows = rows[rows["codec"].isin([ANCHOR, CONTAINER_CODEC])]
    bare_bytes = rows["num_bytes"] - rows["container_bytes"].fillna(0)
    container_bytes = rows["container_bytes"][rows["codec"] == CONTAINER_CODEC].dropna().unique()
    psnr, lpips = (
        bd_rates(rows.assign(num_bytes=bare_bytes), ANCHOR, metric)[CONTAINER_CODEC].split(" ")[0]
        for metric in ("psnr", LPIPS)
    )
    codec_rows = _rows(kodak)
    vvenc_rates, avif_rates = (
        bd_rates(codec_rows, anchor, "psnr") for anchor in ("vvenc", CONTAINER_CODEC)
    )
    search = f"ours:beta=0:effort={SEARCH}"
    psnr_crossings, lpips_crossings = (
        listed([CODECS[label].replace("**", "") for label in crossings(codec_rows, ANCHOR, metric)])
        for metric in ("psnr", LPIPS)
    )
    return (
        f"AVIF's {container_bytes[0]:.0f} container bytes are counted; without them: {psnr} % "
        f"(PSNR), {lpips} % (LPIPS). VTM, VVenC and x265 are bare streams. BD-rates (PSNR) "
        f"between other pairs: AVIF against VVenC {vvenc_rates[CONTAINER_CODEC]}, the search "
        f"against VVenC {vvenc_rates[search]}, the search against AVIF {avif_rates[search]}. "
        f"The search takes {SEARCH_STEPS[SEARCH]} steps per image. "
        "These curves cross VTM's by more than 1 % of the bits: "
        f"by PSNR {psnr_crossings or 'none'}; by LPIPS {lpips_crossings}."
    )


def crossings(rows: pd.DataFrame, anchor: str, metric: str) -> list[str]:
    """Return the labels of the codecs whose curves cross the anchor's curve."""
    summary = read_with_anchor(source_of(rows), "all", (metric,)).summary
    (reference,) = (edition for edition, label in summary.labels.items() if label == anchor)
    comparisons = compare(summary, [Metric.named(metric)], reference, USUAL_RULE)
    return [record["codec"] for record in comparisons.values() if record["crossing"] is not None]


def _rows(kodak: Path) -> pd.DataFrame:
    rows = benchmark.load(kodak, details=True)
    return rows[rows["codec"].isin(CODECS)]


def bd_rates(rows: pd.DataFrame, anchor: str, metric: str) -> dict[str, str]:
    """Return texts of BD-rates (%) against the anchor, with intervals if available, by label."""
    cells = {anchor: "0"}
    for row in benchmark.bd_rate(rows, anchor, metric).to_dict("records"):
        value, low, high = (row[f"bd_rate_{end}percent"] for end in ("", "low_", "high_"))
        mark = "†" if row["bd_rate_overlap"] < MIN_OVERLAP else ""
        cells[row["codec"]] = bd_rate_cell(value, low, high, mark)
    return cells


def bd_rate_cell(value: float, low: float, high: float, mark: str = "") -> str:
    """Format a BD-rate (%) and its interval; any may be NaN."""
    ends = "" if math.isnan(low) else f" [{low:+z.1f}, {high:+z.1f}]"
    return "–" if math.isnan(value) else f"{value:+z.1f}{mark}{ends}"


def _seconds(value: float) -> str:
    return _format_number(value, ".0f" if value >= 100 else ".2g")


def _format_number(value: float, format_spec: str) -> str:
    return "–" if math.isnan(value) else format(value, format_spec)


if __name__ == "__main__":
    print("\n".join([*lines(KODAK), "", *other_metrics(KODAK), "", note(KODAK)]))
