"""`bench report`: figures, tables and a text of what is stored, in results/<dataset>/report."""

import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands import options, outcome, output
from benchmark.commands.options import opt
from benchmark.commands.verb import command_line, takes
from benchmark.figures.look import Look, drawn_as
from benchmark.option import DRAWING, TARGET
from benchmark.plan.request import Request
from benchmark.report.request import ReportRequest
from benchmark.system.text import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmark.report.report import Report

USUAL_PAGE_IMAGES = "14MB"
PAGE_AGAIN = "the earlier report's page is written again (--no-page removes it)"


@takes(ReportRequest)
@takes(Look)
@takes(Request, "data_dir")
def report(
    asked: ReportRequest,
    look: Look,
    request: Request,
    context: typer.Context,
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
    table: options.Table = None,
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
    from benchmark.page.write import page_request, start_workers, write_page
    from benchmark.report.report import write_reports
    from benchmark.report.report_set import ReportSet

    place = asked.results, request.data_dir, asked.dataset
    page_request(True, page_images, *place)  # refused before anything is drawn
    asked = replace(
        asked, command=command_line(context), page=bool(page), data_dir=request.data_dir
    )
    progress = partial(output.show_progress, "decoding for the page", quiet=as_json)
    told = []

    def say(sentence: str) -> None:
        if not as_json:
            output.say([sentence])

    if page:
        start_workers(asked)
    with drawn_as(look):
        for one in write_reports(asked):
            if not as_json:
                _print(one, table, verbose)
            again = page is None and one.earlier_page is not None
            named = page or page_images != USUAL_PAGE_IMAGES
            images = page_images if named else one.earlier_page or page_images
            if not (as_json or page) and one.earlier_page is not None:
                print(PAGE_AGAIN if again else "the page of the earlier report is removed")
            wanted = page_request(bool(page) or again, images, *place, asked.codecs)
            if wanted:
                output.say_not_run(wanted.codecs.not_run(one.stored.table))
            pages = (
                write_page(wanted, one, bool(asked.published), look.linear_rate, progress, say)
                if wanted
                else ()
            )
            ReportSet(one.stored.folder).end_page(images if wanted else None)
            if as_json:
                told.append(_for_machines(one, pages))
            elif pages:
                print(*pages, sep="\n")
    if as_json:
        print(json.dumps(told, indent=1))


def _print(one: "Report", table: bool | None, verbose: bool) -> None:
    from benchmark.report.left_out import counts_of, lines_of

    summary = one.stored.summary
    images, codecs = counted(summary.images, "image"), counted(len(summary.labels), "codec")
    print(f"\n{one.stored.name}: {images}, {codecs}")
    outcome.print_ranking(one.ranking, summary, one.measures, table)
    if one.attribution is not None:
        output.print_table(one.attribution)
    gaps = lines_of(one.gaps) if verbose else counts_of(one.gaps)
    outcome.print_lines([*one.notes, *gaps], verbose)
    beside = f"{counted(one.figures, 'figure')}, tables and details.md are"
    print(*one.files, f"{beside} in {one.stored.folder}", sep="\n")


def _for_machines(one: "Report", pages: "Sequence[str]") -> dict[str, object]:
    return {
        "dataset": one.stored.name,
        "images": one.stored.summary.images,
        "ranking": one.ranking.for_machines(),
        "summary": one.stored.summary.for_machines(),
        "bd_rates": one.deltas
        if isinstance(one.deltas, str)
        else output.table_for_machines(one.deltas[1]),
        "attribution": output.table_for_machines(one.attribution) if one.attribution else None,
        "left_out": [gap._asdict() for gap in one.gaps],
        "notes": list(one.notes),
        "files": [*map(str, one.files), *pages[:1]],
    }
