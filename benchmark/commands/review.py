"""`bench review` and `bench site`: what authors send, examined; reviewed results as a site."""

import secrets
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, TypeVar

import typer

from benchmark.commands import options, output
from benchmark.commands.verb import takes
from benchmark.measure.request import Request
from benchmark.option import MEASURED, TARGET, opt
from benchmark.registry import DISTRIBUTION_METRICS
from benchmark.review.request import ReviewRequest, SiteRequest
from benchmark.system.text import counted, one_line

Asked = TypeVar("Asked", ReviewRequest, SiteRequest)
RunnableCodecs = Annotated[
    str,
    opt(
        MEASURED,
        "Comma-separated codecs that may run although they are programs or Python files, each in "
        "full; those of bench run anyway.",
        completes="codecs",
    ),
]


@takes(ReviewRequest)
@takes(Request, "metrics jobs timeout_seconds device data_dir weights_dir vtm_dir flatten")
def review(
    asked: ReviewRequest,
    request: Request,
    path: Annotated[
        Path, typer.Argument(help="Folder, zip, tar, tar.gz, or a csv, json or md of a curve.")
    ],
    codecs: RunnableCodecs = "all",
    out: Annotated[
        Path | None,
        opt(
            TARGET,
            "Folder of review.html, review.md, review.json; default: RESULTS/review.",
            refuses="folder",
        ),
    ] = None,
    results: options.Results = Path("results"),
    as_json: options.AsJson = False,
) -> None:
    """Review what an author sends: streams, reconstructions, results or a curve.

    Streams of packs or of a folder of results are decoded twice in fresh processes and compared
    with the sent pixels, values and sizes; some pictures are encoded again. Reconstructions beside
    a sizes.csv are scored; a curve is only compared. Nothing that was sent runs, unless --codecs
    names it. Exit code 1 if anything that was sent is contradicted.

    Examples:
      bench review supplement.zip --claim "ours 10 % fewer bits than vtm"
      bench review mine.tar --metrics psnr,ms_ssim --year 2025
    """
    from benchmark.review.review import for_machines, html_text, markdown_review
    from benchmark.review.review import review as review_supplement
    from benchmark.rows.codecs import NamedCodecs
    from benchmark.system.atomic import write_files

    request.use_folders()
    progress = partial(output.show_progress, quiet=as_json)
    with (
        output.interruptible("a review leaves nothing behind"),
        TemporaryDirectory(prefix="rdrbench-") as folder,
    ):
        chosen = _seeded(asked), request, results, NamedCodecs(codecs), progress
        done = review_supplement(path, Path(folder), *chosen)
    facts = for_machines(done)
    files = {"review.html": html_text(done), "review.md": markdown_review(done)}
    place = out or results / "review"
    write_files(place, files | {"review.json": f"{output.json_text(facts)}\n"}, what="review")
    if as_json:
        output.print_json(facts)
    else:
        for answer in done.answers:
            print(f"{answer.verdict:<8} {one_line(f'{answer.question} {answer.sentence}')}")
        print(f"{place / 'review.html'}, review.md and review.json have the rows behind each")
    raise typer.Exit(1 if done.wrong else 0)


def _seeded(asked: Asked) -> Asked:
    """Return the choices with a seed, drawn now so that no author knows it before."""
    return replace(asked, seed=secrets.randbelow(1 << 32)) if asked.seed is None else asked


@takes(SiteRequest)
@takes(Request, "metrics jobs timeout_seconds device data_dir weights_dir vtm_dir flatten")
def site(
    asked: SiteRequest,
    request: Request,
    results: Annotated[Path, typer.Argument(help="Folder of results.")] = Path("results"),
    codecs: RunnableCodecs = "all",
    as_json: options.AsJson = False,
) -> None:
    """Write a leaderboard as a static site: verified rows ranked, the others below.

    The streams of each pack in --submissions are decoded twice, scored and compared with its rows,
    which are verified if all agree; of one system the verified submission of most streams stands,
    the newest of several. `bench run --verify` verifies rows of the results. Exit code 1 if a
    submission is not reproduced or cannot be read.

    Examples:
      bench site results --submissions submissions
      bench site results --submissions submissions --audits audits --anchor vtm
    """
    from benchmark.review.site import build_site
    from benchmark.rows.codecs import NamedCodecs

    options.stored_folder(results)
    request.use_folders()
    names = tuple(name for name in request.metrics if name not in DISTRIBUTION_METRICS)
    request = replace(request, metrics=names)  # that can be compared by image
    progress = partial(output.show_progress, quiet=as_json)

    def tell(sentence: str) -> None:
        if not as_json:
            output.say([sentence])

    with output.interruptible("audits that were finished stay in --audits"):
        asked = _seeded(asked)
        place = results, asked, request, NamedCodecs(codecs), progress
        boards, known = build_site(*place, tell)
    records = [
        {
            "submission": submission.name,
            "system": label,
            "verified": audit.audited,
            "reason": audit.reason,
        }
        for submission in known
        for label, audit in submission.audits.items()
    ]
    records += [
        {"submission": submission.name, "system": "", "verified": False, "reason": submission.wrong}
        for submission in known
        if submission.wrong
    ]
    if as_json:
        counts = {board.dataset: len(board.entries) for board in boards}
        output.print_json({"entries": counts, "submissions": records, "seed": asked.seed})
    else:
        for record in records:
            state = "verified" if record["verified"] else "not verified"
            why = f": {record['reason']}" if record["reason"] else ""
            print(f"{state} {record['submission']} {record['system']}{why}")
        print(
            f"{(asked.out or results / 'site') / 'index.html'}: {counted(len(boards), 'dataset')}; "
            f"seed of the pictures encoded again: {asked.seed}"
        )
    raise typer.Exit(0 if all(record["verified"] for record in records) else 1)
