"""`bench audit decode`: every kept stream decoded again, in a process that has nothing else."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.commands import options

if TYPE_CHECKING:
    from benchmark.figures.table import Table
    from benchmark.measure.independent_decode import Findings, Kept

SHOWN_PROBLEMS = 20


def audit_decode(
    results: Annotated[Path, typer.Argument(help="Folder of results.")] = Path("results"),
    dataset: Annotated[
        str, typer.Option(help="A dataset that has results, or 'all' of them.")
    ] = "all",
    device: options.DeviceName = "auto",
    jobs: options.Jobs = None,
    levels: Annotated[
        int, typer.Option(min=0, max=255, help="The largest difference that is still no fault.")
    ] = 1,
    trust: options.Trust = False,
    weights_dir: options.WeightsDir = None,
    vtm_dir: options.VtmDir = None,
    as_json: options.AsJson = False,
) -> None:
    """Decode every kept stream again on this machine; compare the pixels with the recorded hash.

    Each codec variant gets processes of its own, which are told its name and given streams: no
    sources, no rows. Exit code 1 if a codec that runs here gives other pixels, or none.
    """
    from benchmark.analysis.stored import datasets_with_results
    from benchmark.commands.output import interruptible
    from benchmark.commands.progress import show_progress
    from benchmark.measure.independent_decode import Findings, Terms, audit_decode, kept_streams
    from benchmark.plan.request import Request
    from benchmark.rows.store import Store
    from benchmark.system.device import use_device
    from benchmark.system.machine import cores, machine

    Request(weights_dir=weights_dir, vtm_dir=vtm_dir).use_folders()
    terms = Terms(use_device(device), machine(), jobs or cores(), levels, trust)
    names = [name.partition(":")[0] for name in datasets_with_results(results, dataset)]
    findings = Findings()
    with interruptible("an audit leaves nothing behind"):
        kept = [kept_streams(Store(results / name)) for name in names]
        total = sum(one.streams for one in kept)
        with show_progress("decoding", total, quiet=as_json) as report:
            for one in kept:
                for _ in audit_decode(one, terms, findings, report):
                    pass
    if as_json:
        print(json.dumps(_for_machines(kept, findings), indent=1))
    else:
        _print(kept, findings, levels)
    raise typer.Exit(1 if findings.problems else 0)


def _print(kept: "list[Kept]", findings: "Findings", levels: int) -> None:
    from benchmark.commands.output import print_table

    if findings.counts:
        print_table(_table(findings, levels))
    for failure in findings.problems[:SHOWN_PROBLEMS]:
        print(f"wrong    {failure.cell}: {failure.stage}: {failure.reason}")
    if len(findings.problems) > SHOWN_PROBLEMS:
        print(f"wrong    and {len(findings.problems) - SHOWN_PROBLEMS} more")
    for why, count in findings.unavailable.items():
        print(f"skipped  {count} rows of {why}")
    if findings.not_kept:
        print(f"absent   {findings.not_kept} rows have a stream that was not kept")
    if findings.declared:
        print(f"absent   {findings.declared} rows never had a stream: their sizes are declared")
    print(f"{sum(one.streams for one in kept)} streams in {len(kept)} datasets")


def _table(findings: "Findings", levels: int) -> "Table":
    from benchmark.figures.table import Table
    from benchmark.measure.independent_decode import VERDICTS

    headers = ["codec", "encoded on", "decoded on", *VERDICTS]
    headers[3 + VERDICTS.index("within")] = f"within {levels} level{'s' * (levels != 1)}"
    rows = [
        (*journey, *(str(findings.counts[journey][verdict]) for verdict in VERDICTS))
        for journey in sorted(findings.counts)
    ]
    return Table(tuple(headers), tuple(rows), 3, ())


def _for_machines(kept: "list[Kept]", findings: "Findings") -> dict[str, Any]:
    from benchmark.measure.independent_decode import VERDICTS

    return {
        "datasets": {one.store.folder.name: one.streams for one in kept},
        "table": [
            {
                **journey._asdict(),
                **{verdict: findings.counts[journey][verdict] for verdict in VERDICTS},
                "largest_difference": findings.levels.get(journey),
            }
            for journey in sorted(findings.counts)
        ],
        "wrong": [failure._asdict() for failure in findings.problems],
        "skipped": dict(findings.unavailable),
        "not_kept": findings.not_kept,
        "declared": findings.declared,
    }
