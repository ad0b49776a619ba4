"""`bench report`: what is stored to figures, tables and a text, under results/<dataset>/report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands import options
from benchmark.errors import UnknownName

if TYPE_CHECKING:
    from benchmark.analysis.rate_distortion import Comparison, Measure
    from benchmark.analysis.stored import Stored
    from benchmark.analysis.summarise import Summary
    from benchmark.figures.table import Table
    from benchmark.published.points import Panel, PublishedPoint

DEFAULT_ANCHOR = "jpeg"


def report(
    dataset: Annotated[
        str, typer.Option(help="A dataset that has results, or 'all' of them.")
    ] = "all",
    codecs: Annotated[
        str, typer.Option(help="Comma-separated codecs to keep, or 'all' that have results.")
    ] = "all",
    metrics: options.Metrics = "all",
    allow_few: options.AllowFew = False,
    attribute: options.Attribute = "",
    anchor: Annotated[
        str, typer.Option(help="The codec that BD-rates are relative to.")
    ] = DEFAULT_ANCHOR,
    up_to_bpp: Annotated[
        float | None,
        typer.Option(help="Cut curves at this rate, by interpolation, before taking BD-rates."),
    ] = None,
    common: Annotated[
        bool, typer.Option("--common", help="Restrict all means to images that all points have.")
    ] = False,
    pooled: Annotated[
        bool, typer.Option("--pooled", help="bpp as all bits over all pixels of the images.")
    ] = False,
    linear: Annotated[
        bool, typer.Option("--linear", help="A linear instead of a logarithmic rate axis.")
    ] = False,
    published: Annotated[
        str,
        typer.Option(
            help="Published systems to lay over the curves: crdr,hific,multi-realism:beta=2.56; "
            "or 'all' (`bench list --published`)."
        ),
    ] = "",
    mix_protocols: Annotated[
        bool,
        typer.Option(
            "--mix-protocols", help="Draw published points of other rules too; the figure says so."
        ),
    ] = False,
    attested_only: options.AttestedOnly = False,
    page: options.Page = False,
    page_images: options.PageImages = options.USUAL_PAGE_IMAGES,
    data_dir: options.DataDir = None,
    results: options.Results = Path("results"),
) -> None:
    """Draw figures and write tables from the rows of earlier runs."""
    from benchmark.analysis.rate_distortion import Measure
    from benchmark.analysis.stored import datasets_with_results, read_results
    from benchmark.commands.attribution import print_attribution
    from benchmark.page.write import asked_page, write_page
    from benchmark.published.read import chosen_points, panels_of
    from benchmark.registry import metric_names

    wanted = asked_page(page, page_images, results, data_dir, dataset)
    names = metric_names(f"{metrics},{attribute}" if attribute and metrics != "all" else metrics)
    measures = [Measure.named(name) for name in names]
    found = [
        read_results(results, name, codecs, names, common, pooled, allow_few, attested_only)
        for name in datasets_with_results(results, dataset)
    ]
    labels = {label for stored in found for label in stored.summary.labels}
    label = _anchor(anchor, labels)
    points = chosen_points(results, published)
    for stored in found:
        panels = panels_of(points, stored.summary, measures, stored.name, mix_protocols)
        deltas = _report_one(stored, measures, label, linear, up_to_bpp, points, panels)
        if attribute:
            print_attribution(attribute, stored)
        if wanted:
            print(
                *write_page(wanted, stored, measures, deltas, panels, bool(points), linear),
                sep="\n",
            )


def _anchor(asked: str, labels: set[str]) -> str:
    from benchmark.analysis.comparable import find_label

    try:
        return find_label(asked, labels)
    except UnknownName:
        if asked == DEFAULT_ANCHOR:  # nobody asked for it: the report says that it has no rows
            return asked
        raise


def _report_one(
    stored: "Stored",
    measures: "Sequence[Measure]",
    anchor: str,
    linear: bool,
    up_to_bpp: float | None,
    points: "Sequence[PublishedPoint]",
    panels: "Mapping[str, Panel]",
) -> "tuple[Table, Table] | str":
    """Figures, tables and text of a dataset; its tables of BD-rates, or why there are none."""
    from benchmark.analysis.interval import records
    from benchmark.commands.output import print_sentences, print_summary, print_table
    from benchmark.figures.style import file_bytes, short_names
    from benchmark.figures.table import bd_records, csv_text, latex, markdown, means_table
    from benchmark.published.points import left_out as left_out_published
    from benchmark.report.document import left_out, report_text
    from benchmark.report.figures import draw, every_file_name
    from benchmark.system.atomic import write_files

    summary = stored.summary
    measured = [measure for measure in measures if summary.values_of(measure.column)]
    drawings = draw(stored, measured, linear, panels)
    means = means_table(summary, measured)
    comparisons, deltas = _compare(summary, measured, anchor, up_to_bpp)
    captions = {name: drawing.caption for name, drawing in drawings.items()}
    short = short_names(summary.labels)
    text = report_text(stored.name, summary, measures, captions, means, deltas, stored.runs)
    files: dict[str, str | bytes] = {
        "means.md": markdown(means),
        "means.tex": latex(means, short),
        "means.csv": csv_text(records(summary, measured)),
        "report.md": text,
    }
    if not isinstance(deltas, str):
        files["bd_rate.md"] = "\n".join(map(markdown, deltas))
        files["bd_rate.tex"] = latex(deltas[0], short)
        files["bd_rate.csv"] = csv_text(bd_records(comparisons, anchor, up_to_bpp))
    for name, drawing in drawings.items():
        files[f"{name}.pdf"] = file_bytes(drawing.figure, "pdf")
        files[f"{name}.png"] = file_bytes(drawing.figure, "png")
    write_files(stored.folder, files, every_file_name() - files.keys())

    print(f"\n{stored.name}: {summary.images} images, {len(summary.labels)} codecs\n")
    print_summary(summary, measures)
    print()
    print(deltas) if isinstance(deltas, str) else print_table(deltas[0])
    print()
    sentences = left_out(summary, measures, stored.runs)
    print_sentences([*sentences, *left_out_published(points, panels, stored.name)])
    if "timing" not in drawings:
        print("no timing figure: no row was measured alone; use `bench run --timing`")
    for name in [*(f"{name}.pdf" for name in drawings), "report.md"]:
        print(stored.folder / name)
    return deltas


def _compare(
    summary: "Summary", measures: "Sequence[Measure]", anchor: str, up_to_bpp: float | None
) -> "tuple[list[Comparison], tuple[Table, Table] | str]":
    """BD-rates, and their tables (overview, details) or why there are none."""
    from benchmark.analysis.rate_distortion import compare
    from benchmark.figures.table import bd_overview, bd_table

    if anchor not in summary.labels:
        others = ", ".join(summary.labels)
        return [], f"No BD-rates: the anchor {anchor} has no rows; --anchor takes one of {others}."
    if len(summary.labels) == 1:
        return [], f"No BD-rates: there is no codec but the anchor {anchor}."
    comparisons = [
        one for measure in measures for one in compare(summary, measure, anchor, up_to_bpp)
    ]
    overview = bd_overview(comparisons, measures, anchor, up_to_bpp)
    return comparisons, (overview, bd_table(comparisons, measures, anchor, up_to_bpp))
