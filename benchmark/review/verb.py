"""`bench review` and `bench site`: what authors send, examined; packs on a leaderboard."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from benchmark.answer import Answer, Column
from benchmark.commands import options, output
from benchmark.compare.rule import Rule
from benchmark.errors import UsageError
from benchmark.measure.request import Request
from benchmark.option import ARGUMENT, COMPARED, MEASURED, ORIGIN, TARGET, opt, some
from benchmark.registry import DISTRIBUTION_METRICS
from benchmark.review.review import for_machines, html_text, markdown_review
from benchmark.review.review import review as review_supplement
from benchmark.review.site import audited_packs, board, index_html
from benchmark.rows.codecs import NamedCodecs
from benchmark.system.atomic import write_files
from benchmark.system.text import by_key, one_line

Reviewing = Annotated[
    Request, some("metrics jobs timeout_seconds device data_dir weights_dir flatten")
]
RunnableCodecs = Annotated[
    str,
    opt(
        MEASURED,
        "Comma-separated codecs that may run although they are programs or Python files, each in "
        "full; those of bench run anyway.",
    ),
]


def review(
    request: Reviewing,
    rule: Rule,
    path: Annotated[
        Path, opt(ARGUMENT, "Folder, zip, tar, tar.gz, or a csv, json or md of a curve.")
    ],
    dataset: Annotated[
        str, opt(COMPARED, "Dataset, or folder of images; default: that of the rows, else kodak.")
    ] = "",
    claim: Annotated[
        tuple[str, ...],
        opt(
            COMPARED,
            "'SYSTEM N % fewer bits than ANCHOR [in METRIC]' (repeatable).",
            many="repeated",
        ),
    ] = (),
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
) -> Answer:
    """Review what an author sends: packs of streams, reconstructions, curves.

    Do the streams decode to what is stated, are the numbers right, and does a claim hold on the
    measured values? Reconstructions beside a sizes.csv are scored; curves are compared with the
    rows. Nothing that was sent runs, unless --codecs names it. Exit code 1 if anything that was
    sent is contradicted.

    Examples:
      bench review supplement.zip --claim "ours 10 % fewer bits than vtm"
      bench review mine.tar --metrics psnr,ms_ssim
    """
    request.use_folders()
    with (
        output.interruptible("a review leaves nothing behind"),
        TemporaryDirectory(prefix="rdrbench-") as folder,
    ):
        asked = request, dataset, claim, results, rule, NamedCodecs(codecs), output.show_progress
        done = review_supplement(path, Path(folder), *asked)
    facts, place = for_machines(done), out or results / "review"
    files = {"review.html": html_text(done), "review.md": markdown_review(done)}
    files |= {"review.json": f"{output.json_text(facts)}\n"}
    write_files(place, files, what="review")
    records = [
        {name: one_line(getattr(of, name)) for name in ("verdict", "name", "question", "sentence")}
        for of in done.answers
    ]
    columns = [*map(Column, ("verdict", "question")), Column("finding", "sentence")]
    shown = place / "review.html", place / "review.md", place / "review.json"
    return Answer(
        records, columns, absent=done.left_out, facts=facts, code=int(done.wrong), files=shown
    )


def site(
    request: Reviewing,
    rule: Rule,
    results: Annotated[Path, opt(ARGUMENT, "Folder of results.")] = Path("results"),
    submissions: Annotated[Path, opt(ORIGIN, "Folder of packs.")] = Path("submissions"),
    anchor: options.Anchor = "",
    codecs: RunnableCodecs = "all",
    out: Annotated[
        Path | None, opt(TARGET, "Folder of the site; default: RESULTS/site.", refuses="folder")
    ] = None,
) -> Answer:
    """Write a leaderboard of packs as a static site: audited ones ranked, the others below.

    A pack is audited if it is complete, each stream decodes here to the recorded pixels, and all
    values are those measured again. The results are of the anchor alone. Exit code 1 if a pack is
    not reproduced or cannot be read.

    Examples:
      bench site results --submissions submissions
      bench site results --submissions submissions --anchor vtm
    """
    if not submissions.is_dir():
        raise UsageError(f"{submissions} is no folder: name that of the packs by --submissions")
    request.use_folders()
    names = tuple(name for name in request.metrics if name not in DISTRIBUTION_METRICS)
    request = replace(request, metrics=names)  # that can be compared by image
    with output.interruptible("a site is written at the end"):
        audited = submissions, request, NamedCodecs(codecs), output.show_progress
        entries, refused = audited_packs(*audited)
        by_dataset = by_key((entry.dataset, entry) for entry in entries)
        boards = [
            board(name, of, anchor, results, names, rule) for name, of in sorted(by_dataset.items())
        ]
        place = out or results / "site"
        write_files(place, {"index.html": index_html(boards, refused)}, what="site")
    ranked = [
        (it.pack, it.label, it.dataset, it.why, not it.why) for of in boards for it in of.entries
    ]
    ranked += [(it.what, "", "", it.why, False) for it in refused]
    keys = "pack", "system", "dataset", "why", "audited"
    records = [dict(zip(keys, of, strict=True)) for of in ranked]
    state = Column("state", lambda of: "audited" if of["audited"] else "not audited")
    columns = [state, *map(Column, ("pack", "system", "dataset", "why"))]
    code = int(not all(of["audited"] for of in records))
    return Answer(records, columns, code=code, files=[place / "index.html"])
