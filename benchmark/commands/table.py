"""`bench table`: a paper's table of stored rows and published points."""

import sys
from typing import Annotated

from benchmark.commands import output
from benchmark.commands.figures import File, Folder
from benchmark.compare.experiment import Experiment
from benchmark.compare.rank import parse_targets
from benchmark.errors import StoreError
from benchmark.option import COMPARED, opt, subset
from benchmark.rows.stored import requested_datasets, stored_dataset
from benchmark.show.figures.style import Look, use_look
from benchmark.show.paper.paper_table import draw_table
from benchmark.show.ranks import BUDGET, TARGETS_OPTION, parse_budget
from benchmark.system.atomic import require_inside, write_files

BD_RATES = opt(COMPARED, "Also write BD-rates, next to the columns of --at.")
HEADER = "% Made by `bench table"  # beginning of the first line of table.tex


def table(
    experiment: Experiment,
    look: Annotated[Look, subset("label order every_curve")],
    at: Annotated[tuple[str, ...], TARGETS_OPTION] = (),
    budget: Annotated[str, BUDGET] = "image",
    bd_rates: Annotated[bool, BD_RATES] = False,
    file: File = None,
    out: Folder = None,
    command: str = "",
) -> None:
    """Write a paper's table: systems by BD-rate against an anchor, and their costs.

    Each dataset has its own columns and anchor. The best value of a column is bold, the second
    underlined; empty columns are omitted. Writes table.tex (booktabs, as wide as a page), and
    table.md and table.csv with intervals over images.

    With --at, columns at each rate or quality replace BD-rates, as in `bench rank`; a published
    value under another rule is marked, and never counts as best.

    Examples:
      bench table --at bpp=.1,.2 --published hific,ms-illm --metrics psnr,lpips
      bench table --at psnr=32 --anchor jpeg --bd-rates
      bench table --codecs ours,vtm,avif --metrics psnr,lpips_squeeze
      bench table --dataset kodak,tecnick --published mlic++ --out paper
    """
    folder = out or experiment.results / "tables"
    path = folder / "table.tex"
    if out is None:
        require_inside(experiment.results, path)
    elif path.is_file() and not path.read_text(errors="replace").startswith(HEADER):
        raise StoreError(f"{path} was not written by `bench table`: move it, or name another --out")
    dataset_text = experiment.dataset or stored_dataset(experiment.results, "")
    with use_look(look):
        datasets, targets = requested_datasets(experiment.results, dataset_text), parse_targets(at)
        budget_rule, has_rates = parse_budget(budget), bd_rates or not targets
        paper_table, files, sentences = draw_table(
            experiment, datasets, targets, budget_rule, has_rates
        )
    files[path.name] = f"{HEADER}{command.removeprefix('bench table')}`.\n{files[path.name]}"
    write_files(folder, files, what="table")
    output.print_table(paper_table)
    for sentence in sentences:
        print(sentence, file=sys.stderr)
    for name in files:
        print(folder / name)
