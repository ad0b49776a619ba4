"""Reports: what is stored of a dataset, as figures, tables and a text in its report folder."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.analysis.comparable import find_label
from benchmark.analysis.comparison import Comparison, Ranking, compare, default_anchor, rank
from benchmark.analysis.interval import draw_spreads, records
from benchmark.analysis.stored import (
    DatasetResults,
    datasets_with_results,
    read_results,
    source_facts,
)
from benchmark.analysis.summarise import Summary
from benchmark.codec_spec import split_unescaped
from benchmark.datasets.dataset import profile
from benchmark.figures import bd_table
from benchmark.figures.complexity import draw_complexity, measured_block
from benchmark.figures.rate_curve import chosen_names, draw_rate_curves, shown
from benchmark.figures.style import look, styles
from benchmark.figures.table import Table, csv_text, latex, markdown, means_table
from benchmark.figures.texts import Drawing, file_bytes, files_of, names_of
from benchmark.metrics.measure import Measure
from benchmark.published.curves import Overlay, Panel, measured_panel, overlays, style_label
from benchmark.published.curves import left_out as left_out_published
from benchmark.published.points import chosen_points
from benchmark.registry import DISTRIBUTION_METRICS, METRICS, metric_class
from benchmark.report.details import (
    Gap,
    counts_of,
    details_record,
    details_text,
    left_out,
    source_sentences,
)
from benchmark.report.report_set import PAGE, ReportSet
from benchmark.report.request import ReportRequest
from benchmark.report.tables import attribution_files
from benchmark.rows.schema import metric_names
from benchmark.system.text import counted, markdown_text, one_line

# Panels of the figure that holds several metrics: of each, the first that is measured of all
# codecs; LPIPS on AlexNet's features is in training losses, on SqueezeNet's it is not.
OVERVIEW = (("psnr",), ("ms_ssim",), ("lpips_squeeze", "lpips"))
SHOWN_FIGURES, LONGEST_RANKING = 3, 50  # in the text
ALWAYS = {"report.md", "details.md", "details.json", "means.md", "means.tex", "means.csv"}


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
    earlier_page: str | None = None  # the choice of pictures of the earlier report's page, if any


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
    several = request.dataset == "all"
    datasets = datasets_with_results(request.results, request.dataset)
    result = [
        read_results(
            request.results, name, request.codecs, names, request.common, request.pooled,
            request.allow_few, request.verified_only, look().images, request.all_rows,
            request.data_dir,
        )
        for name in (datasets if several else [request.dataset])
    ]  # fmt: skip
    labels = {label for stored in result for label in stored.summary.labels}
    published = chosen_points(request.results, request.published) if request.published else ()
    look().check({*labels, *(style_label(point.system, point.variant) for point in published)})
    if request.anchor:
        anchor = find_label(request.anchor, labels)
    else:
        anchor = default_anchor([stored.summary for stored in result], measures)
    sets = []
    for stored in result:
        folder = stored.folder
        if request.out is not None:
            folder = request.out / stored.name.replace(":", "-") if several else request.out
        sets.append(ReportSet(folder, own=request.out is None))
        sets[-1].require_writable({*ALWAYS, *[PAGE] * request.page})
    for stored, report_set in zip(result, sets, strict=True):
        placed = stored._replace(folder=report_set.folder)
        over = overlays(published, placed.summary, measures, placed.name, request.mix_protocols)
        of_published = left_out_published(published, over, placed.name)
        yield _write(request, placed, measures, anchor, over, of_published, report_set)


def _write(
    request: ReportRequest,
    stored: DatasetResults,
    measures: Sequence[Measure],
    anchor: str,
    over: Mapping[str, Overlay],
    of_published: Sequence[str],
    report_set: ReportSet,
) -> Report:
    summary, folder, command = stored.summary, stored.folder, request.command
    attributed, attribution = None, dict[str, str]()
    if request.attribute:
        attributed, attribution = attribution_files(request.attribute, stored)
    measured = [measure for measure in measures if summary.values_of(measure.column)]
    panels = {measure.column: measured_panel(summary, measure) for measure in measured}
    codecs, short = named_in(request.codecs), names_of(summary)
    drawings = _draw(stored, panels, over, anchor, codecs, request.up_to_bpp)
    limits = request.up_to_bpp, request.any_overlap
    comparisons, deltas = compare_all(summary, measured, anchor, *limits)
    ranking = rank(summary, measured, anchor, comparisons)
    gaps = left_out(summary, measures, stored.runs, stored.gone)
    sources = source_facts(stored.table)
    record = details_record(stored, command, anchor, drawings, gaps, of_published, sources)
    means = means_table(summary, measured)
    eight = _shown_labels(summary, list(panels.values()), anchor, codecs)
    of_eight = replace(summary, points=tuple(p for p in summary.points if p.label in eight))
    tables = {
        "means.md": markdown(means),
        "means.tex": latex(means_table(of_eight, measured), short),
        "means.csv": csv_text(records(summary, measured)),
    }
    if not isinstance(deltas, str):
        compared = [comparison for comparison in comparisons if comparison.label in eight]
        overview = bd_table.bd_overview(compared, measured, anchor, request.up_to_bpp)
        tables["bd_rate.md"] = markdown(deltas[1])
        tables["bd_rate.tex"] = latex(overview, short)
        tables["bd_rate.csv"] = csv_text(bd_table.bd_records(comparisons, request.up_to_bpp))
    about_sources, title = source_sentences(sources), profile(stored.name).title
    remarks = [*about_sources, *counts_of(gaps)]
    files: dict[str, str | bytes] = {
        "report.md": _text(
            title, summary, ranking, drawings, measured, remarks, [*tables], short, command
        ),
        "details.json": json.dumps(record, indent=1) + "\n",
        "details.md": details_text(record, draw_spreads(summary, measured)),
        **tables,
        **attribution,
    }
    for name, drawing in drawings.items():
        files |= files_of(drawing.figure, name)
        files.setdefault(f"{name}.png", file_bytes(drawing.figure, "png"))  # report.md shows it
    earlier_page = report_set.page_images
    kept = report_set.replace(files, command)
    notes = [*about_sources, *of_published]
    notes += [f"kept: {folder / name} was changed since an earlier report" for name in kept]
    return Report(
        stored, measures, measured, means, deltas, over, ranking, attributed,
        [folder / name for name in ("report.md", *attribution)], len(drawings), gaps, notes,
        anchor, earlier_page,
    )  # fmt: skip


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
        comparison
        for measure in measures
        for comparison in compare(summary, measure, anchor, up_to_bpp, any_overlap)
    ]
    overview = bd_table.bd_overview(comparisons, measures, anchor, up_to_bpp)
    return comparisons, (overview, bd_table.bd_table(comparisons, measures, anchor))


def _draw(
    stored: DatasetResults,
    measured: Mapping[str, Panel],
    over: Mapping[str, Overlay],
    anchor: str,
    named: Sequence[str],
    up_to_bpp: float | None,
) -> dict[str, Drawing]:
    """Return the figures by name. measured: panels by metric column."""
    summary, name = stored.summary, stored.name
    panels = {
        column: panel._replace(curves=(*panel.curves, *over[column].compatible)).up_to(up_to_bpp)
        for column, panel in measured.items()
    }
    labels = [curve.system.label for panel in panels.values() for curve in panel.published]
    looks = styles([*summary.labels, *labels])
    several = overview_columns({column: len(panel.curves) for column, panel in measured.items()})
    figures = {"curves": several} if len(several) > 1 else {}
    drawings: dict[str, Drawing | None] = {}
    for file, columns in (figures | {column: [column] for column in panels}).items():
        of_file = [panels[column] for column in columns]
        title = profile(name).title
        drawings[file] = draw_rate_curves(
            of_file, looks, title, summary, anchor=anchor, named=named
        )
    if summary.machine and (timed := measured_block(summary, name, names_of(summary))):
        kept = shown(list(panels.values()), anchor, named)[0] if panels else []
        bars = {curve.name for panel in kept for curve in panel.measured}
        drawings["timing"] = draw_complexity([timed], bars)
    return {file: drawing for file, drawing in drawings.items() if drawing is not None}


def _shown_labels(
    summary: Summary, panels: Sequence[Panel], anchor: str, named: Sequence[str]
) -> set[str]:
    """Return the labels of the curves that figures show, of which LaTeX tables are."""
    panels = [panel for panel in panels if panel.curves]
    if not panels or look().most is None:
        return set(summary.labels)
    names = chosen_names(panels, anchor, look().most, named)
    return {curve.system.label for panel in panels for curve in panel.curves if curve.name in names}


def named_in(codecs: str) -> list[str]:
    """Return the codecs that were asked for; none for "all"."""
    names = [name.strip() for name in split_unescaped(codecs, ",")]
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


def _text(
    title: str,
    summary: Summary,
    ranking: Ranking,
    drawings: Mapping[str, Drawing],
    measures: Sequence[Measure],
    remarks: Sequence[str],
    tables: Sequence[str],
    names: Mapping[str, str],
    command: str,
) -> str:
    """Return report.md: a sentence, the ranking, three figures; the same results, the same text.

    measures: those with values. tables: names of files. names: of codecs in figures, by label.
    """
    counts = (
        counted(summary.images, "image"),
        counted(len(summary.labels), "codec"),
        counted(len(summary.points), "point"),
    )
    table = bd_table.ranking_table(ranking, True, names)
    more = len(table.rows) - LONGEST_RANKING
    # The overview, the metric of realism that says most, times, else the first ones
    realism = [m for m in measures if m.kind == "realism" and m.column in drawings]
    best = [min(realism, key=lambda m: m.realism or math.inf).column] if realism else []
    order = [name for name in ("curves", *best, "timing") if name in drawings]
    order = list(dict.fromkeys([*order, *drawings]))
    pictures, others = order[:SHOWN_FIGURES], [n for n in drawings if n in order[SHOWN_FIGURES:]]
    parts = [
        f"# {markdown_text(title)}",
        markdown_text(bd_table.headline(ranking, summary.images, title, names)),
        f"{', '.join(counts)}. Protocols, builds and what is left out: [details](details.md).",
        f"{markdown_text(bd_table.heading(ranking))}:",
        markdown(table._replace(rows=table.rows[:LONGEST_RANKING])),
        f"And {more} more in bd_rate.csv." * (more > 0),
        *(f"![{n}]({n}.png)\n\n{markdown_text(drawings[n].caption)}" for n in pictures),
        "No points can be drawn." * (not pictures),
        "\n".join(f"- {markdown_text(remark)}" for remark in remarks),
    ]
    links = [f"[{name}]({name}.png)" for name in others] + [f"[{file}]({file})" for file in tables]
    parts += [f"Beside it: {', '.join(links)}."] * bool(links)
    parts += [f"Made by `{one_line(command)}`."] * bool(command)
    return "\n\n".join(part.rstrip("\n") for part in parts if part) + "\n"
