"""`bench report`: what is stored to figures, tables and a text, under results/<dataset>/report."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from benchmark.commands import options
from benchmark.errors import UnknownName, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from benchmark.analysis.comparable import Average
    from benchmark.analysis.rate_distortion import Comparison, Measure
    from benchmark.analysis.summarise import Summary
    from benchmark.figures.table import Table
    from benchmark.published.points import Panel, PublishedPoint

DEFAULT_ANCHOR = "jpeg"
SHOWN_SENTENCES = 20


class Stored(NamedTuple):
    """A dataset's results."""

    name: str  # as the user calls it
    folder: Path  # of the report
    summary: "Summary"
    table: "pa.Table"  # the rows that were summarised
    runs: list[dict[str, Any]]  # records of the runs, oldest first


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
    from benchmark.commands.attribution import print_attribution
    from benchmark.commands.published import chosen_points, panels_of
    from benchmark.measure.unscored import metric_names
    from benchmark.page.write import asked_page, write_page

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


def print_summary(summary: "Summary", measures: "Sequence[Measure]") -> None:
    """A compact table of the points on the terminal, less usual and unmeasured metrics left out."""
    from benchmark.figures.table import means_table
    from benchmark.registry import SET_METRICS, metric_class
    from benchmark.report.figures import OVERVIEW

    columns = {metric_class(name).column for name in (*OVERVIEW, *SET_METRICS)}
    shown = [one for one in measures if one.column in columns and summary.values_of(one.column)]
    print_table(means_table(summary, shown))


def datasets_with_results(results: Path, dataset: str) -> list[str]:
    """The dataset asked for, or every one; `UsageError` where there are no results of it."""
    found = sorted(path.parent.name for path in results.glob("*/per_image") if any(path.iterdir()))
    if not found:
        raise UsageError(f"{results} holds no results: measure something with `bench run` first")
    if dataset == "all":
        return found
    if dataset.partition(":")[0] in found:
        return [dataset]
    if Path(dataset).is_dir():
        from benchmark.datasets.folder import open_folder

        name = open_folder(Path(dataset)).name
        if name in found:
            return [name]
    raise UnknownName("results of a dataset", dataset, found)


def read_results(
    results: Path,
    name: str,
    codecs: str,
    metrics: Sequence[str],
    common: bool = False,
    pooled: bool = False,
    allow_few: bool = False,
    attested_only: bool = False,
) -> Stored:
    """A dataset's rows of these codecs, summarised, and its runs."""
    from benchmark.analysis.reduce import with_set_metrics
    from benchmark.analysis.summarise import summarise
    from benchmark.packs.evidence import attested
    from benchmark.protocol import protocols
    from benchmark.registry import SET_METRICS
    from benchmark.rows.store import Store

    stored, _, subset = name.partition(":")
    folder = results / stored
    rows = Store(folder).table()
    if attested_only and rows.num_rows:
        rows = attested(rows)
        if rows.num_rows == 0:
            raise UsageError(f"{folder} has no attested rows: run the same with --attest")
    table = _only(rows, codecs, subset)
    if table.num_rows == 0:
        raise UsageError(f"{folder} has no rows of {name}: measure some with `bench run`")
    sets = [metric for metric in metrics if metric in SET_METRICS]
    table = with_set_metrics(table, folder, sets, common, allow_few)
    runs = [json.loads(path.read_text()) for path in sorted((folder / "runs").glob("*.json"))]
    average: Average = "pooled" if pooled else "per_image"
    return Stored(
        name,
        folder / (f"report-{subset}" if subset else "report"),
        summarise(table, protocols(metrics), average, common),
        table,
        runs,
    )


def _only(table: "pa.Table", codecs: str, subset: str) -> "pa.Table":
    """Rows of these codecs (names or labels) and of the images in a folder of the dataset."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from benchmark.analysis.comparable import label_of
    from benchmark.registry import split_unescaped

    if subset:
        table = table.filter(pc.starts_with(table["image"], f"{subset}/"))
    if codecs == "all":
        return table
    asked = [text.strip() for text in split_unescaped(codecs, ",")]
    variants = table.group_by(["codec", "variant"]).aggregate([]).to_pylist()
    names = [{one["codec"], label_of(one["codec"], one["variant"])} for one in variants]
    for text in asked:
        if not any(text in both for both in names):
            raise UnknownName("codec with results", text, set().union(*names))
    wanted = [one for one, both in zip(variants, names, strict=True) if both & set(asked)]
    return table.join(pa.Table.from_pylist(wanted), ["codec", "variant"], join_type="left semi")


def _anchor(asked: str, labels: set[str]) -> str:
    from benchmark.registry import parse_codec

    if asked in labels:
        return asked
    variants = [label for label in labels if label.partition(":")[0] == asked]
    if len(variants) == 1:
        return variants[0]
    if asked == DEFAULT_ANCHOR:
        return asked
    label = parse_codec(asked).label
    if label in labels:
        return label
    raise UnknownName("codec with results", asked, labels)


def _report_one(
    stored: Stored,
    measures: "Sequence[Measure]",
    anchor: str,
    linear: bool,
    up_to_bpp: float | None,
    points: "Sequence[PublishedPoint]",
    panels: "Mapping[str, Panel]",
) -> "tuple[Table, Table] | str":
    """Figures, tables and text of a dataset; its tables of BD-rates, or why there are none."""
    from benchmark.analysis.interval import records
    from benchmark.figures.style import file_bytes, short_names
    from benchmark.figures.table import bd_records, csv_text, latex, markdown, means_table
    from benchmark.published.points import left_out as left_out_published
    from benchmark.report.document import left_out, report_text
    from benchmark.report.figures import draw, every_file_name
    from benchmark.system.whole_files import write_whole

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
    write_whole(stored.folder, files, every_file_name() - files.keys())

    print(f"\n{stored.name}: {summary.images} images, {len(summary.labels)} codecs\n")
    print_summary(summary, measures)
    print()
    print(deltas) if isinstance(deltas, str) else print_table(deltas[0])
    print()
    sentences = left_out(summary, measures, stored.runs)
    _print_sentences([*sentences, *left_out_published(points, panels, stored.name)])
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


def print_table(table: "Table") -> None:
    """With rules on a terminal that is wide enough, else as plain text."""
    import sys

    from benchmark.figures.table import plain

    if sys.stdout.isatty():
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table as RichTable

        console = Console(markup=False, highlight=False)
        for headers in (table.headers, [header.replace(" ", "\n") for header in table.headers]):
            rich = RichTable(box=SIMPLE_HEAD, pad_edge=False, padding=0)
            for place, header in enumerate(headers):
                rich.add_column(header, justify="left" if place < table.words else "right")
            for row in table.rows:
                rich.add_row(*row)
            if (
                console.measure(rich, options=console.options.update(width=9999)).maximum
                <= console.width
            ):
                console.print(rich)
                for note in table.notes:
                    console.print(note)
                return
    print(plain(table), end="")  # on a terminal too narrow for columns: nothing is cut off


def _print_sentences(sentences: Sequence[str]) -> None:
    for sentence in sentences[:SHOWN_SENTENCES]:
        print(sentence)
    if len(sentences) > SHOWN_SENTENCES:
        print(f"and {len(sentences) - SHOWN_SENTENCES} more such lines, all in report.md")
