"""`bench study`: ask people which codec they prefer, and read their answers."""

from pathlib import Path
from typing import Annotated

from benchmark.answer import Answer
from benchmark.commands import options, output
from benchmark.commands.verb import Verbs
from benchmark.compare.experiment import Experiment, Rates
from benchmark.errors import UsageError
from benchmark.option import ARGUMENT, DRAWING, MANNER, TARGET, opt, subset
from benchmark.show.paper.crops import DATA_DIR
from benchmark.study.folder import write_study
from benchmark.study.report import read_study, write_report

UNSAFE = " ;,'\"<>\\"  # characters that are not allowed in a security policy's URL

CROP = "Side (px) of the crop, where codecs differ most; 0: whole images."


study = Verbs("""Ask people which codec they prefer, and read their answers.

A study is a folder with a page that works from a disk or any static host. Each rater's answers are
one small file.

Examples:
  bench study new --codecs ours,vtm,jpeg --bpp .15,.25,.5,.9 --out study
  bench study read study answers/*.json
""")


@study.verb("new")
def new(
    experiment: Annotated[
        Experiment, subset("codecs dataset bundled images verified_only results")
    ],
    bpp: Rates = (".1", ".2", ".4", ".8"),
    data_dir: Annotated[Path | None, DATA_DIR] = None,
    raters: Annotated[int, opt(MANNER, "Number of raters.", minimum=1, maximum=10_000)] = 12,
    each: Annotated[int, opt(MANNER, "Questions for each rater.", minimum=4, maximum=1000)] = 60,
    crop: Annotated[int, opt(DRAWING, CROP, minimum=0)] = 512,
    seed: Annotated[
        int, opt(MANNER, "Random seed for pairs, order, sides and file names.", minimum=0)
    ] = 0,
    post: Annotated[str, opt(TARGET, "URL to which answers are also posted.")] = "",
    out: Annotated[Path, opt(TARGET, "Folder for the study.", path_check="folder")] = Path("study"),
    command: str = "",
) -> None:
    """Write a study: two-alternative forced choice, in which the original can be flipped to.

    Raters compare codecs at equal rate (within 10 %), and each codec at neighbouring rates, so
    that preferences can be expressed in bits. Pictures are lossless, and their names do not
    reveal the codec.

    Examples:
      bench study new --codecs ours,vtm,jpeg --bpp .15,.25,.5,.9 --out study
    """
    has_safe_characters = post.isascii() and post.isprintable() and not set(post) & set(UNSAFE)
    if post and not (has_safe_characters and post.startswith(("https://", "http://"))):
        raise UsageError(f"--post {post!r} is not a URL: give one that begins with https://")
    _, (*missing_pictures, sentence) = write_study(
        out, experiment, bpp, data_dir=data_dir, raters=raters, questions=each, crop=crop,
        seed=seed, post=post, command=command,
    )  # fmt: skip
    output.say(missing_pictures)
    print(sentence)


@study.verb("read")
def read(
    folder: Annotated[Path, opt(ARGUMENT, "Folder of the study.", value="STUDY")],
    answers: Annotated[
        tuple[Path, ...],
        opt(ARGUMENT, "Answer files, or their folders.", value="ANSWERS...", value_form="repeated"),
    ] = (),
    anchor: options.Anchor = "",
    results: options.Results = Path("results"),
    out: Annotated[
        Path | None,
        opt(TARGET, "Folder for the report; default: STUDY/report.", path_check="folder"),
    ] = None,
    command: str = "",
) -> list[Answer]:
    """Read answers: scores, bits at equal preference, and agreement of metrics with people.

    Excludes raters who fail catch trials or answer within a second; the report counts them by rule.
    Intervals are over raters and images.

    Examples:
      bench study read study answers/*.json
    """
    report = read_study(folder, answers, results, anchor)
    files = write_report(report, out or folder / "report", command)
    return [*report.answers[:-1], report.answers[-1]._replace(files=files)]
