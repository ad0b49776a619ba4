"""`bench study`: ask people which codec they prefer, and read what they answered."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import options, output
from benchmark.commands.verb import Verbs, command_line, takes
from benchmark.errors import UsageError
from benchmark.option import MANNER, TARGET, opt
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
    questions: Annotated[
        float | None,
        opt(
            MANNER,
            "Only say, by simulation, how many answers give intervals of this width, in percentage "
            "points of the preference between two codecs.",
            least=0.1,
            most=100,
        ),
    ] = None,
    out: Annotated[Path, opt(TARGET, "Folder to write.", refuses="folder")] = Path("study"),
) -> None:
    """Write a study: two alternatives, forced choice, the original to flicker with.

    Pairs are of codecs at equal rate (10 %), and of one codec at neighbouring rates, so that
    preference has a scale in bits. Pictures are lossless, and no name in the folder for raters says
    what they are of.

    Examples:
      bench study new --codecs ours,vtm,jpeg --bpp .25,.5,.9 --out study
      bench study new --codecs ours,vtm --bpp .25,.5,.9 --questions 10
    """
    from benchmark.show.study.folder import plan, write_study

    plain = asked.post.isascii() and asked.post.isprintable() and not set(asked.post) & set(UNSAFE)
    if asked.post and not (plain and asked.post.startswith(("https://", "http://"))):
        raise UsageError(f"--post {asked.post!r} is no address that begins with https://")
    if questions is not None:
        from benchmark.compare.study.simulate import answers_needed

        planned = plan(shown)
        answers = answers_needed(planned.stimuli, planned.pairs, asked.each, questions, asked.seed)
        print(
            f"about {answers} answers, {-(-answers // asked.each)} raters of {asked.each} "
            f"questions, for intervals {questions:g} points wide, if raters and images are alike; "
            "they differ, so ask more"
        )
        return
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
        Path,
        typer.Argument(
            metavar="STUDY",
            help="Folder of the study, with its key, or a csv of ratings: CID22, AIC-3, CLIC.",
        ),
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
      bench study read CID22_validation_set.csv
    """
    from benchmark.show.study.report import read_study, write_report

    report = read_study(folder, answers or [], shown)
    print(*report.lines, sep="\n")
    for title, table in report.tables:
        print(f"\n{title}")
        output.print_table(table)
    output.print_lines([f"left out: {gone.name}: {gone.rule}" for gone in report.left_out], verbose)
    target = out or (folder.with_suffix("") if report.published else folder / "report")
    for path in write_report(report, target, shown.results, command_line(context)):
        print(path)
