"""`bench audit`: verify rows, recorded and kept streams, and the colour conversion of adapters."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.commands import options, output
from benchmark.commands.audit_rows import audit_rows
from benchmark.commands.verb import Verbs, takes
from benchmark.measure.request import Request
from benchmark.option import MANNER, MEASURED, ORIGIN, opt, option
from benchmark.registry import DISTRIBUTION_METRICS
from benchmark.rows.systems import short_version
from benchmark.system.settings import use_device
from benchmark.system.text import counted

if TYPE_CHECKING:
    from benchmark.measure.independent_decode import Findings
    from benchmark.review.audit.pack_audit import PackAudit, Sources
    from benchmark.rows.packs.pack import Pack

audit = Verbs("""Verify rows, streams, packs and colour conversions.

Examples:
  bench audit rows --dataset kodak --codecs ours
  bench audit decode results
  bench audit pack results/packs/vtm-23.13.tar
""")
audit.verb("rows")(audit_rows)


@audit.verb("decode")
@takes(Request, "device jobs timeout_seconds weights_dir vtm_dir")
def audit_decode(
    request: Request,
    results: Annotated[Path, typer.Argument(help="Folder of results.")] = Path("results"),
    dataset: options.StoredDatasets = "all",
    codecs: options.StoredCodecs = "all",
    levels: Annotated[
        int, opt(MANNER, "Largest difference of 8-bit levels that is no fault.", least=0, most=255)
    ] = 1,
    as_json: options.AsJson = False,
) -> None:
    """Decode every kept stream again on this machine; compare the pixels with the recorded hash.

    Each codec variant is decoded in fresh processes that receive its name and streams, no sources
    and no rows. Exit code 1 if a codec that runs here gives other pixels, or none.

    Examples:
      bench audit decode results
      bench audit decode results --dataset sample --levels 0 --json
    """
    from benchmark.measure.independent_decode import AuditOptions, audit_stores
    from benchmark.rows.codecs import NamedCodecs
    from benchmark.rows.store import Store
    from benchmark.rows.stored import datasets_with_results
    from benchmark.system.machine import cores, machine

    request.use_folders()
    conditions = use_device(request.device), machine(), request.jobs or cores(), levels
    asked = AuditOptions(*conditions, NamedCodecs(codecs), request.timeout_seconds)
    with output.interruptible("an audit leaves nothing behind"):
        names = datasets_with_results(results, dataset)
        stores = [Store(results / name.partition(":")[0]) for name in names]
        result = audit_stores(stores, asked, partial(output.show_progress, quiet=as_json))
    if as_json:
        output.print_json(_for_machines(result))
    else:
        _print_decoded(result, levels)
    raise typer.Exit(1 if result.problems else 0)


@audit.verb("pack")
@takes(
    Request,
    "metrics jobs timeout_seconds device results data_dir weights_dir flatten",
    metrics="all",
    results=option(Path("results"), ORIGIN, "Folder of results, of which runs know images."),
)
def audit_pack(
    request: Request,
    path: Annotated[Path, typer.Argument(help="The pack: a folder or a tar.")],
    dataset: Annotated[
        list[str] | None,
        opt(
            ORIGIN,
            "Another dataset or folder to search for images (repeatable).",
            completes="dataset",
        ),
    ] = None,
    codecs: options.StoredCodecs = "all",
    as_json: options.AsJson = False,
) -> None:
    """Decode every stream of a pack; compare bytes, pixels and metrics with what it recorded.

    Streams whose images are not on this machine are decoded but not scored. A codec that is a
    program or Python file runs only where --codecs names it. Exit code 1 if anything differs.

    Examples:
      bench audit pack results/packs/vtm-23.13.tar
      bench audit pack webp.tar --metrics psnr --jobs 2 --json
    """
    from benchmark.measure.cells import Conditions
    from benchmark.measure.workers import worker_context
    from benchmark.review.audit import pack_audit
    from benchmark.rows.codecs import NamedCodecs
    from benchmark.rows.packs.pack import open_pack

    names = tuple(metric for metric in request.metrics if metric not in DISTRIBUTION_METRICS)
    request = replace(request, metrics=names)
    chosen = use_device(request.device)
    request.use_folders()
    opened = open_pack(path).to_run(NamedCodecs(codecs))
    worker_context()  # begins to load what workers need
    with output.interruptible("an audit leaves nothing behind"):
        sources, missing = pack_audit.find_sources(opened, dataset or (), request)
        for name, reason in missing.items() if not as_json else ():
            print(f"not scored  {name}: {reason}")
        conditions = Conditions.of(request, opened.path, chosen, request.jobs)
        with output.show_progress("decoding", len(opened.streams), quiet=as_json) as report:
            result = pack_audit.audit_pack(opened, sources, conditions, report)
    if as_json:
        output.print_json(_pack_for_machines(opened, result, missing))
    else:
        _print_pack(opened, result, sources)
    raise typer.Exit(1 if result.contradictions else 0)


@audit.verb("colour-round-trip")
@takes(Request, "dataset limit data_dir vtm_dir packs flatten")
def audit_colour_round_trip(
    request: Request,
    codecs: Annotated[
        str,
        opt(MEASURED, "Comma-separated codecs, or 'all' that convert colours.", completes="codecs"),
    ] = "all",
    as_json: options.AsJson = False,
) -> None:
    """Measure the PSNR after colour conversion alone, and check that bytes rise with quality.

    Exit code 1 if a conversion loses more than a correct one does, or if bytes do not rise.

    Examples:
      bench audit colour-round-trip
      bench audit colour-round-trip --codecs avif,x265 --dataset sample --limit 1
    """
    from benchmark.datasets.image import read_image
    from benchmark.measure.select import open_sources
    from benchmark.review.audit.colour_round_trip import chosen_codecs, measure_round_trips
    from benchmark.rows.packs.pack import open_pack
    from benchmark.spec import split_codecs

    request.use_folders()
    opened = [open_pack(path) for path in request.packs]
    asked = chosen_codecs(split_codecs(codecs))
    sources = open_sources(request)
    images = [read_image(source.file.path, request.flatten).pixels for source in sources.images]
    round_trips, skipped = measure_round_trips(asked, opened, images)
    if as_json:
        names = ("unmeasured", "wrong", "rounded_db", "truncated_db")  # null: nothing is lost
        records = [
            {
                **{name: getattr(codec, name) for name in names},
                "codec": codec.label,
                "bytes": {str(setting): size for setting, size in codec.num_bytes.items()},
            }
            for codec in round_trips
        ]
        output.print_json({"codecs": records, "skipped": dict(skipped)})
    else:
        for name, reason in skipped.items():
            print(f"skipped  {name}: {reason}")
        print(f"Colour conversion alone, the lowest PSNR of {counted(len(images), 'image')}:")
        for codec in round_trips:
            sizes = ", ".join(map(str, codec.num_bytes.values()))
            print(
                f"  {codec.label:<24} rounded {_decibels(codec.rounded_db):>9}, "
                f"truncated {_decibels(codec.truncated_db):>9}; bytes {sizes or 'not measured'}"
            )
            if codec.unmeasured:
                print(f"    no bytes: {codec.unmeasured}")
            for sentence in codec.wrong:
                print(f"    wrong: {sentence}")
    raise typer.Exit(1 if any(codec.wrong for codec in round_trips) else 0)


def _decibels(value: float) -> str:
    return f"{value:.2f} dB" if isfinite(value) else "lossless"


def _journeys(findings: "Findings") -> list[dict[str, Any]]:
    """Return the count of each verdict by codec and machines, and the largest difference."""
    from benchmark.measure.independent_decode import VERDICTS

    counts, levels = findings.counts, findings.levels
    return [
        {
            **journey._asdict(),
            **{verdict: counts[journey][verdict] for verdict in VERDICTS},
            "largest_difference": levels.get(journey),
        }
        for journey in sorted(counts)
    ]


def _print_decoded(findings: "Findings", levels: int) -> None:
    from benchmark.measure.independent_decode import VERDICTS
    from benchmark.show.table import Table

    if journeys := _journeys(findings):
        within = f"within {counted(levels, 'level')}"
        verdicts = (within if verdict == "within" else verdict for verdict in VERDICTS)
        headers = ("codec", "encoded on", "decoded on", *verdicts)
        rows = tuple(tuple(map(str, journey.values()))[:-1] for journey in journeys)
        output.print_table(Table(headers, rows, 3))
    output.print_wrong([f"{cell}: {stage}: {reason}" for cell, stage, reason in findings.problems])
    for why, count in findings.unavailable.items():
        print(f"skipped  {counted(count, 'row')} of {why}")
    lacks = {"a stream that was not kept": findings.not_kept, "no stream": findings.declared}
    for what, count in lacks.items():
        if count:
            print(f"absent   {counted(count, 'row has', 'rows have')} {what}")
    streams = counted(sum(findings.streams.values()), "stream")
    print(f"{streams} in {counted(len(findings.streams), 'dataset')}")


def _for_machines(findings: "Findings") -> dict[str, Any]:
    return {
        "datasets": dict(findings.streams),
        "table": _journeys(findings),
        "wrong": [failure._asdict() for failure in findings.problems],
        "tracebacks": findings.tracebacks.listed(),
        "skipped": dict(findings.unavailable),
        "not_kept": findings.not_kept,
        "declared": findings.declared,
    }


def _pack_for_machines(
    pack: "Pack", audited: "PackAudit", missing: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "pack": str(pack.path),
        "codecs": {spec.text: info.version for spec, info in pack.infos.items()},
        "streams": audited.streams,
        "decoded": audited.decoded,
        "compared": dict(audited.compared),
        "wrong": [{"cell": wrong.cell, "what": wrong.what} for wrong in audited.contradictions],
        "not_scored": dict(missing),
        "notes": list(pack.notes),
    }


def _print_pack(pack: "Pack", audited: "PackAudit", sources: "Sources") -> None:
    images = {(stream.image_sha256, stream.width_px) for stream in pack.streams.values()}
    codecs = ", ".join(
        f"{spec.text} ({short_version(info.version)})" for spec, info in pack.infos.items()
    )
    streams = f"{counted(audited.streams, 'stream')} of {counted(len(images), 'image')}"
    print(f"{pack.path}: {codecs}, {streams}")
    for sentence in pack.notes:
        print(f"note     {sentence}")
    decoded = counted(audited.decoded, "stream decodes", "streams decode")
    print(f"pixels   {decoded} to the recorded pixels")
    for column, count in audited.compared.items():
        if count:
            equal = counted(count, "value is as recorded", "values are as recorded")
            print(f"metric   {column}: {equal}")
    differing = {wrong.column for wrong in audited.contradictions}
    if without := [name for name, n in audited.compared.items() if not n and name not in differing]:
        print(f"metric   no value to compare, here or in the pack: {', '.join(without)}")
    if absent := len(images - sources.keys()):
        not_here = counted(absent, "image is", "images are")
        print(
            f"absent   {not_here} not here: no stream of them was scored without --dataset FOLDER"
        )
    output.print_wrong([f"{wrong.cell}: {wrong.what}" for wrong in audited.contradictions])
