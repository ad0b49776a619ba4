"""`bench export images`: decoded pictures under readable names, for figures and for viewers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands import options
from benchmark.commands.options import opt
from benchmark.commands.verb import takes
from benchmark.option import EXPORTED, TARGET
from benchmark.plan.request import Request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmark.datasets.dataset import Source
    from benchmark.measure.outcome import Failure
    from benchmark.report.chosen_pictures import ChosenPictures

SHOWN_CELLS = 3  # of those that failed for one reason


@takes(Request, "limit jobs data_dir weights_dir vtm_dir")
def export_images(
    request: Request,
    to: Annotated[
        Path,
        opt(TARGET, "Folder of the pictures; images.csv lists them.", refuses="folder"),
    ],
    dataset: Annotated[
        str,
        opt(
            EXPORTED,
            "A dataset that has results, or the folder of images that they are of.",
            completes="stored",
        ),
    ] = "kodak",
    codecs: options.ExportedCodecs = "all",
    images: Annotated[
        str,
        opt(EXPORTED, "Comma-separated names of images: kodim03,kodim21; default: all."),
    ] = "",
    points: Annotated[
        list[str] | None,
        opt(
            EXPORTED,
            "Only these settings: jpeg.quality=10,30 (repeatable). With --codecs all, no "
            "other codecs; else all settings of the others.",
        ),
    ] = None,
    bpp: Annotated[
        float | None,
        opt(
            EXPORTED,
            "Only the setting whose rate is nearest to this one, for each image and codec.",
        ),
    ] = None,
    source: Annotated[
        bool,
        opt(EXPORTED, "Also write the source images.", "--source/--no-source"),
    ] = True,
    force: Annotated[
        bool,
        opt(TARGET, "Replace files that are there.", "--force"),
    ] = False,
    results: options.Results = Path("results"),
    as_json: options.AsJson = False,
) -> None:
    """Write decoded pictures as PNG files, from kept streams and packs.

    A name has image, codec, setting and rate: kodim03__ours_beta=3.84__q=2__0.384bpp.png. Only the
    pixels that were scored are written. Exit code 1 if a stream decodes to other ones, or to none.

    Examples:
      bench export images --codecs ours,vtm --images kodim03 --bpp 0.3 --to out
      bench export images --points vtm.qp=32,jpeg.quality=30 --limit 3 --to out
    """
    import json

    from benchmark.analysis.stored import datasets_with_results
    from benchmark.commands.output import interruptible, show_progress
    from benchmark.errors import Unavailable, UsageError
    from benchmark.packs.contents import dataset_contents, packs_beside
    from benchmark.report.chosen_pictures import PictureChoice, choose_pictures, rates
    from benchmark.report.exported_pictures import TABLE, export_pictures, for_json
    from benchmark.rows.named_code import NamedCodecs
    from benchmark.system.machine import cores
    from benchmark.system.settings import use_device

    if bpp is not None and not bpp > 0:
        raise UsageError(f"--bpp {bpp:g}: a rate is above 0")
    if dataset == "all":
        raise UsageError("--dataset all: pictures are exported of one dataset at a time")
    request.use_folders()
    (name,) = datasets_with_results(results, dataset)
    packs = packs_beside(results)
    contents = dataset_contents(results, name.partition(":")[0], packs, NamedCodecs(codecs))
    names = tuple(filter(None, (one.strip() for one in images.split(","))))
    choice = PictureChoice(dataset, codecs, names, request.limit, tuple(points or ()), bpp)
    chosen = choose_pictures(contents, name, choice)
    if not chosen.pictures:
        raise Unavailable(f"no picture can be exported: {'; '.join(_counted(chosen.absent))}")
    sources, lacking = _sources(chosen, dataset, results, request.data_dir) if source else ({}, "")
    with (
        interruptible("pictures that were written stay; the same command writes the others"),
        show_progress("decoding", len(chosen.pictures), quiet=as_json) as report,
    ):
        found = export_pictures(
            to, chosen.pictures, sources, contents, use_device("auto"),
            request.jobs or cores(), force, report,
        )  # fmt: skip
    absent = [*_counted(chosen.absent), *_counted(found.absent), *filter(None, [lacking])]
    if not (found.pictures or found.failures):
        raise Unavailable(f"no picture can be exported: {'; '.join(absent)}")
    if as_json:
        told = {
            "folder": str(to),
            "images": [for_json(entry) for entry in found.entries],
            "failed": [failure._asdict() for failure in found.failures],
            "absent": absent,
        }
        print(json.dumps(told, indent=1))
    else:
        for label, told_rates in rates(found.pictures).items():
            print(f"rate     {label}: {told_rates}")
        for sentence in (*_by_reason(found.failures), *(f"absent   {one}" for one in absent)):
            print(sentence)
        print(f"{to / TABLE}: {found.written} pictures written, {found.there} were there before")
    raise typer.Exit(1 if found.failures else 0)


def _counted(absent: "Mapping[str, int]") -> list[str]:
    return [f"{count} picture{'s' * (count != 1)}: {reason}" for reason, count in absent.items()]


def _by_reason(failures: "Sequence[Failure]") -> list[str]:
    cells: dict[str, list[str]] = {}
    for one in failures:
        cells.setdefault(one.reason, []).append(one.cell)
    said = []
    for reason, these in cells.items():
        more = f" and {len(these) - SHOWN_CELLS} more" if len(these) > SHOWN_CELLS else ""
        said.append(f"failed   {', '.join(these[:SHOWN_CELLS])}{more}: {reason}; not written")
    return said


def _sources(
    chosen: "ChosenPictures", dataset: str, results: Path, data_dir: Path | None
) -> "tuple[dict[str, Source], str]":
    """Return the sources of the chosen pictures, and a sentence on those that are not here."""
    from benchmark.plan.matrix import sources_of
    from benchmark.registry import DATASETS

    wanted = dict.fromkeys(one.row["image_sha256"] for one in chosen.pictures)
    found = sources_of(dataset, data_dir)
    if isinstance(found, str):
        if dataset not in DATASETS and (results / dataset).is_dir():
            found = (
                f"{dataset} is the name of a folder's results: --dataset FOLDER finds its images"
            )
        return {}, f"{len(wanted)} sources: {found.rstrip('.')}"
    here = {sha256: found[sha256] for sha256 in wanted if sha256 in found}
    lacking = len(wanted) - len(here)
    why = "the dataset has other pixels under their names now" if lacking else ""
    return here, f"{lacking} sources: {why}" if lacking else ""
