"""Reports: what is stored of a dataset, as figures, tables and a text in its report folder."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.analysis.comparable import find_label
from benchmark.analysis.comparison import Comparison, compare
from benchmark.analysis.interval import draw_spreads, records
from benchmark.analysis.ranking import Ranking, default_anchor, rank
from benchmark.analysis.sources import source_facts
from benchmark.analysis.stored import DatasetResults, datasets_with_results, read_results
from benchmark.analysis.summarise import Summary
from benchmark.codec_spec import split_unescaped
from benchmark.datasets.dataset import profile
from benchmark.figures.bd_table import bd_overview, bd_records, bd_table
from benchmark.figures.choice import chosen_names, names_of, shown
from benchmark.figures.complexity import draw_complexity, measured_block
from benchmark.figures.labels import Drawing
from benchmark.figures.look import FORMATS, look
from benchmark.figures.rate_curve import draw_rate_curves
from benchmark.figures.style import file_bytes, files_of, styles
from benchmark.figures.table import Table, csv_text, latex, markdown, means_table
from benchmark.metrics.measure import Measure
from benchmark.plan.request import metric_names
from benchmark.published.curves import Overlay, measured_panel, overlays, style_label
from benchmark.published.curves import left_out as left_out_published
from benchmark.published.points import chosen_points
from benchmark.registry import DISTRIBUTION_METRICS, METRICS, metric_class
from benchmark.report.details import details_record, details_text
from benchmark.report.document import report_text
from benchmark.report.left_out import Gap, counts_of, left_out, source_sentences
from benchmark.report.report_set import PAGE, ReportSet
from benchmark.report.request import ReportRequest
from benchmark.report.tables import attribution_files
from benchmark.rows.schema import own_columns

# Panels of the figure that holds several metrics: of each, the first that is measured of all
# codecs; LPIPS on AlexNet's features is in training losses, on SqueezeNet's it is not.
OVERVIEW = (("psnr",), ("ms_ssim",), ("lpips_squeeze", "lpips"))


@dataclass(frozen=True, slots=True)
class Report:
    """Report of one dataset, already written, and what pages and terminals show of it."""

    stored: DatasetResults
    measures: Sequence[Measure]  # those asked for
    measured: Sequence[Measure]  # those that have values
    means: Table
    deltas: tuple[Table, Table] | str  # BD-rates: overview and details, or why there are none
    overlays: Mapping[str, Overlay]  # published curves by metric column
    ranking: Ranking
    attribution: Table | None = None
    files: Sequence[Path] = ()  # report.md, and csv files that were asked for
    figures: int = 0
    gaps: Sequence[Gap] = ()  # what is left out
    notes: Sequence[str] = ()  # sentences on the photographs, published points, files kept
    anchor: str = ""  # label of the codec that BD-rates are relative to
    earlier_page: str | None = None  # the choice of pictures of the page that stood there, if any


def write_reports(request: ReportRequest) -> Iterator[Report]:
    """Write the report of every dataset asked for, and yield each when it is written.

    Raises `UsageError` for choices that the results do not allow, before anything is written, and
    `StoreError` for a folder that cannot be written.
    """
    asked = request.metrics
    if request.attribute and asked != "all":
        asked = f"{asked},{request.attribute}"
    names = metric_names(asked)
    measures = [Measure.named(name) for name in names]
    stored_names = datasets_with_results(request.results, request.dataset)
    result = [
        read_results(
            request.results,
            name,
            request.codecs,
            names,
            request.common,
            request.pooled,
            request.allow_few,
            request.verified_only,
            look().images,
            request.all_rows,
            request.data_dir,
        )
        for name in (stored_names if request.dataset == "all" else [request.dataset])
    ]
    labels = {label for stored in result for label in stored.summary.labels}
    published = chosen_points(request.results, request.published)
    look().check({*labels, *(style_label(one.system, one.variant) for one in published)})
    if request.anchor:
        anchor = find_label(request.anchor, labels)
    else:
        anchor = default_anchor([stored.summary for stored in result], measures)
    sets = {}
    for stored in result:
        files = _every_file_name(stored.table.column_names)
        sets[stored.name] = ReportSet(_folder(request, stored), request.out is None, files)
        sets[stored.name].require_writable(files | ({PAGE} if request.page else set()))
    for stored in result:
        placed = stored._replace(folder=sets[stored.name].folder)
        yield _write(request, placed, measures, anchor, sets[stored.name])


def _folder(request: ReportRequest, stored: DatasetResults) -> Path:
    if request.out is None:
        return stored.folder
    return request.out / stored.name.replace(":", "-") if request.dataset == "all" else request.out


def compare_all(
    summary: Summary,
    measures: Sequence[Measure],
    anchor: str,
    up_to_bpp: float | None,
    any_overlap: bool = False,
) -> tuple[list[Comparison], tuple[Table, Table] | str]:
    """Return BD-rates, and their tables (overview, details) or why there are none."""
    if anchor not in summary.labels:
        others = ", ".join(summary.labels)
        return [], f"No BD-rates: the anchor {anchor} has no rows; --anchor takes one of {others}."
    if len(summary.labels) == 1:
        return [], f"No BD-rates: there is no codec but the anchor {anchor}."
    comparisons = [
        one
        for measure in measures
        for one in compare(summary, measure, anchor, up_to_bpp, any_overlap)
    ]
    overview = bd_overview(comparisons, measures, anchor, up_to_bpp)
    details = bd_table(comparisons, measures, anchor)
    return comparisons, (overview, details)


def _write(
    request: ReportRequest,
    stored: DatasetResults,
    measures: Sequence[Measure],
    anchor: str,
    report_set: ReportSet,
) -> Report:
    summary, folder = stored.summary, stored.folder
    attributed, files = None, dict[str, str | bytes]()
    if request.attribute:
        attributed, of_parts = attribution_files(request.attribute, stored)
        files |= of_parts
    measured = [measure for measure in measures if summary.values_of(measure.column)]
    points = chosen_points(request.results, request.published)
    over = overlays(points, summary, measures, stored.name, request.mix_protocols)
    drawings = _draw(stored, measured, request, over, anchor)
    comparisons, deltas = compare_all(
        summary, measured, anchor, request.up_to_bpp, request.any_overlap
    )
    ranking = rank(summary, measured, anchor, comparisons)
    gaps = left_out(summary, measures, stored.runs, stored.gone)
    sources = source_facts(stored.table)
    of_published = left_out_published(points, over, stored.name)
    record = details_record(stored, request.command, anchor, drawings, gaps, of_published, sources)
    means = means_table(summary, measured)
    eight = _shown_labels(summary, measured, anchor, request)
    short = names_of(summary)
    files |= {
        "means.md": markdown(means),
        "means.tex": latex(means_table(_only(summary, eight), measured), short),
        "means.csv": csv_text(records(summary, measured)),
        "details.json": json.dumps(record, indent=1) + "\n",
        "details.md": details_text(record, draw_spreads(summary, measured)),
    }
    if not isinstance(deltas, str):
        of_eight = [comparison for comparison in comparisons if comparison.label in eight]
        files["bd_rate.md"] = markdown(deltas[1])
        files["bd_rate.tex"] = latex(
            bd_overview(of_eight, measured, anchor, request.up_to_bpp), short
        )
        files["bd_rate.csv"] = csv_text(bd_records(comparisons, request.up_to_bpp))
    told = [*source_sentences(sources), *counts_of(gaps)]
    tables = [name for name in files if name.startswith(("means", "bd_rate"))]
    files["report.md"] = report_text(
        profile(stored.name).title,
        summary,
        ranking,
        drawings,
        measured,
        told,
        tables,
        short,
        request.command,
    )
    for name, drawing in drawings.items():
        files |= files_of(drawing.figure, name)
        files.setdefault(f"{name}.png", file_bytes(drawing.figure, "png"))  # report.md shows it
    earlier_page = report_set.page_images
    kept = report_set.replace(files, request.command)
    shown_files = ["report.md", *(name for name in files if name.startswith("attribution_"))]
    notes = [*source_sentences(sources), *of_published]
    notes += [f"kept: {folder / name} was changed since an earlier report" for name in kept]
    return Report(
        stored,
        measures,
        measured,
        means,
        deltas,
        over,
        ranking,
        attributed,
        [folder / name for name in shown_files],
        len(drawings),
        gaps,
        notes,
        anchor,
        earlier_page,
    )


def _shown_labels(
    summary: Summary, measures: Sequence[Measure], anchor: str, request: ReportRequest
) -> set[str]:
    """Return the labels of the curves that figures show, of which LaTeX tables are."""
    panels = [panel for measure in measures if (panel := measured_panel(summary, measure)).curves]
    if not panels or look().most is None:
        return set(summary.labels)
    names = chosen_names(panels, anchor, look().most, named_in(request.codecs))
    return {curve.system.label for panel in panels for curve in panel.curves if curve.name in names}


def _only(summary: Summary, labels: Collection[str]) -> Summary:
    return replace(
        summary, points=tuple(point for point in summary.points if point.label in labels)
    )


def _draw(
    stored: DatasetResults,
    measures: Sequence[Measure],
    request: ReportRequest,
    over: Mapping[str, Overlay],
    anchor: str,
) -> dict[str, Drawing]:
    summary, name = stored.summary, stored.name
    panels = {}
    for measure in measures:
        panel = measured_panel(summary, measure)
        drawn = over[measure.column].drawn if measure.column in over else ()
        panels[measure.column] = panel._replace(curves=(*panel.curves, *drawn))
    labels = [curve.system.label for panel in panels.values() for curve in panel.published]
    result = styles([*summary.labels, *labels])
    several = overview_columns({one: len(panels[one].measured) for one in panels})
    figures = {"curves": several} if len(several) > 1 else {}
    figures |= {column: [column] for column in panels}
    title, named = profile(name).title, named_in(request.codecs)
    drawings = {
        file: draw_rate_curves(
            [panels[column] for column in columns],
            result,
            title,
            summary,
            anchor=anchor,
            named=named,
        )
        for file, columns in figures.items()
    }
    names = names_of(summary)
    timed = measured_block(summary, name, names)
    whole = [panel for panel in panels.values() if panel.curves]
    kept = shown(whole, anchor, named)[0] if whole else []
    bars = {curve.name for panel in kept for curve in panel.measured}
    drawings["timing"] = draw_complexity([timed], bars) if timed else None
    return {name: drawing for name, drawing in drawings.items() if drawing is not None}


def named_in(codecs: str) -> list[str]:
    """Return the codecs that were asked for; none for "all"."""
    names = [one.strip() for one in split_unescaped(codecs, ",")]
    return [] if "all" in names else names


def overview_columns(counts: Mapping[str, int]) -> list[str]:
    """Return the columns of the overview: of each choice the first of those with most values.

    Metrics of users' files, which were asked for by name, follow.

    counts: numbers of values by metric column; metrics without any are left out.
    """
    result = []
    for metrics in OVERVIEW:
        columns = [metric_class(metric).column for metric in metrics]
        best = max(columns, key=lambda column: counts.get(column, 0))
        result += [best] if counts.get(best) else []
    known = {metric_class(metric).column for metric in (*METRICS, *DISTRIBUTION_METRICS)}
    return result + [column for column in counts if column not in known and counts[column]]


def _every_file_name(columns: Sequence[str]) -> set[str]:
    """Return names of all files that a report may hold.

    columns: of the rows, which may have metrics of users' files.
    """
    metrics = [metric_class(name).column for name in (*METRICS, *DISTRIBUTION_METRICS)]
    metrics += own_columns(columns)
    drawn = {f"{name}.{k}" for name in ("curves", "timing", *metrics) for k in FORMATS}
    tables = {f"{name}.{k}" for name in ("means", "bd_rate") for k in ("md", "tex", "csv")}
    return drawn | tables | {"report.md", "details.md", "details.json"}
