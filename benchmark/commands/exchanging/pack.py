"""`bench pack` and `bench export`: finished cells for others, as archives and for other tools."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import options
from benchmark.commands.options import opt
from benchmark.commands.verb import Verbs
from benchmark.option import EXPORTED, TARGET
from benchmark.system.text import counted

pack = Verbs("""Export and import bitstream archives: streams with their rows, for others to check.

Examples:
  bench pack export vtm.tar --codecs vtm --dataset kodak
  bench pack import vtm.tar --results elsewhere
""")
tools = Verbs("""Export results for other tools: decoded pictures, codec-compare.

Examples:
  bench export images --codecs ours,vtm --images kodim03 --bpp 0.3 --to out
  bench export codec-compare --dataset kodak --to batches
""")


@tools.command("codec-compare")
def codec_compare(
    to: Annotated[
        Path,
        opt(TARGET, "Folder of the files; batches.json lists the others.", refuses="folder"),
    ],
    dataset: options.ExportedDataset = "kodak",
    codecs: options.ExportedCodecs = "all",
    results: options.Results = Path("results"),
) -> None:
    """Write a dataset's rows as batches of codec-compare, one for each codec variant.

    Serve the folder beside codec-compare's page, and open index.html?load=FOLDER/batches.json.

    Examples:
      bench export codec-compare --dataset kodak --codecs ours,vtm --to batches
    """
    from benchmark.analysis.stored import dataset_with_results, read_results
    from benchmark.metrics.measure import Measure
    from benchmark.registry import METRICS
    from benchmark.report.codec_compare import LIST, batches
    from benchmark.system.atomic import write_files

    name = dataset_with_results(results, dataset)
    stored = read_results(results, name, codecs, tuple(METRICS))
    measures = [Measure.named(name) for name in METRICS]
    found = batches(stored.summary, stored.table, measures, stored.name)
    write_files(to, found.files, what="batches")
    for sentence in found.left_out:
        print(f"left out {sentence}")
    print(f"{to / LIST}: {len(found.files) - 1} batches")


@pack.command("export")
def export(
    out: Annotated[Path, typer.Argument(help="The pack: a new folder, or a new file.tar.")],
    codecs: Annotated[
        str,
        opt(EXPORTED, "Comma-separated codecs, each name[:key=value]...", completes="codecs"),
    ],
    dataset: Annotated[
        str,
        opt(
            EXPORTED,
            "Comma-separated datasets that have results, or 'all' of them.",
            completes="stored",
        ),
    ] = "all",
    note: Annotated[
        list[str] | None,
        opt(EXPORTED, "A sentence that readers of the pack should know (repeatable)."),
    ] = None,
    results: options.Results = Path("results"),
) -> None:
    """Put finished cells and their kept streams into a pack.

    Rows that are bundled with the project without their streams are left out, and counted.

    Examples:
      bench pack export jpeg.tar --codecs jpeg,webp --dataset sample
      bench pack export vtm.tar --codecs vtm --note "encoded on a cluster"
    """
    from benchmark.analysis.stored import datasets_with_results
    from benchmark.codec_spec import parse_codec, resolve, split_unescaped
    from benchmark.errors import UsageError
    from benchmark.packs.export_pack import export_pack
    from benchmark.rows.store import Store

    specs = [
        spec for text in split_unescaped(codecs, ",") for spec in resolve(parse_codec(text.strip()))
    ]
    names = [
        name for text in dataset.split(",") for name in datasets_with_results(results, text.strip())
    ]
    for name in names:
        if ":" in name:
            raise UsageError(f"a pack has whole datasets, not the part {name}: name no part")
    stores = [Store(results / name) for name in names]
    exported = export_pack(out, stores, specs, note or ())
    for sentence in exported.left_out:
        print(f"left out {sentence}")
    print(f"{out}: {counted(exported.num_streams, 'stream')}")


@pack.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="The pack: a folder or a tar.")],
    results: options.ResultsTarget = Path("results"),
) -> None:
    """Add a pack's rows to the results, marked as recorded, and keep its streams.

    Nothing is decoded: `bench audit pack` does that. Rows that name the program or Python file of
    their codec are kept and shown, and never run by themselves.

    Examples:
      bench pack import vtm.tar
    """
    import sys

    from benchmark.packs.contents import import_pack
    from benchmark.packs.pack import open_pack

    for one in import_pack(open_pack(path), results, sys.argv[1:]):
        added = counted(one.added, "row")
        print(f"{one.folder}: {added} added, {one.there} were there before")
