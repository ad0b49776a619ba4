"""`bench merge`: merge the results folders of several machines."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands import options
from benchmark.commands.options import opt
from benchmark.option import TARGET
from benchmark.system.text import counted

if TYPE_CHECKING:
    from benchmark.rows.merge import Merged


def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Folders of results.")],
    into: Annotated[
        Path,
        opt(TARGET, "Folder of results to add them to.", refuses="folder"),
    ],
    as_json: options.AsJson = False,
) -> None:
    """Add rows, streams, run records and features of results folders to another one.

    A cell with different bytes or decoded pixels in two folders is a conflict: the first row
    stands, those of --into first, and both are named. Rows that name the program or Python file of
    their codec are kept and shown, and never run by themselves. A merge may be interrupted and
    repeated. Exit code 0, 1 if there was a conflict or a damaged file, 2 for a folder without
    results.

    Examples:
      bench merge results-a results-b --into results
    """
    import json

    from benchmark.commands.output import interruptible
    from benchmark.rows.merge import merge_folders

    merged = []
    with interruptible("what was copied is kept; the same command resumes from there"):
        for one in merge_folders(folders, into):
            merged.append(one)
            if not as_json:
                print(f"{one.dataset}: {_added(one)} added")
                for sentence in one.conflicts:
                    print(f"conflict {sentence}")
                for sentence in one.damaged:
                    print(f"damaged  {sentence}")
    if as_json:
        print(json.dumps({one.dataset: one._asdict() for one in merged}, indent=1))
    raise typer.Exit(1 if any(one.conflicts or one.damaged for one in merged) else 0)


def _added(one: "Merged") -> str:
    counts = {"row": one.rows, "stream": one.streams, "run": one.runs, "feature": one.features}
    added = ", ".join(counted(count, noun) for noun, count in counts.items())
    return f"{added} and {counted(one.reductions, 'reduction')}"
