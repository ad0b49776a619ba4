"""`bench study`: ask people which codec they prefer, and read what they answered."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import options, output
from benchmark.commands.verb import Verbs, command_line
from benchmark.errors import UsageError
from benchmark.option import COMPARED, DRAWING, MANNER, ORIGIN, TARGET, opt
from benchmark.spec import split_codecs, split_unescaped

study = Verbs("""Ask people which codec they prefer, and read what they answered.

A study is a folder with a page that works from a disk or any static host; answers are one small
file a rater.

Examples:
  bench study new --codecs ours,vtm,jpeg --bpp .25,.5,.9 --out study
  bench study read study answers/*.json
""")


@study.verb("new")
def new(
    context: typer.Context,
    codecs: Annotated[
        str, opt(COMPARED, "Comma-separated codecs that have kept streams.", completes="codecs")
    ] = "all",
    bpp: Annotated[str, opt(COMPARED, "Rates to compare at, in bpp; three or more.")] = ".1,.2,.4",
    dataset: options.StoredDataset = "",
    images: Annotated[str, opt(COMPARED, "Only these images: kodim0*,kodim23.")] = "",
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
    results: options.Results = Path("results"),
    data_dir: Annotated[
        Path | None, opt(ORIGIN, "Folder that datasets are in.", refuses="folder")
    ] = None,
) -> None:
    """Write a study: two alternatives, forced choice, the original to flicker with.

    Pairs are of codecs at equal rate (10 %), and of one codec at neighbouring rates, so that
    preference has a scale in bits. Pictures are lossless, and no name in the folder for raters says
    what they are of.

    Examples:
      bench study new --codecs ours,vtm,jpeg --bpp .25,.5,.9 --out study
      bench study new --codecs ours,vtm --bpp .25,.5,.9 --questions 10
    """
    from benchmark.show.study.folder import StudyRequest, folder_sentence, plan, write_study

    asked = StudyRequest(
        results=results,
        dataset=dataset,
        codecs=() if codecs == "all" else tuple(map(str, split_codecs(codecs))),
        rates=_rates(bpp),
        raters=raters,
        each=each,
        crop=crop,
        images=tuple(filter(None, split_unescaped(images, ","))),
        seed=seed,
        post=_address(post),
        data_dir=data_dir,
        command=command_line(context),
    )
    if questions is not None:
        from benchmark.compare.study.simulate import answers_needed

        planned = plan(asked)
        answers = answers_needed(planned.stimuli, planned.pairs, each, questions, seed)
        print(
            f"about {answers} answers, {-(-answers // each)} raters of {each} questions, for "
            f"intervals {questions:g} points wide, if raters and images are alike; they differ, so "
            "ask more"
        )
        return
    written = write_study(out, asked)
    output.say(written.sentences)
    print(folder_sentence(out, written))


@study.verb("read")
def read(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Argument(metavar="STUDY", help="Folder of the study, with its key.")
    ],
    answers: Annotated[
        list[Path], typer.Argument(metavar="ANSWERS...", help="Files of answers, or folders.")
    ],
    anchor: options.Anchor = "",
    out: Annotated[
        Path | None, opt(TARGET, "Folder to write to; default: STUDY/report.", refuses="folder")
    ] = None,
    results: options.Results = Path("results"),
    data_dir: Annotated[
        Path | None, opt(ORIGIN, "Folder that datasets are in.", refuses="folder")
    ] = None,
    verbose: options.Verbose = False,
) -> None:
    """Read answers: scores, bits at equal preference, and which metric agrees with people.

    Raters who fail questions of known answer, or answer in under a second, are left out by a stated
    rule and counted. Intervals are over raters and images.

    Examples:
      bench study read study answers/*.json
    """
    from benchmark.show.study.report import answer_files, read_study, sentences, write_report

    paths = answer_files(answers)
    report = read_study(folder, paths, results, anchor, data_dir)
    for line in sentences(report):
        print(line)
    for title, table in report.tables:
        print(f"\n{title}")
        output.print_table(table)
    output.print_lines([f"left out: {gone.name}: {gone.rule}" for gone in report.left_out], verbose)
    for path in write_report(report, out or folder / "report", command_line(context)):
        print(path)


def _rates(text: str) -> tuple[float, ...]:
    try:
        rates = tuple(sorted({float(rate) for rate in text.split(",")}))
    except ValueError:
        rates = ()
    if not rates or not all(0 < rate < 100 for rate in rates):
        raise UsageError(f"--bpp {text} is no list of rates above 0")
    return rates


def _address(text: str) -> str:
    """Return a URL that a page may post to; raises `UsageError` for any other text."""
    plain = text.isascii() and text.isprintable() and not set(text) & set(" ;,'\"<>\\")
    if text and not (plain and text.startswith(("https://", "http://"))):
        raise UsageError(f"--post {text!r} is no address that begins with https://")
    return text
