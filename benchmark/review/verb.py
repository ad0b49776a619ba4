"""`bench review` and `bench site`: review authors' supplements; rank packs on a leaderboard."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from benchmark.answer import Answer, Column
from benchmark.commands import options, output
from benchmark.compare.rule import Rule
from benchmark.errors import UsageError
from benchmark.measure.request import Request
from benchmark.option import ARGUMENT, COMPARED, MEASURED, ORIGIN, TARGET, opt, subset
from benchmark.registry import DISTRIBUTION_METRICS
from benchmark.review.review import html_review, markdown_review, review_record, review_supplement
from benchmark.review.site import audited_packs, index_html, make_board
from benchmark.rows.codecs import NamedCodecs
from benchmark.system.atomic import write_files
from benchmark.system.text import group_by_key, one_line

ReviewRequest = Annotated[
    Request, subset("metrics jobs timeout_seconds device data_dir weights_dir flatten")
]
RunnableCodecs = Annotated[
    str,
    opt(
        MEASURED,
        "Codecs to run, comma-separated: programs and Python files run only if their complete "
        "specs are given; built-in codecs always run.",
    ),
]


def review(
    request: ReviewRequest,
    rule: Rule,
    path: Annotated[
        Path, opt(ARGUMENT, "Submission: a folder, zip, tar or tar.gz, or curves (csv, json, md).")
    ],
    dataset: Annotated[
        str, opt(COMPARED, "Dataset or folder of images; default: the rows' dataset, or kodak.")
    ] = "",
    claim: Annotated[
        tuple[str, ...],
        opt(
            COMPARED,
            "Claim to check: 'SYSTEM N % fewer bits than ANCHOR [in METRIC]' (repeatable).",
            value_form="repeated",
        ),
    ] = (),
    codecs: RunnableCodecs = "all",
    out: Annotated[
        Path | None,
        opt(
            TARGET,
            "Folder for review.html, review.md and review.json; default: RESULTS/review.",
            path_check="folder",
        ),
    ] = None,
    results: options.Results = Path("results"),
) -> Answer:
    """Review an author's supplement: packs of streams, reconstructions, curves.

    Checks that streams decode as stated, that numbers are right, and that claims hold. Scores
    reconstructions that have a sizes.csv, and compares curves with rows. Submitted code runs only
    if --codecs names it. Exit code 1 if the review contradicts anything that was sent.

    Examples:
      bench review supplement.zip --claim "ours 10 % fewer bits than vtm"
      bench review mine.tar --metrics psnr,ms_ssim
    """
    request.use_folders()
    with (
        output.interruptible("no review was written"),
        TemporaryDirectory(prefix="rdrbench-") as folder,
    ):
        selection, progress = NamedCodecs(codecs), output.show_progress
        outcome = review_supplement(
            path, Path(folder), request, dataset, claim, results, rule, selection, progress
        )
    facts, out_folder = review_record(outcome), out or results / "review"
    files = {"review.html": html_review(outcome), "review.md": markdown_review(outcome)}
    files |= {"review.json": f"{output.json_text(facts)}\n"}
    write_files(out_folder, files, what="review")
    fields = "verdict", "name", "question", "sentence"
    records = [
        {field: one_line(getattr(answer, field)) for field in fields} for answer in outcome.answers
    ]
    columns = [*map(Column, ("verdict", "question")), Column("finding", "sentence")]
    paths = out_folder / "review.html", out_folder / "review.md", out_folder / "review.json"
    code = int(outcome.wrong)
    return Answer(records, columns, absent=outcome.left_out, facts=facts, code=code, files=paths)


def site(
    request: ReviewRequest,
    rule: Rule,
    results: Annotated[Path, opt(ARGUMENT, "Folder of results.")] = Path("results"),
    submissions: Annotated[Path, opt(ORIGIN, "Folder of packs.")] = Path("submissions"),
    anchor: options.Anchor = "",
    codecs: RunnableCodecs = "all",
    out: Annotated[
        Path | None, opt(TARGET, "Folder for the site; default: RESULTS/site.", path_check="folder")
    ] = None,
) -> Answer:
    """Write a leaderboard of packs as a static site.

    Ranks audited packs: they are complete, their streams decode here to the recorded pixels, and
    their values equal those measured here. Results are read only for the anchor. Exit code 1 if a
    pack is not reproduced or cannot be read.

    Examples:
      bench site results --submissions submissions
      bench site results --submissions submissions --anchor vtm
    """
    if not submissions.is_dir():
        raise UsageError(f"{submissions} is not a folder: give a folder of packs to --submissions")
    request.use_folders()
    names = tuple(name for name in request.metrics if name not in DISTRIBUTION_METRICS)
    request = replace(request, metrics=names)  # only metrics of single images
    with output.interruptible("no site was written"):
        selection = NamedCodecs(codecs)
        entries, unreadable_packs = audited_packs(
            submissions, request, selection, output.show_progress
        )
        by_dataset = group_by_key((entry.dataset, entry) for entry in entries)
        boards = [
            make_board(name, dataset_entries, anchor, results, names, rule)
            for name, dataset_entries in sorted(by_dataset.items())
        ]
        site_folder = out or results / "site"
        write_files(site_folder, {"index.html": index_html(boards, unreadable_packs)}, what="site")
    record_values = [
        (entry.pack, entry.label, entry.dataset, entry.refusal, not entry.refusal)
        for board in boards
        for entry in board.entries
    ]
    record_values += [(absence.what, "", "", absence.why, False) for absence in unreadable_packs]
    keys = "pack", "system", "dataset", "why", "audited"
    records = [dict(zip(keys, values, strict=True)) for values in record_values]
    state = Column("state", lambda record: "audited" if record["audited"] else "not audited")
    columns = [state, *map(Column, ("pack", "system", "dataset", "why"))]
    code = int(not all(record["audited"] for record in records))
    return Answer(records, columns, code=code, files=[site_folder / "index.html"])
