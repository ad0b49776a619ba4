"""States of a codec for `bench history`: measured once each, compared, drawn and printed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.commands import output
from benchmark.commands.outcome import run_with_progress
from benchmark.compare.check.pairing import RowSet, specs_in, with_weights
from benchmark.compare.check.request import CheckRequest
from benchmark.compare.check.row_sets import ACCEPTED, acceptances, dataset_folders, read_rows
from benchmark.compare.history import History, State, history_of, states_of_rows
from benchmark.compare.panel import anchor_among
from benchmark.errors import UsageError
from benchmark.option import ANCHOR, COMPARED, option, shared
from benchmark.rows.means import summarise
from benchmark.rows.stored import rows_of_codecs
from benchmark.spec import parse_codec
from benchmark.system.text import counted

if TYPE_CHECKING:
    from benchmark.measure.request import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared(CheckRequest):
    """Choices of a history: what states are compared with, and by which rule."""

    against: str = option(
        "", COMPARED, "A baseline or rows to compare with; default: the last accepted, if any."
    )
    anchor: str = shared("", ANCHOR)


def measured(name: str, step: int, path: Path, request: "Request", codec: str) -> State:
    """Measure a checkpoint, unless that was done before."""
    spec = with_weights(parse_codec(codec), str(path))
    outcome = run_with_progress(replace(request, codecs=(spec.text,)))
    if failures := outcome.failures:
        output.say([f"{name}: {counted(len(failures), 'cell')} failed: {failures[0].reason}"])
    return State(name, step, RowSet(name, outcome.matrix.store.folder, outcome.rows))


def stored(folder: Path, codec: str) -> list[State]:
    """Return the checkpoints of a folder of earlier checks, the oldest rows first."""
    return states_of_rows(read_rows(folder), codec)


def compared(states: Sequence[State], metrics: Sequence[str], asked: Compared) -> History:
    """Compare states with the first, a baseline and an anchor; `UsageError` for too few states."""
    references = _references(states[0].rows.folder.name, asked) if states else {}
    return history_of(states, references, metrics, asked.margin)


def _references(dataset: str, asked: Compared) -> dict[str, RowSet]:
    """Return the rows of the baseline and the anchor on a dataset, by what they are called."""
    references: dict[str, RowSet] = {}
    codec = parse_codec(asked.codec).name
    if where := asked.against or (ACCEPTED if acceptances(asked.baselines) else ""):
        folders = dataset_folders(where, asked.baselines)
        if dataset in folders:
            rows = read_rows(folders[dataset])
            references[Path(where).name] = rows._replace(rows=rows_of_codecs(rows.rows, codec))
        elif asked.against:
            raise UsageError(f"{where} has no rows of {dataset}: it has {', '.join(folders)}")
    if asked.anchor or (asked.baselines / dataset / "per_image").is_dir():
        rows = read_rows(asked.baselines / dataset)
        name = asked.anchor or anchor_among(summarise(rows.rows)).label
        if name.partition(":")[0] != codec:  # else there is no other codec
            references[name] = rows._replace(rows=rows_of_codecs(rows.rows, name))
            if len(specs := specs_in(references[name].rows)) > 1:
                known = ", ".join(spec.text for spec in specs)
                raise UsageError(f"--anchor {name} is several: say which of {known}")
    return references


def write(history: History, codec: str, folder: Path, command: str) -> None:
    """Draw a history into a folder, beside its table, and print what it says."""
    from benchmark.show.figures.history import draw_history, headline
    from benchmark.show.paper.results import PaperFigure, write_figure

    drawing = draw_history(history, codec, history.states[0].rows.folder.name)
    paths = write_figure("history", PaperFigure(drawing), folder, command)
    print(headline(history))
    if drawing.table is not None:
        output.print_table(drawing.table)
    output.print_lines([*history.notes], details=True)
    print(*paths, sep="\n")


def numbers(history: History, state: State) -> Mapping[str, float]:
    """Return the BD-rates of a state for a log: "bd_rate/psnr_db/the first/ours:beta=0"."""
    return {
        f"bd_rate/{change.metric.column}/{change.against}/{change.variant}": change.rate.value
        for change in history.changes
        if change.state is state and change.rate.value is not None
    }
