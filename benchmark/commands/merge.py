"""`bench merge`: results folders of several machines into one."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import options


def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of results.")],
    into: Annotated[Path, typer.Option(help="The folder of results that they are added to.")],
    as_json: options.AsJson = False,
) -> None:
    """Add rows, streams, run records and features of results folders to another one.

    A cell with other bytes or other decoded pixels in two places is a conflict: the first row
    stands, those of --into before all, and both are named. Interrupted or repeated, it ends the
    same. Exit code 0, 1 if there was a conflict or a damaged file, 2 for a folder without results.
    """
    import json

    from benchmark.commands.output import interruptible
    from benchmark.rows.merge import merge_folders

    merged = []
    with interruptible("what was copied is kept; the same command resumes from there"):
        for one in merge_folders(folders, into):
            merged.append(one)
            if not as_json:
                print(
                    f"{one.dataset}: {one.rows} rows, {one.streams} streams, {one.runs} runs, "
                    f"{one.features} features and {one.reductions} reductions were new"
                )
                for sentence in one.conflicts:
                    print(f"conflict {sentence}")
                for sentence in one.damaged:
                    print(f"damaged  {sentence}")
    if as_json:
        print(json.dumps({one.dataset: one._asdict() for one in merged}, indent=1))
    raise typer.Exit(1 if any(one.conflicts or one.damaged for one in merged) else 0)
