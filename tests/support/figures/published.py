"""Published numbers, the paper's metrics, and panels and plots of both, for tests of figures."""

import json
from itertools import product

from benchmark.compare.curve import measured_curves, share_marks
from benchmark.compare.realism_sweep import PlotAtRate, realism_sweeps
from benchmark.compare.rule import USUAL_RULE
from benchmark.metrics.metric import Metric
from benchmark.published.curves import overlay, paper_curves, published_curves
from benchmark.published.points import select
from benchmark.published.registry import read_points
from benchmark.rows.edition import GROUPED, Edition
from benchmark.show.figures.choice import pick_curves, rename_curves
from benchmark.show.figures.rate_curve import draw_rate_curves
from benchmark.show.figures.style import styles
from benchmark.spec import parse_codec
from support.rows.bundled_results import bundled_results
from support.rows.measured import row

RESULTS = bundled_results()
POINTS = read_points(RESULTS)
PSNR, MS_SSIM, LPIPS, SQUEEZE, FD, FID = (
    Metric.named(name)
    for name in ("psnr", "ms_ssim", "lpips", "lpips_squeeze", "fd_squeeze", "fid256")
)
KODAK = [f"kodim{number:02}" for number in range(1, 25)]
STYLES = styles([*GROUPED, *(Edition.create(parse_codec(name)) for name in ("jpeg", "webp"))])


def kodak_rows(codec, images=KODAK, variant="", **columns):
    columns |= {"variant": variant}
    cells = product((1, 2, 3, 4), images)
    return [row(codec, q, image, num_bytes=100 * 2**q, **columns) for q, image in cells]


def panel(metric, dataset, summary, up_to_bpp, points=POINTS):
    """Return the paper's panel of a metric, of a summary and of published points."""
    return paper_curves(metric, dataset, measured_curves(summary, metric), points, up_to_bpp)


def overlaid(summary, names, metrics, dataset, mix=False):
    """Return panels of a summary with published curves, and the styles of their systems."""
    panels = []
    for metric in metrics:
        rule = summary.protocols[metric.column] if summary else ""
        curves = published_curves(select(POINTS, names), dataset, metric)
        over = overlay(curves, metric, rule, mix).compatible
        panels.append([*measured_curves(summary, metric), *over])
    editions = {curve.edition for panel_curves in panels for curve in panel_curves}
    return share_marks(panels), styles(editions)


def drawn(panels, edition_styles, title="set", anchor=None, **options):
    """Draw the panels of one dataset that have curves, named as the look has them."""
    panels = rename_curves([panel for panel in panels if panel])
    choice = pick_curves(panels, USUAL_RULE, anchor)
    return draw_rate_curves([(title, panels)], edition_styles, choice, anchor=anchor, **options)


def clic_plots(rates):
    metrics = (PSNR, FID)
    curves = [curve for metric in metrics for curve in panel(metric, "clic2020", None, 2.0)]
    return [PlotAtRate(bpp, tuple(realism_sweeps(curves, metrics, None, bpp))) for bpp in rates]


def from_registry(system, variant, dataset, metric, fields=()):
    """Return rates, values and fields of the registry, lowest rate first, without its code."""
    criteria = {"system": system, "dataset": dataset, "metric": metric}
    papers = (json.loads(p.read_text()) for p in (RESULTS / "published").glob("*.json"))
    return sorted(
        (*point, *(float(series[name]) for name in fields))
        for paper in papers
        for series in paper["series"]
        if criteria.items() <= series.items() and series.get("variant", "") == variant
        for point in series["points"]
    )
