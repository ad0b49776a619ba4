"""`bench pack` and `bench export`: finished cells for others, as archives and for other tools."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import options

pack = typer.Typer(
    help="Export and import bitstream archives: streams with their rows, for others to check.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
tools = typer.Typer(
    help="Export results for other tools: decoded pictures, codec-compare.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@tools.callback()
def _tools() -> None:
    """Export results for other tools: decoded pictures, codec-compare."""


@tools.command("codec-compare")
def codec_compare(
    to: Annotated[Path, typer.Option(help="Folder of the files; batches.json lists the others.")],
    dataset: options.DatasetName = "kodak",
    codecs: Annotated[
        str, typer.Option(help="Comma-separated codecs to keep, or 'all' that have results.")
    ] = "all",
    results: options.Results = Path("results"),
) -> None:
    """Write a dataset's rows as batches of codec-compare, one for each codec variant.

    Serve the folder beside codec-compare's page, and open index.html?load=FOLDER/batches.json.
    """
    from benchmark.analysis.stored import read_results
    from benchmark.metrics.measure import Measure
    from benchmark.registry import METRICS
    from benchmark.report.codec_compare import LIST, batches
    from benchmark.system.atomic import write_files

    stored = read_results(results, dataset, codecs, tuple(METRICS))
    measures = [Measure.named(name) for name in METRICS]
    found = batches(stored.summary, stored.table, measures, stored.name)
    write_files(to, found.files, what="batches")
    for sentence in found.left_out:
        print(f"left out {sentence}")
    print(f"{to / LIST}: {len(found.files) - 1} batches")


@pack.callback()
def _group() -> None:
    """Export and import bitstream archives: streams with their rows, for others to check."""


@pack.command("export")
def export(
    out: Annotated[Path, typer.Argument(help="The pack: a new folder, or a new file.tar.")],
    codecs: Annotated[str, typer.Option(help="Comma-separated codecs, each name[:key=value]...")],
    dataset: Annotated[
        str, typer.Option(help="Comma-separated datasets that have results, or 'all' of them.")
    ] = "all",
    note: Annotated[
        list[str] | None,
        typer.Option(help="A sentence that readers of the pack should know (repeatable)."),
    ] = None,
    results: options.Results = Path("results"),
) -> None:
    """Put finished cells and their kept streams into a pack."""
    from benchmark.codec_spec import parse_codec, resolve, split_unescaped
    from benchmark.errors import UnknownName, UsageError
    from benchmark.packs.export_pack import export_pack
    from benchmark.rows.store import Store

    specs = [
        spec for text in split_unescaped(codecs, ",") for spec in resolve(parse_codec(text.strip()))
    ]
    found = sorted(path.parent.name for path in results.glob("*/per_image"))
    if not found:
        raise UsageError(f"{results} holds no results: measure something with `bench run` first")
    names = found if dataset == "all" else [name.strip() for name in dataset.split(",")]
    for name in names:
        if name not in found:
            raise UnknownName("results of a dataset", name, found)
    stores = [Store(results / name) for name in names]
    count = export_pack(out, stores, specs, note or ())
    print(f"{out}: {count} streams")


@pack.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="The pack: a folder or a tar.")],
    results: options.Results = Path("results"),
    trust: options.Trust = False,
) -> None:
    """Add a pack's rows to the results, marked as recorded, and keep its streams.

    Nothing is decoded: `bench audit pack` does that.
    """
    import sys

    from benchmark.packs.import_pack import import_pack
    from benchmark.packs.pack import open_pack, refuse_code

    opened = open_pack(path)
    if not trust:
        refuse_code(opened, "add its rows")
    for one in import_pack(opened, results, sys.argv[1:]):
        print(f"{one.folder}: {one.added} rows added, {one.there} were there before")
