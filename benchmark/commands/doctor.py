"""`bench doctor`: what runs on this machine, and what the rest lacks."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from benchmark.commands import options

if TYPE_CHECKING:
    from benchmark.audit.installation import Finding


def doctor(
    data_dir: options.DataDir = None,
    weights_dir: options.WeightsDir = None,
    vtm_dir: options.VtmDir = None,
) -> None:
    """Say which codecs, metrics and datasets can be used here, and what the others lack."""
    from benchmark.audit.installation import (
        examine_codecs,
        examine_datasets,
        examine_machine,
        examine_metrics,
    )
    from benchmark.plan.request import Request

    Request(weights_dir=weights_dir, vtm_dir=vtm_dir).use_folders()
    _show("machine", examine_machine(data_dir))
    _show("codecs", _lines(examine_codecs()))
    _show("metrics", _lines(examine_metrics()))
    _show("datasets", _lines(examine_datasets(data_dir)))


def _lines(findings: Iterable["Finding"]) -> list[tuple[str, ...]]:
    return [
        (one.name, one.state, f"{one.what} [{one.licence}]" if one.licence else one.what)
        for one in findings
    ]


def _show(title: str, lines: Sequence[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for _ in lines[0][:-1]:
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, *others in lines:
        table.add_row(f"  {name}", *map(Text, others))
    console = Console(highlight=False)
    console.print(title)
    console.print(table)
