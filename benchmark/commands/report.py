"""`bench report`: figures, tables and a text of what is stored, in results/<dataset>/report."""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands import options, output
from benchmark.commands.options import opt
from benchmark.commands.verb import command_line, takes
from benchmark.option import COMPARED, DRAWING, MANNER, TARGET
from benchmark.plan.request import Request
from benchmark.system.text import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmark.report.report import Report

ReportFolder = Annotated[
    Path | None,
    opt(
        TARGET,
        "Folder to write the report to, with a folder for each dataset where --dataset is "
        "'all'; default: RESULTS/DATASET/report. An earlier report there is replaced.",
        "--out",
        refuses="folder",
    ),
]
USUAL_PAGE_IMAGES = "14MB"
PAGE_AGAIN = "the earlier report's page is written again (--no-page removes it)"


@takes(Request, "data_dir")
def report(
    request: Request,
    context: typer.Context,
    dataset: options.StoredDatasets = "all",
    codecs: options.StoredCodecs = "all",
    metrics: options.ComparedMetrics = "all",
    allow_few: options.AllowFew = False,
    attribute: Annotated[
        str,
        opt(COMPARED, "A metric, to list the images that influence it most.", completes="metrics"),
    ] = "",
    anchor: Annotated[
        str,
        opt(
            COMPARED, "Anchor of BD-rates; default: jpeg:optimize=1, else jpeg.", completes="codecs"
        ),
    ] = "",
    up_to_bpp: Annotated[
        float | None, opt(MANNER, "Cut curves at this rate before taking BD-rates.", min=0.001)
    ] = None,
    any_overlap: Annotated[
        bool,
        opt(MANNER, "Also give BD-rates of curves that share less than a third of what they span."),
    ] = False,
    common: Annotated[
        bool, opt(COMPARED, "Restrict all means to the images that every point has.")
    ] = False,
    pooled: Annotated[bool, opt(MANNER, "Compute bpp as all bits over all pixels.")] = False,
    linear: Annotated[
        bool, opt(DRAWING, "Draw a linear instead of a logarithmic rate axis.")
    ] = False,
    every_curve: Annotated[
        bool,
        opt(DRAWING, "Draw all curves in each figure, not the eight that matter most.", "--all"),
    ] = False,
    published: Annotated[
        str,
        opt(
            COMPARED,
            "Published systems to draw beside the curves: crdr,hific,multi-realism:beta=2.56; "
            "or 'all' (`bench list --published`).",
        ),
    ] = "",
    mix_protocols: Annotated[
        bool, opt(DRAWING, "Also draw published points of other protocols; the caption names them.")
    ] = False,
    style: options.StyleName = "usual",
    font: options.Font = "sans",
    verified_only: options.VerifiedOnly = False,
    page: Annotated[
        bool | None,
        opt(
            TARGET,
            "Also write page.html, where each point of a curve opens its images; default: where "
            "the report's folder has a page, which then is written again.",
            "--page/--no-page",
            show_default=False,
        ),
    ] = None,
    page_images: Annotated[
        str,
        opt(
            DRAWING,
            "Decoded images in the page: files of a total size (14MB), those of a number of "
            "photographs (2), or 'all'.",
        ),
    ] = USUAL_PAGE_IMAGES,
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
    from benchmark.figures.style import drawn_in
    from benchmark.page.write import page_request, write_page
    from benchmark.report.report import ReportRequest, write_reports
    from benchmark.report.report_set import ReportSet

    page_request(
        True, page_images, results, request.data_dir, dataset
    )  # refused before anything is drawn
    asked = ReportRequest(
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
        every_curve,
    )
    progress = partial(output.show_progress, "decoding for the page", quiet=as_json)
    told = []
    with drawn_in(style, font):
        for one in write_reports(asked):
            if not as_json:
                _print(one, verbose)
            again = page is None and one.earlier_page is not None
            named = page or page_images != USUAL_PAGE_IMAGES
            images = page_images if named else one.earlier_page or page_images
            if not (as_json or page) and one.earlier_page is not None:
                print(PAGE_AGAIN if again else "the page of the earlier report is removed")
            wanted = page_request(
                bool(page) or again, images, results, request.data_dir, dataset, codecs
            )
            if wanted:
                output.say_not_run(wanted.codecs.not_run(one.stored.table))
            pages = write_page(wanted, one, bool(published), linear, progress) if wanted else ()
            ReportSet(one.stored.folder).end_page(images if wanted else None)
            if as_json:
                told.append(_for_machines(one, pages))
            elif pages:
                print(*pages, sep="\n")
    if as_json:
        print(json.dumps(told, indent=1))


def _print(one: "Report", verbose: bool) -> None:

    summary = one.stored.summary
    images, codecs = counted(summary.images, "image"), counted(len(summary.labels), "codec")
    print(f"\n{one.stored.name}: {images}, {codecs}\n")
    output.print_summary(summary, one.measures)
    print()
    print(one.deltas) if isinstance(one.deltas, str) else output.print_table(one.deltas[0])
    print()
    left_out = one.sentences if verbose else one.brief
    print(*left_out, *one.remarks, *one.files, sep="\n")
    if one.attribution is not None:
        print()
        output.print_table(one.attribution)


def _for_machines(one: "Report", pages: "Sequence[str]") -> dict[str, object]:

    return {
        "dataset": one.stored.name,
        "images": one.stored.summary.images,
        "summary": one.stored.summary.for_machines(),
        "bd_rates": one.deltas
        if isinstance(one.deltas, str)
        else output.table_for_machines(one.deltas[1]),
        "attribution": output.table_for_machines(one.attribution) if one.attribution else None,
        "sentences": [*one.sentences, *one.remarks],
        "files": [*map(str, one.files), *pages[:1]],
    }
