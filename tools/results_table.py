"""Print the table of results on Kodak in the README and its note, from the bundled rows.

python -m tools.results_table; tests/commands/test_documentation.py compares the README with it.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

import benchmark
from baselines.facts import SEARCH_STEPS
from benchmark.facts import facts_of
from benchmark.rows.systems import label_of
from benchmark.spec import parse_codec

KODAK = Path(__file__).parents[1] / "results" / "kodak"
ANCHOR = "vtm"
CODECS = {  # label in the rows -> what the README calls it
    "vtm": "VTM 23.13 (VVC)",
    "vvenc": "VVenC (VVC), fast",
    "avif:speed=2": "AVIF (libaom, speed 2)",
    "ours:beta=0:effort=1": "**CRDR** (`ours`), beta 0, encoder search",
    "x265": "x265 (HEVC)",
    "ours:beta=0": "**CRDR** (`ours`), beta 0",
    "ours:beta=3.84": "**CRDR** (`ours`), beta 3.84",
    "webp": "WebP",
    "jpegxl": "JPEG XL",
    "jpeg:optimize=1": "JPEG, optimised",
}
LPIPS = "lpips_squeeze"
AT = "bpp=0.3"
HEADS = (
    *("PSNR (%)", "PSNR of luma (%)", "LPIPS (%)", "LPIPS at 0.3 bpp"),
    *("kMAC per pixel", "s per megapixel"),
)
SEARCH = 1  # effort of the encoder search in the table
BOXED = "avif:speed=2"  # whose files have a container
LEAST_OVERLAP = 0.5  # of two curves, below which docs/protocol.md marks a BD-rate


def lines(kodak: Path) -> Iterator[str]:
    """Yield the lines of the table, best PSNR first.

    Columns: BD-rates against VTM with 95 % intervals, LPIPS at one rate, work of encoder and
    decoder, typical seconds of both on one core. kodak: folder of results with the bundled rows.
    """
    rows = benchmark.load(kodak)
    labels = map(label_of, rows["codec"], rows["variant"])
    rows = rows[[label in CODECS for label in labels]]
    rates = [bd_rates(rows, ANCHOR, metric) for metric in ("psnr", "psnr_y", LPIPS)]
    ranked = benchmark.rank(rows, AT, metrics=LPIPS).set_index("codec")
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


def note(kodak: Path) -> str:
    """Return the sentences below the table on what decides places in it."""
    rows = benchmark.load(kodak, details=True)
    rows = rows[rows["codec"].isin([label.partition(":")[0] for label in (ANCHOR, BOXED)])]
    bare = rows["num_bytes"] - rows["container_bytes"].fillna(0)
    boxes = rows["container_bytes"][rows["codec"] == BOXED.partition(":")[0]].dropna().unique()
    psnr, lpips = (
        bd_rates(rows.assign(num_bytes=bare), ANCHOR, metric)[BOXED].split(" ")[0]
        for metric in ("psnr", LPIPS)
    )
    return (
        f"AVIF without the {boxes[0]:.0f} bytes of its container has {psnr} and {lpips}; VTM, "
        f"VVenC and x265 are bare streams. The search takes {SEARCH_STEPS[SEARCH]} steps an image."
    )


def bd_rates(rows: pd.DataFrame, anchor: str, metric: str) -> dict[str, str]:
    """Return BD-rates against the anchor by label, with intervals where the metric has them."""
    shown = {anchor: "0"}
    for row in benchmark.bd_rate(rows, anchor, metric).to_dict("records"):
        value, low, high = (row[f"bd_rate_{end}percent"] for end in ("", "low_", "high_"))
        mark = "†" if row["bd_rate_overlap"] < LEAST_OVERLAP else ""
        mark += " (3 points)" if row["three_points"] else ""
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
    print("\n".join([*lines(KODAK), "", note(KODAK)]))
