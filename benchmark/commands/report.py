"""`bench report`: figures, tables and text of stored rows, in results/<dataset>/report."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from benchmark.commands import options, output
from benchmark.compare.experiment import Experiment
from benchmark.measure.request import Request
from benchmark.option import COMPARED, MANNER, PAGE_IMAGES, TARGET, opt, subset
from benchmark.show.figures.style import Look, use_look
from benchmark.system.text import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmark.show.report.dataset_report import Report

USUAL_PAGE_IMAGES = "14MB"
PAGE_UPDATED = "the page of the earlier report is updated (--no-page removes it)"
PAGE_REMOVED = "the page of the earlier report is removed"
COMMON = opt(COMPARED, "Average only over images that every point has.")
POOLED = opt(MANNER, "Compute bpp as all bits divided by all pixels.")
OUT = opt(
    TARGET,
    "Folder for the report (with a subfolder per dataset if there are several); default: "
    "RESULTS/DATASET/report. An earlier report is replaced.",
    path_check="folder",
)
PAGE = opt(
    TARGET,
    "Also write page.html, where a click on a point shows its images; default: only if the "
    "folder already has a page.",
    "--page/--no-page",
)


def report(
    experiment: Annotated[Experiment, subset(dataset="all", metrics="all")],
    look: Annotated[Look, subset(format=("png",))],
    request: Annotated[Request, subset("data_dir")],
    common: Annotated[bool, COMMON] = False,
    pooled: Annotated[bool, POOLED] = False,
    out: Annotated[Path | None, OUT] = None,
    page: Annotated[bool | None, PAGE] = None,
    page_images: Annotated[str, PAGE_IMAGES] = USUAL_PAGE_IMAGES,
    table: options.Table = None,
    verbose: options.Verbose = False,
    as_json: options.AsJson = False,
    command: str = "",
) -> None:
    """Draw figures and write tables from stored rows.

    Replaces an earlier report in its folder, but keeps files that bench did not write. report.md
    contains the command that reproduces the report.

    Examples:
      bench report --dataset sample --metrics psnr,ms_ssim
      bench report --dataset kodak --anchor vtm --published hific --page
    """
    from benchmark.rows.codecs import NamedCodecs
    from benchmark.show.page.pictures import parse_limit
    from benchmark.show.page.write import start_workers, write_page
    from benchmark.show.report.dataset_report import write_reports
    from benchmark.show.report.files import ReportFiles

    parse_limit(page_images)  # an invalid limit is refused before drawing
    progress = partial(output.show_progress, "decoding for the page")
    records = []

    def say(sentence: str) -> None:
        output.say([sentence])

    if page:
        start_workers(experiment, out)
    with use_look(look):
        written_reports = write_reports(
            experiment, common=common, pooled=pooled, out=out, page=bool(page), command=command
        )
        for written_report in written_reports:
            earlier_page = written_report.earlier_page
            if not as_json:
                _print_report(written_report, table, verbose)
                if earlier_page is not None and not page:
                    print(PAGE_UPDATED if page is None else PAGE_REMOVED)
            wants_page = bool(page) or (page is None and earlier_page is not None)
            is_explicit = page or page_images != USUAL_PAGE_IMAGES
            limit = page_images if is_explicit else earlier_page or page_images
            pages: Sequence[str] = ()
            if wants_page:
                output.say_not_run(
                    NamedCodecs(experiment.codecs).count_refused(written_report.stored.table)
                )
                page_options = limit, look.linear_rate, progress, say, request.data_dir, command
                pages = write_page(experiment, written_report, *page_options)
            else:
                ReportFiles(written_report.stored.folder).end_page(None)
            if as_json:
                records.append(_report_record(written_report, pages))
            elif pages:
                print(*pages, sep="\n")
    if as_json:
        output.print_json(records)


def _print_report(report: "Report", table: bool | None, verbose: bool) -> None:
    from benchmark.commands.outcome import print_ranking
    from benchmark.show.absences import absent_lines

    stored, summary = report.stored, report.stored.summary
    images, codecs = counted(summary.images, "image"), counted(len(summary.editions), "codec")
    line = f"\n{stored.heading}: {images}, {codecs}"
    if summary.dropped:
        line += f"; excluded: {counted(summary.dropped, 'image')} that some points lack"
    print(line)
    print_ranking(report.ranking, summary, report.metrics, table, report.named_codecs)
    absences = report.absent if verbose else report.problems
    output.print_lines([*report.notes, *absent_lines(absences)], verbose)
    print(*report.files, sep="\n")
    print(f"{counted(report.figures, 'figure')}, tables and details.md are in {stored.folder}")


def _report_record(report: "Report", pages: "Sequence[str]") -> dict[str, object]:
    deltas = report.deltas
    return {
        "dataset": report.stored.name,
        "images": report.stored.summary.images,
        "ranking": [*report.ranking.records.values()],
        "summary": report.stored.summary.flat_records(),
        "bd_rates": deltas if isinstance(deltas, str) else output.table_record(deltas),
        "absent": [absence._asdict() for absence in report.absent],
        "notes": list(report.notes),
        "files": [*map(str, report.files), *pages[:1]],
    }
