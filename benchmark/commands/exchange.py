"""`bench pack`, `bench export` and `bench merge`: exchange cells and decoded pictures."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from benchmark.answer import Absent, Answer, Column
from benchmark.commands import options, output
from benchmark.commands.verb import Verbs
from benchmark.errors import Unavailable, UsageError
from benchmark.measure.request import Request
from benchmark.option import ARGUMENT, EXPORTED, MANNER, TARGET, opt, subset
from benchmark.spec import requested_names, split_unescaped, unescape
from benchmark.system.settings import use_device
from benchmark.system.text import counted

if TYPE_CHECKING:
    from benchmark.rows.packs.merge import MergeResult

pack = Verbs("""Export and import packs: streams with their rows, for others to check.

Examples:
  bench pack export vtm.tar --codecs vtm --dataset kodak
  bench pack import vtm.tar --results elsewhere
""")
export = Verbs("""Export decoded pictures for other tools.

Examples:
  bench export images --codecs ours,vtm --images kodim03 --bpp 0.3 --to out
""")


# Fields of `MergeResult` that are printed
MERGE_COUNTS = ("rows", "streams", "runs", "features", "reductions", "pictures")


@pack.verb("export")
def pack_export(
    out: Annotated[Path, opt(ARGUMENT, "The pack: a new folder, or a new file.tar.")],
    codecs: Annotated[str, opt(EXPORTED, "Comma-separated codecs: name[:key=value]...")],
    dataset: Annotated[
        str,
        opt(EXPORTED, "Comma-separated datasets with results, or 'all'."),
    ] = "all",
    note: Annotated[
        tuple[str, ...],
        opt(
            EXPORTED,
            "Note for readers of the pack (repeatable).",
            value_form="repeated",
        ),
    ] = (),
    results: options.Results = Path("results"),
) -> Answer:
    """Write finished cells with their streams to a pack.

    A cell with a declared size is packed with its decoded picture as a PNG file. Bundled rows
    without streams are skipped and counted.

    Examples:
      bench pack export jpeg.tar --codecs jpeg,webp --dataset sample
      bench pack export vtm.tar --codecs vtm --note "encoded on a cluster"
      bench pack export ours.tar --codecs folder:path=DIR:name=Ours
    """
    from benchmark.measure.pictures import read_declared
    from benchmark.rows.names import find_editions
    from benchmark.rows.packs.contents import export_pack
    from benchmark.rows.store import Store
    from benchmark.rows.stored import datasets_with_results
    from benchmark.rows.variants import editions_in, variants_of

    names = datasets_with_results(results, dataset)
    for name in names:
        if ":" in name:
            raise UsageError(f"a pack has complete datasets: leave out the part {name}")
    stores = [Store(results / name) for name in names]
    editions = [edition for store in stores for edition in editions_in(store.means_table())]
    specs = sorted(variants_of(find_editions(requested_names(codecs), editions) or editions))
    result = export_pack(out, stores, specs, note, partial(read_declared, codecs))
    absences = [Absent(sentence, "left out") for sentence in result.left_out]
    facts = {"pack": str(out), "streams": result.num_streams, "pictures": result.num_pictures}
    contents = [counted(result.num_streams, "stream")] if result.num_streams else []
    if result.num_pictures:
        contents.append(f"{counted(result.num_pictures, 'picture')} of declared sizes")
    return Answer((), (), f"{out}: {' and '.join(contents)}", absences, facts)


@pack.verb("import")
def pack_import(
    path: Annotated[Path, opt(ARGUMENT, "The pack: a folder or a tar.")],
    results: options.ResultsTarget = Path("results"),
) -> Answer:
    """Merge a pack's streams, pictures and rows (marked as recorded) into the results.

    Decodes nothing (see `bench audit pack`); conflicts are handled as in `bench merge`.

    Examples:
      bench pack import vtm.tar
    """
    from benchmark.rows.packs.contents import import_pack
    from benchmark.rows.packs.pack import open_pack

    return _merge_answer(import_pack(open_pack(path), results))


def merge(
    folders: Annotated[
        tuple[Path, ...], opt(ARGUMENT, "Folders of results.", value="DIR", value_form="repeated")
    ],
    into: Annotated[Path, opt(TARGET, "Folder of results to merge into.", path_check="folder")],
    incomplete: Annotated[
        bool, opt(MANNER, "Exit with code 0 even if a part of a run (--part) is missing.")
    ] = False,
) -> Answer:
    """Merge results folders into another one.

    If a cell has different bytes or decoded pixels in two folders, this is a conflict: the row in
    --into or else in the first folder is kept, and both rows are named. Rows of programs and Python
    files are merged, but never run. An interrupted merge can be repeated. Exit code 0; 1: a
    conflict, a damaged file or a missing part of a run; 2: a folder without results.

    Examples:
      bench merge results-a results-b --into results
    """
    from benchmark.rows.packs.merge import merge_folders

    with output.interruptible("copied files are kept: repeat the command to continue"):
        return _merge_answer(merge_folders(folders, into), incomplete)


def _merge_answer(folders: Iterable["MergeResult"], incomplete: bool = True) -> Answer:
    folders = [*folders]
    absences = [
        Absent(result.dataset, f"{state}: {sentence}")
        for result in folders
        for state in ("conflicts", "damaged", "missing")
        for sentence in getattr(result, state)
    ]
    columns = [Column("dataset"), *(Column(name, form="d") for name in MERGE_COUNTS)]
    exit_code = int(
        any(
            result.conflicts or result.damaged or (result.missing and not incomplete)
            for result in folders
        )
    )
    return Answer([result._asdict() for result in folders], columns, "", absences, code=exit_code)


@export.verb("images")
def export_images(
    request: Annotated[Request, subset("limit jobs data_dir weights_dir")],
    to: Annotated[Path, opt(TARGET, "Folder for the pictures.", path_check="folder")],
    dataset: Annotated[
        str,
        opt(EXPORTED, "Dataset with results, or the folder of its images."),
    ] = "kodak",
    codecs: options.ExportedCodecs = "all",
    images: Annotated[
        str,
        opt(
            EXPORTED,
            "Comma-separated image names (\\, for a comma): kodim0*,kodim21; default: all.",
        ),
    ] = "",
    points: Annotated[
        tuple[str, ...],
        opt(
            EXPORTED,
            "Export only these settings: jpeg.quality=10,30 (repeatable).",
            value_form="repeated",
        ),
    ] = (),
    bpp: Annotated[
        float | None,
        opt(EXPORTED, "Export only the setting nearest to this rate, for each image and codec."),
    ] = None,
    results: options.Results = Path("results"),
) -> Answer:
    """Write decoded pictures as PNG files, from stored streams and packs.

    File names have image, codec, setting and rate: kodim03__ours_beta=3.84__q=2__0.384bpp.png.
    Existing files with different content are replaced. Exit code 1 if a stream cannot be decoded to
    the pixels that were scored.

    Examples:
      bench export images --codecs ours,vtm --images kodim03 --bpp 0.3 --to out
      bench export images --points vtm.qp=32,jpeg.quality=30 --limit 3 --to out
    """
    from benchmark.measure.pictures import open_pictures
    from benchmark.rows.stored import require_one_dataset
    from benchmark.show.report.exported_pictures import choose_pictures, export_pictures
    from benchmark.system.machine import cores

    if bpp is not None and not bpp > 0:
        raise UsageError(f"--bpp {bpp:g} is not a rate: give a rate above 0")
    if dataset == "all":
        raise UsageError("--dataset all: export the pictures of one dataset at a time")
    request.use_folders()
    name = require_one_dataset(results, dataset)
    pictures = open_pictures(results, name, codecs, dataset=dataset)
    names = tuple(unescape(image.strip()) for image in split_unescaped(images, ",") if image)
    rows, absences = choose_pictures(
        pictures, name, codecs, images=names, limit=request.limit, points=points, bpp=bpp
    )
    if rows:
        with (
            output.interruptible("finished pictures are kept: repeat the command to continue"),
            output.show_progress("decoding", len(rows)) as report,
        ):
            conditions = use_device("auto"), request.jobs or cores(), report
            result = export_pictures(to, rows, pictures, *conditions)
        absences = [*result.absent, *absences]
        if result.records or result.code:
            return result._replace(absent=absences)
    reasons = "; ".join(f"{absence.what}: {absence.why}" for absence in absences)
    raise Unavailable(f"no picture can be exported: {reasons}")
