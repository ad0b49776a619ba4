"""`bench report`: figures, tables and a text of what is stored, in results/<dataset>/report."""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands import options
from benchmark.commands.completion import complete_codecs
from benchmark.commands.refusals import target_folder
from benchmark.system.text import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmark.report.report import Report

ReportFolder = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="Folder to write the report to, with a folder for each dataset where --dataset is "
        "'all'; default: RESULTS/DATASET/report. An earlier report there is replaced.",
        rich_help_panel=options.TARGET,
        callback=target_folder,
    ),
]
PAGE_AGAIN = "the earlier report's page is written again (--no-page removes it)"


def report(
    context: typer.Context,
    dataset: options.StoredDatasets = "all",
    codecs: options.StoredCodecs = "all",
    metrics: options.ComparedMetrics = "all",
    allow_few: options.AllowFew = False,
    attribute: options.Attribute = "",
    anchor: Annotated[
        str,
        typer.Option(
            help="The codec that BD-rates are relative to; default: jpeg:optimize=1, else jpeg.",
            rich_help_panel=options.COMPARED,
            autocompletion=complete_codecs,
        ),
    ] = "",
    up_to_bpp: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="Cut curves at this rate, by interpolation, before taking BD-rates.",
            rich_help_panel=options.MANNER,
        ),
    ] = None,
    any_overlap: Annotated[
        bool,
        typer.Option(
            "--any-overlap",
            help="Also give BD-rates of curves that share less than a third of what they span.",
            rich_help_panel=options.MANNER,
        ),
    ] = False,
    common: Annotated[
        bool,
        typer.Option(
            "--common",
            help="Restrict all means to the images that every point has.",
            rich_help_panel=options.COMPARED,
        ),
    ] = False,
    pooled: Annotated[
        bool,
        typer.Option(
            "--pooled",
            help="Compute bpp as all bits over all pixels, not as the mean over images.",
            rich_help_panel=options.MANNER,
        ),
    ] = False,
    linear: Annotated[
        bool,
        typer.Option(
            "--linear",
            help="Draw a linear instead of a logarithmic rate axis.",
            rich_help_panel=options.DRAWING,
        ),
    ] = False,
    published: Annotated[
        str,
        typer.Option(
            help="Published systems to draw beside the curves: crdr,hific,multi-realism:beta=2.56; "
            "or 'all' (`bench list --published`).",
            rich_help_panel=options.COMPARED,
        ),
    ] = "",
    mix_protocols: Annotated[
        bool,
        typer.Option(
            "--mix-protocols",
            help="Also draw published points of other protocols; the figure marks them.",
            rich_help_panel=options.DRAWING,
        ),
    ] = False,
    style: options.StyleName = "usual",
    font: options.Font = "sans",
    verified_only: options.VerifiedOnly = False,
    page: options.Page = None,
    page_images: options.PageImages = options.USUAL_PAGE_IMAGES,
    data_dir: options.DataDir = None,
    results: options.Results = Path("results"),
    out: ReportFolder = None,
    verbose: options.Verbose = False,
    as_json: options.AsJson = False,
) -> None:
    """Draw figures and write tables from the rows of earlier runs.

    A report replaces the one that its folder holds as a whole, and report.md names the command that
    makes it again. Files that bench did not write are left alone.

    Examples:
      bench report --dataset sample --metrics psnr,ms_ssim
      bench report --dataset kodak --anchor vtm --published hific --page
    """
    from benchmark.commands.again import command_line
    from benchmark.commands.output import say_not_run, show_progress
    from benchmark.figures.style import drawn_in
    from benchmark.page.write import page_request, write_page
    from benchmark.report.report import ReportRequest, write_reports
    from benchmark.report.report_set import ReportSet

    page_request(True, page_images, results, data_dir, dataset)  # refused before anything is drawn
    request = ReportRequest(
        results,
        dataset,
        codecs,
        metrics,
        attribute,
        anchor,
        up_to_bpp,
        common,
        pooled,
        allow_few,
        verified_only,
        linear,
        published,
        mix_protocols,
        any_overlap,
        out,
        command_line(context),
        bool(page),
    )
    progress = partial(show_progress, "decoding for the page", quiet=as_json)
    told = []
    with drawn_in(style, font):
        for one in write_reports(request):
            if not as_json:
                _print(one, verbose)
            again = page is None and one.earlier_page is not None
            named = page or page_images != options.USUAL_PAGE_IMAGES
            images = page_images if named else one.earlier_page or page_images
            if not (as_json or page) and one.earlier_page is not None:
                print(PAGE_AGAIN if again else "the page of the earlier report is removed")
            wanted = page_request(bool(page) or again, images, results, data_dir, dataset, codecs)
            if wanted:
                say_not_run(wanted.codecs.not_run(one.stored.table))
            pages = write_page(wanted, one, bool(published), linear, progress) if wanted else ()
            ReportSet(one.stored.folder).end_page(images if wanted else None)
            if as_json:
                told.append(_for_machines(one, pages))
            elif pages:
                print(*pages, sep="\n")
    if as_json:
        print(json.dumps(told, indent=1))


def _print(one: "Report", verbose: bool) -> None:
    from benchmark.commands.output import print_summary, print_table

    summary = one.stored.summary
    images, codecs = counted(summary.images, "image"), counted(len(summary.labels), "codec")
    print(f"\n{one.stored.name}: {images}, {codecs}\n")
    print_summary(summary, one.measures)
    print()
    print(one.deltas) if isinstance(one.deltas, str) else print_table(one.deltas[0])
    print()
    left_out = one.sentences if verbose else one.brief
    print(*left_out, *one.remarks, *one.files, sep="\n")
    if one.attribution is not None:
        print()
        print_table(one.attribution)


def _for_machines(one: "Report", pages: "Sequence[str]") -> dict[str, object]:
    from benchmark.commands.output import table_for_machines

    return {
        "dataset": one.stored.name,
        "images": one.stored.summary.images,
        "summary": one.stored.summary.for_machines(),
        "bd_rates": one.deltas
        if isinstance(one.deltas, str)
        else table_for_machines(one.deltas[1]),
        "attribution": table_for_machines(one.attribution) if one.attribution else None,
        "sentences": [*one.sentences, *one.remarks],
        "files": [*map(str, one.files), *pages[:1]],
    }
