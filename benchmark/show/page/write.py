"""The page of a report: an HTML file, and a folder of pictures next to it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

from benchmark.compare.curve import Curve, Panel, measured_curves
from benchmark.compare.experiment import Experiment
from benchmark.datasets.dataset import profile
from benchmark.errors import UsageError
from benchmark.facts import reference_codecs
from benchmark.measure.pictures import open_pictures
from benchmark.measure.select import find_sources
from benchmark.measure.workers import worker_context
from benchmark.metrics.maps import map_scale
from benchmark.published.curves import check_same_images, published_curves
from benchmark.published.registry import read_points
from benchmark.registry import metric_class
from benchmark.rows.place import Place
from benchmark.rows.remedies import command_on_rows
from benchmark.rows.stored import datasets_with_results
from benchmark.rows.summary import Summary, count_images
from benchmark.show.absences import hidden_edition_lines
from benchmark.show.bd_rates import headline
from benchmark.show.figures.choice import highest_rate, pick_curves, rename_curves
from benchmark.show.figures.style import styles
from benchmark.show.figures.texts import few_images, figure_names
from benchmark.show.page.content import Content, legend_entry
from benchmark.show.page.document import html_text
from benchmark.show.page.pictures import (
    PageOriginals,
    PictureFiles,
    ShowProgress,
    add_maps,
    decode_pictures,
    make_crops,
    map_metrics,
    page_pictures,
    parse_limit,
    plan_pictures,
    rows_by_image,
)
from benchmark.show.report.dataset_report import Report
from benchmark.show.report.files import PAGE, PICTURES, ReportFiles
from benchmark.show.sections import (
    curves_note,
    few_sentences,
    images_text,
    make_sentence,
    other_rules_note,
    scale_sentences,
)
from benchmark.system.atomic import write_files


def start_workers(experiment: Experiment, out: Path | None = None) -> None:
    """Start loading decoders while figures are drawn, if streams must be decoded."""
    for name in datasets_with_results(experiment.results, experiment.dataset):
        folder = experiment.results / name.partition(":")[0]
        pictures = (out or folder / "report") / PICTURES
        if (folder / "streams").is_dir() and not pictures.is_dir():
            worker_context()


def write_page(
    experiment: Experiment,
    report: Report,
    images: str,
    linear: bool,
    show_progress: ShowProgress,
    notify: Callable[[str], None],
    data_dir: Path | None = None,
    command: str = "",
) -> tuple[str, str]:
    """Write the pictures, then the page of a report; return the page's path and a remark.

    images: limit for pictures, in the form of `--page-images`. notify: shows a sentence on pictures
    to decode. Published curves are initially visible only if the user named them.
    """
    dataset_results, summary, folder = report.stored, report.stored.summary, report.stored.folder
    rows = rows_by_image(dataset_results.table, summary, summary.protocols["coding"])
    stored_pictures = open_pictures(
        experiment.results, dataset_results.name, experiment.codecs, rows=dataset_results.table
    )
    dataset = (
        experiment.dataset if Place(experiment.dataset).leads_to_images else dataset_results.name
    )
    sources = find_sources(dataset, data_dir, experiment.results)
    if isinstance(sources, str):
        notify(sources)
    title = profile(dataset_results.name).title
    title = title[:1].upper() + title[1:]
    panels = dict(
        zip(report.measured_metrics, rename_curves(_page_panels(experiment, report)), strict=True)
    )
    published = {m.column: [c for c in panel if not c.measured] for m, panel in panels.items()}
    first_panels = [
        [c for c in metric_curves if c.measured or experiment.published]
        for metric_curves in panels.values()
    ]
    choice = pick_curves(first_panels, experiment.rule, report.anchor, report.named_codecs)
    shown_labels = choice.labels
    map_names = map_metrics(report.measured_metrics)
    command = command or command_on_rows(
        "report", experiment.results, experiment.dataset, page=True
    )
    files = PictureFiles(folder)
    originals = PageOriginals(files, sources)
    plan = plan_pictures(rows, stored_pictures, originals, shown_labels, parse_limit(images))
    if plan.keys_to_decode:
        notify(plan.sentence)
    failures = decode_pictures(plan, stored_pictures, files, show_progress)
    pictures = page_pictures(plan, failures, originals, plan.excess_reason(command))
    pictures = add_maps(files, pictures, map_names, notify)
    sizes = pictures.sizes(files)
    first_sentence = headline(
        report.ranking, summary.images, figure_names(summary), report.named_codecs
    )
    labels = summary.labels
    content = Content(
        dataset=dataset_results.name,
        title=title,
        summary=summary,
        metrics=[m for m, panel in panels.items() if experiment.allow_few or not few_images(panel)],
        legend=_legend_entries(summary, published),
        photographs=pictures.photographs,
        pictures=pictures.decoded,
        sections=report.sections,
        facts=_page_facts(summary, dataset_results.runs),
        neighbours=[
            labels[edition]
            for edition in summary.editions
            if edition.spec == report.anchor or edition.spec.name in reference_codecs()
        ],
        captions={
            panel[0].metric.column: _curve_caption(title, panel)
            for panel in choice.select([*panels.values()])
        },
        lead_columns=[metric.column for metric in report.ranking.metrics],
        headline=" ".join([first_sentence, *map(make_sentence, hidden_edition_lines(summary))]),
        shown_labels=shown_labels,
        shown_published=choice.published,
        crops=make_crops(files, plan, pictures, shown_labels),
        published=published,
        linear_rate=linear,
        most_bpp=highest_rate(chain(*panels.values())),
        map_scales={metric_class(name).column: map_scale(name) for name in map_names},
    )
    write_files(folder, {PAGE: html_text(content)}, what="page")
    num_pictures = sum(picture.picture is not None for picture in pictures.decoded.values())
    remark = f"the page has pictures of {num_pictures} of {len(pictures.decoded)} streams"
    if sizes:
        remark += f": {len(sizes)} files, {sum(sizes.values()) / 1e6:.1f} MB, in {PICTURES}/"
    if limited := sum(picture.limited for picture in pictures.decoded.values()):
        remark += f"; {limited} more with --page-images all"
    ReportFiles(folder).end_page(images, sorted(sizes))
    return str(folder / PAGE), remark


def _page_panels(experiment: Experiment, report: Report) -> list[Panel]:
    summary, name, panels = report.stored.summary, report.stored.name, list[Panel]()
    points = [] if experiment.published else list(read_points(experiment.results))
    for metric in report.measured_metrics:
        rule = summary.protocols[metric.column]
        curves = []
        with suppress(UsageError):
            check_same_images(name, count_images(summary, metric), summary.pooled)
            curves = [c for c in published_curves(points, name, metric) if c.protocol == rule]
        if experiment.published and metric.column in report.overlays:
            curves = [*report.overlays[metric.column].compatible]
        panels.append([*measured_curves(summary, metric), *curves])
    return panels


def _curve_caption(title: str, panel: Panel) -> str:
    metric = panel[0].metric
    averaging = "one value for the whole set of" if metric.is_distribution else "means over"
    sentences = [
        f"{title}: {averaging} {images_text([panel])}.",
        *scale_sentences([metric]),
        *(few_sentences([metric]) if few_images(panel) else ()),
        "Bars: 95 % intervals over images." if metric.is_distribution else "",
        other_rules_note(panel),
        curves_note(panel),
    ]
    return " ".join(filter(None, sentences))


def _legend_entries(
    summary: Summary, published: Mapping[str, Sequence[Curve]]
) -> dict[str, dict[str, str]]:
    curves = [curve for metric_curves in published.values() for curve in metric_curves]
    styles_by_variant = styles([*summary.editions, *(curve.edition for curve in curves)])
    entries = {
        curve.name: legend_entry(curve.name, styles_by_variant[curve.spec]) for curve in curves
    }
    names = figure_names(summary)
    labels = summary.labels
    return entries | {
        labels[edition]: legend_entry(names[edition], styles_by_variant[edition.spec])
        for edition in summary.editions
    }


def _page_facts(summary: Summary, runs: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    average = "pooled" if summary.pooled else "mean of per-image values"
    images = f"{summary.images}"
    if summary.dropped:
        images += f"; {summary.dropped} more images, which some points lack, are left out"
    facts = [
        ("Images", images),
        ("Protocols", ", ".join(summary.protocols_in_use.values())),
        ("Bits per pixel", f"{average}, of the whole stream"),
    ]
    if not runs:
        return [*facts, ("Runs", "none here, as all rows are bundled")]
    last_run = runs[-1]
    commit = str(last_run.get("commit") or "")
    run_texts = [
        f"{str(last_run.get('started_utc') or '').replace('T', ' ')[:16]} UTC",
        f"commit {commit[:12]}{commit[40:]}" if commit else "unknown commit",
        str(last_run.get("machine") or ""),
        f"last of {len(runs)} runs" if len(runs) > 1 else "only run",
    ]
    packages = (last_run.get("packages") or {}).items()
    package_list = ", ".join(f"{name} {version}" for name, version in packages if version)
    facts.append(("Measured", ", ".join(filter(None, run_texts))))
    return [*facts, ("Packages", package_list)] if package_list else facts
