"""`bench study`: ask people which codec they prefer, and read what they answered."""

from pathlib import Path
from typing import Annotated

from benchmark.answer import Answer
from benchmark.commands import options, output
from benchmark.commands.verb import Verbs
from benchmark.compare.experiment import Experiment, Rates
from benchmark.errors import UsageError
from benchmark.option import ARGUMENT, DRAWING, MANNER, TARGET, opt, some
from benchmark.show.paper.crops import DATA_DIR
from benchmark.study.folder import write_study
from benchmark.study.report import read_study, write_report

UNSAFE = " ;,'\"<>\\"  # in the address of a page's policy

CROP = "Pixels of a side of the square that codecs differ most in; 0: whole images."


study = Verbs("""Ask people which codec they prefer, and read what they answered.

A study is a folder with a page that works from a disk or any static host; answers are one small
file a rater.

Examples:
  bench study new --codecs ours,vtm,jpeg --bpp .15,.25,.5,.9 --out study
  bench study read study answers/*.json
""")


@study.verb("new")
def new(
    of: Annotated[Experiment, some("codecs dataset bundled images verified_only results")],
    bpp: Rates = (".1", ".2", ".4", ".8"),
    data_dir: Annotated[Path | None, DATA_DIR] = None,
    raters: Annotated[int, opt(MANNER, "Lists of questions.", least=1, most=10_000)] = 12,
    each: Annotated[int, opt(MANNER, "Questions of a rater.", least=4, most=1000)] = 60,
    crop: Annotated[int, opt(DRAWING, CROP, least=0)] = 512,
    seed: Annotated[int, opt(MANNER, "Of pairs, order, sides and names.", least=0)] = 0,
    post: Annotated[str, opt(TARGET, "URL that the page posts answers to, beside the file.")] = "",
    out: Annotated[Path, opt(TARGET, "Folder to write.", refuses="folder")] = Path("study"),
    command: str = "",
) -> None:
    """Write a study: two alternatives, forced choice, the original to flicker with.

    Pairs are of codecs at equal rate (10 %), and of one codec at neighbouring rates, so that
    preference has a scale in bits. Pictures are lossless, and no name in the folder for raters says
    what they are of.

    Examples:
      bench study new --codecs ours,vtm,jpeg --bpp .15,.25,.5,.9 --out study
    """
    plain = post.isascii() and post.isprintable() and not set(post) & set(UNSAFE)
    if post and not (plain and post.startswith(("https://", "http://"))):
        raise UsageError(f"--post {post!r} is no address that begins with https://")
    _, (*absent, sentence) = write_study(
        out, of, bpp, data_dir=data_dir, raters=raters, each=each, crop=crop, seed=seed, post=post,
        command=command,
    )  # fmt: skip
    output.say(absent)
    print(sentence)


@study.verb("read")
def read(
    folder: Annotated[Path, opt(ARGUMENT, "Folder, with its key.", value="STUDY")],
    answers: Annotated[
        tuple[Path, ...],
        opt(ARGUMENT, "Files of answers, or folders.", value="ANSWERS...", many="repeated"),
    ] = (),
    anchor: options.Anchor = "",
    results: options.Results = Path("results"),
    out: Annotated[
        Path | None, opt(TARGET, "Folder to write to; default: STUDY/report.", refuses="folder")
    ] = None,
    command: str = "",
) -> list[Answer]:
    """Read answers: scores, bits at equal preference, and which metric agrees with people.

    Raters who fail questions of known answer, or answer in under a second, are left out by a stated
    rule and counted. Intervals are over raters and images.

    Examples:
      bench study read study answers/*.json
    """
    report = read_study(folder, answers, results, anchor)
    files = write_report(report, out or folder / "report", command)
    return [*report.answers[:-1], report.answers[-1]._replace(files=files)]
