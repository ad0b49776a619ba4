"""`bench study`: ask people which codec they prefer, and read what they answered."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import options, output
from benchmark.commands.verb import Verbs, command_line, takes
from benchmark.errors import UsageError
from benchmark.option import TARGET, opt
from benchmark.show.paper.request import FigureRequest, StudyRequest

UNSAFE = " ;,'\"<>\\"  # in the address of a page's policy

study = Verbs("""Ask people which codec they prefer, and read what they answered.

A study is a folder with a page that works from a disk or any static host; answers are one small
file a rater.

Examples:
  bench study new --codecs ours,vtm,jpeg --bpp .25,.5,.9 --out study
  bench study read study answers/*.json
""")


@study.verb("new")
@takes(StudyRequest, "raters each crop seed post")
@takes(FigureRequest, "codecs bpp dataset images results data_dir", bpp=".1,.2,.4")
def new(
    shown: FigureRequest,
    asked: StudyRequest,
    context: typer.Context,
    out: Annotated[Path, opt(TARGET, "Folder to write.", refuses="folder")] = Path("study"),
) -> None:
    """Write a study: two alternatives, forced choice, the original to flicker with.

    Pairs are of codecs at equal rate (10 %), and of one codec at neighbouring rates, so that
    preference has a scale in bits. Pictures are lossless, and no name in the folder for raters says
    what they are of.

    Examples:
      bench study new --codecs ours,vtm,jpeg --bpp .25,.5,.9 --out study
    """
    from benchmark.show.study.folder import write_study

    plain = asked.post.isascii() and asked.post.isprintable() and not set(asked.post) & set(UNSAFE)
    if asked.post and not (plain and asked.post.startswith(("https://", "http://"))):
        raise UsageError(f"--post {asked.post!r} is no address that begins with https://")
    made = replace(asked, shown=shown, command=command_line(context))
    _, (*absent, sentence) = write_study(out, made)
    output.say(absent)
    print(sentence)


@study.verb("read")
@takes(FigureRequest, "anchor results data_dir")
def read(
    shown: FigureRequest,
    context: typer.Context,
    folder: Annotated[
        Path, typer.Argument(metavar="STUDY", help="Folder of the study, with its key.")
    ],
    answers: Annotated[
        list[Path] | None,
        typer.Argument(metavar="ANSWERS...", help="Files of answers, or folders."),
    ] = None,
    out: Annotated[
        Path | None, opt(TARGET, "Folder to write to; default: STUDY/report.", refuses="folder")
    ] = None,
    verbose: options.Verbose = False,
) -> None:
    """Read answers: scores, bits at equal preference, and which metric agrees with people.

    Raters who fail questions of known answer, or answer in under a second, are left out by a stated
    rule and counted. Intervals are over raters and images.

    Examples:
      bench study read study answers/*.json
    """
    from benchmark.show.study.report import read_study, write_report

    report = read_study(folder, answers or [], shown)
    print(*report.lines, sep="\n")
    for title, table in report.tables:
        print(f"\n{title}")
        output.print_table(table)
    output.print_lines([f"left out: {gone.name}: {gone.rule}" for gone in report.left_out], verbose)
    for path in write_report(
        report, out or folder / "report", shown.results, command_line(context)
    ):
        print(path)
