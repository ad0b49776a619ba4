"""A dataset's results in; the figures of its report by file name, and names of all files, out."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark.analysis.rate_distortion import Measure
    from benchmark.analysis.stored import Stored
    from benchmark.figures.rate_curve import Drawing
    from benchmark.published.points import Panel

OVERVIEW = ("psnr", "ms_ssim", "lpips")  # panels of the figure that holds several metrics


def draw(
    stored: "Stored",
    measures: "Sequence[Measure]",
    linear: bool,
    panels: "Mapping[str, Panel]",
) -> "dict[str, Drawing]":
    """Figures by file name, without those that would be empty."""
    from benchmark.figures.published_curve import look_label
    from benchmark.figures.rate_curve import draw_rate_curves
    from benchmark.figures.style import looks
    from benchmark.figures.timing import draw_timing
    from benchmark.registry import metric_class

    summary, name = stored.summary, stored.name
    published = {column: panel.drawn for column, panel in panels.items()}
    over = [look_label(curve) for curves in published.values() for curve in curves]
    look = looks([*summary.labels, *over])
    overview = [metric_class(metric).column for metric in OVERVIEW]
    several = [measure for measure in measures if measure.column in overview]
    files = {"curves": several} if len(several) > 1 else {}
    files |= {measure.column: [measure] for measure in measures}
    drawings = {
        file: draw_rate_curves(summary, shown, look, name, linear, published)
        for file, shown in files.items()
    }
    drawings["timing"] = draw_timing(summary, look, name)
    return {name: drawing for name, drawing in drawings.items() if drawing is not None}


def every_file_name() -> set[str]:
    """Whatever a report may hold beside its text."""
    from benchmark.registry import DISTRIBUTION_METRICS, METRICS, metric_class

    columns = (metric_class(name).column for name in (*METRICS, *DISTRIBUTION_METRICS))
    figures = ["curves", "timing", *columns]
    drawn = {f"{name}.{kind}" for name in figures for kind in ("pdf", "png")}
    return drawn | {
        f"{name}.{kind}" for name in ("means", "bd_rate") for kind in ("md", "tex", "csv")
    }
