"""`bench study`: ask people which codec they prefer, and read what they answered."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import options, output
from benchmark.commands.verb import Verbs, command_line, takes
from benchmark.errors import UsageError
from benchmark.option import DRAWING, MANNER, TARGET, opt
from benchmark.show.paper.request import FigureRequest

study = Verbs("""Ask people which codec they prefer, and read what they answered.

A study is a folder with a page that works from a disk or any static host; answers are one small
file a rater.

Examples:
  bench study new --codecs ours,vtm,jpeg --bpp .25,.5,.9 --out study
  bench study read study answers/*.json
""")


@study.verb("new")
@takes(FigureRequest, "codecs bpp dataset images results data_dir", bpp=".1,.2,.4")
def new(
    shown: FigureRequest,
    context: typer.Context,
    raters: Annotated[int, opt(MANNER, "Lists of questions.", least=1, most=10_000)] = 12,
    each: Annotated[int, opt(MANNER, "Questions of a rater.", least=4, most=1000)] = 60,
    crop: Annotated[
        int,
        opt(
            DRAWING,
            "Pixels of a side of the square that codecs differ most in; 0: whole images.",
            least=0,
        ),
    ] = 512,
    seed: Annotated[int, opt(MANNER, "Seed of pairs, order, sides and names.", least=0)] = 0,
    post: Annotated[str, opt(TARGET, "URL that the page posts answers to, beside the file.")] = "",
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
    from benchmark.show.study.folder import StudyRequest, plan, write_study

    asked = StudyRequest(shown, raters, each, crop, seed, _address(post), command_line(context))
    if questions is not None:
        from benchmark.compare.study.simulate import answers_needed

        planned = plan(shown)
        answers = answers_needed(planned.stimuli, planned.pairs, each, questions, seed)
        print(
            f"about {answers} answers, {-(-answers // each)} raters of {each} questions, for "
            f"intervals {questions:g} points wide, if raters and images are alike; they differ, so "
            "ask more"
        )
        return
    _, (*absent, sentence) = write_study(out, asked)
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


def _address(text: str) -> str:
    """Return a URL that a page may post to; raises `UsageError` for any other text."""
    plain = text.isascii() and text.isprintable() and not set(text) & set(" ;,'\"<>\\")
    if text and not (plain and text.startswith(("https://", "http://"))):
        raise UsageError(f"--post {text!r} is no address that begins with https://")
    return text
