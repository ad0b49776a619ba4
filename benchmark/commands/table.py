"""`bench table`: the table of a paper, of stored rows and published points."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import output
from benchmark.commands.verb import command_line
from benchmark.errors import StoreError
from benchmark.option import ARGUMENT, opt, some
from benchmark.show.paper.request import FigureRequest
from benchmark.system.atomic import require_inside, write_files

MADE = "% Made by `bench table"  # how a table's LaTeX begins
OPTIONS = (
    "label order results dataset codecs bundled published metrics images anchor up_to_bpp "
    "verified_only allow_few mix_protocols every_curve out"
)
File = Annotated[
    Path | None, opt(ARGUMENT, "Choices of figures; default: figures.toml.", value="FILE")
]


def table(
    asked: Annotated[FigureRequest, some(OPTIONS)], context: typer.Context, file: File = None
) -> None:
    """Write the table of a paper: systems by BD-rates against one anchor, and what they cost.

    Each dataset has its columns and anchor. The best of a column is bold, the second underlined; a
    column without values is left out. Files: table.tex (booktabs), as wide as a page has room for;
    table.md and table.csv, with intervals over images.

    Examples:
      bench table --codecs ours,vtm,avif --metrics psnr,lpips_squeeze
      bench table --dataset kodak,tecnick --published mlic++ --out paper
    """
    from benchmark.rows.stored import asked_datasets, stored_dataset
    from benchmark.show.paper.table import draw_table
    from benchmark.show.table import csv_text, latex, markdown

    request = asked.over(file, "table")
    folder = request.out or request.results / "tables"
    path = folder / "table.tex"
    if request.out is None:
        require_inside(request.results, path)
    elif path.is_file() and not path.read_text(errors="replace").startswith(MADE):
        raise StoreError(f"{path} is of no earlier `bench table`: move it, or name another --out")
    named = request.dataset or stored_dataset(request.results, "")
    made = draw_table(request, asked_datasets(request.results, named))
    tex = latex(made.table, {}, made.marks, made.groups, made.headers, made.parts)
    files = {
        path.name: f"{MADE}{command_line(context).removeprefix('bench table')}`.\n{tex}",
        "table.md": markdown(made.wide, made.marks),
        "table.csv": csv_text(made.records),
    }
    write_files(folder, files, what="table")
    output.print_table(made.table)
    for sentence in made.sentences:
        print(sentence, file=sys.stderr)
    for name in files:
        print(folder / name)
