"""`bench audit`: recorded and kept streams and adapters, checked."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands import options
from benchmark.commands.audit_decode import audit_decode

if TYPE_CHECKING:
    from benchmark.audit.colour_round_trip import Ceiling
    from benchmark.audit.pack_audit import Verdict
    from benchmark.datasets.source import Source
    from benchmark.packs.pack import Pack

SHOWN_PROBLEMS = 20

audit = typer.Typer(
    help="Check what others have to rely on.", no_args_is_help=True, pretty_exceptions_enable=False
)


@audit.callback()
def _group() -> None:
    """Check what others have to rely on."""


audit.command("decode")(audit_decode)


@audit.command("pack")
def audit_pack(
    path: Annotated[Path, typer.Argument(help="The pack: a folder or a tar.")],
    dataset: Annotated[
        list[str] | None,
        typer.Option(help="A dataset or folder to look for its images in, beside those it names."),
    ] = None,
    metrics: options.Metrics = "all",
    jobs: options.Jobs = None,
    device: options.DeviceName = "auto",
    data_dir: options.DataDir = None,
    weights_dir: options.WeightsDir = None,
    flatten: options.Flatten = False,
    trust: options.Trust = False,
) -> None:
    """Decode every stream of a pack; compare bytes, pixels and metrics with what it recorded.

    Images that are not here are decoded all the same, and not scored. Exit code 1 if anything
    differs.
    """
    from benchmark.audit import pack_audit as attest
    from benchmark.commands.output import interruptible
    from benchmark.commands.progress import show_progress
    from benchmark.measure.engine.local import prepare_workers
    from benchmark.measure.workbench import Conditions
    from benchmark.packs.pack import open_pack, refuse_code
    from benchmark.plan.request import Request
    from benchmark.registry import METRICS, metric_names
    from benchmark.system.device import use_device
    from benchmark.system.weights import use_weights_folder

    names = tuple(name for name in metric_names(metrics) if name in METRICS)
    chosen = use_device(device)
    use_weights_folder(weights_dir)
    opened = open_pack(path)
    if not trust:
        refuse_code(opened, "decode its streams")
    prepare_workers()
    with interruptible("an audit leaves nothing behind"):
        sources = _sources(opened, dataset or (), data_dir, flatten)
        request = Request(metrics=names, flatten=flatten)
        conditions = Conditions.of(request, opened.path, chosen, jobs)
        with show_progress("decoding", len(opened.lines), quiet=False) as report:
            verdict = attest.audit_pack(opened, sources, conditions, report)
    _print_verdict(opened, verdict, sources)
    raise typer.Exit(1 if verdict.problems else 0)


@audit.command("ceiling")
def audit_ceiling(
    codecs: Annotated[
        str,
        typer.Option(help="Comma-separated codecs, or 'all' whose adapters convert colour."),
    ] = "all",
    dataset: options.DatasetName = "sample",
    limit: options.Limit = None,
    data_dir: options.DataDir = None,
    vtm_dir: options.VtmDir = None,
    packs: options.Packs = None,
    flatten: options.Flatten = False,
) -> None:
    """Measure what colour conversion alone costs each codec, and that bytes rise with quality.

    Exit code 1 if a conversion loses more than a right one does, or bytes do not rise.
    """
    from benchmark.audit.colour_round_trip import converting_codecs, measure_ceiling
    from benchmark.datasets.image import read_image
    from benchmark.errors import Unavailable, UsageError
    from benchmark.packs.pack import open_pack
    from benchmark.plan.matrix import open_sources
    from benchmark.plan.request import Request
    from benchmark.registry import parse_codec, resolve, split_unescaped

    request = Request(
        dataset=dataset, limit=limit, data_dir=data_dir, vtm_dir=vtm_dir, flatten=flatten
    )
    request.use_folders()
    opened = [open_pack(path) for path in packs or ()]
    known = converting_codecs()
    asked = known
    if codecs != "all":
        texts = split_unescaped(codecs, ",")
        asked = [spec for text in texts for spec in resolve(parse_codec(text.strip()))]
        for spec in asked:
            if spec.name not in {one.name for one in known}:
                raise UsageError(f"{spec.text} has no colour conversion of its own to measure")
    sources = open_sources(request)
    images = [read_image(source.file.path, flatten).pixels for source in sources.images]
    found: list[Ceiling] = []
    for spec in asked:
        try:
            found.append(measure_ceiling(spec, opened, images))
        except Unavailable as missing:
            print(f"skipped  {spec.text}: {missing}")
    _print_ceilings(found, len(images))
    raise typer.Exit(1 if any(one.wrong for one in found) else 0)


def _sources(
    pack: "Pack", more: Iterable[str], data_dir: Path | None, flatten: bool
) -> "dict[tuple[str, int], Source]":
    """The images that are here, by the sha256 of their pixels and their width."""
    from benchmark.errors import BenchError
    from benchmark.plan.matrix import open_sources
    from benchmark.plan.request import Request
    from benchmark.registry import DATASETS

    named = dict.fromkeys(line.cells["dataset"] for line in pack.lines.values())
    found: dict[tuple[str, int], Source] = {}
    for name in [*(name for name in named if name in DATASETS), *more]:
        try:
            sources = open_sources(Request(dataset=name, data_dir=data_dir, flatten=flatten))
        except BenchError as missing:
            print(f"not scored  {name}: {missing}")
            continue
        found |= {(one.sha256, one.width_px): one for one in sources.images}
    return found


def _print_verdict(
    pack: "Pack", verdict: "Verdict", sources: "dict[tuple[str, int], Source]"
) -> None:
    images = {(line.image_sha256, line.width_px) for line in pack.lines.values()}
    what = ", ".join(f"{spec.text} ({info.version})" for spec, info in pack.infos.items())
    print(f"{pack.path}: {what}, {verdict.streams} streams of {len(images)} images")
    for sentence in pack.notes:
        print(f"note     {sentence}")
    print(f"pixels   {verdict.decoded} streams decode to what was recorded")
    for column, count in verdict.compared.items():
        print(f"metric   {column}: {count} values are what was recorded")
    absent = len(images - sources.keys())
    if absent:
        print(f"absent   {absent} images are not here, and nothing of them was scored")
    for problem in verdict.problems[:SHOWN_PROBLEMS]:
        print(f"wrong    {problem.cell}: {problem.what}")
    if len(verdict.problems) > SHOWN_PROBLEMS:
        print(f"wrong    and {len(verdict.problems) - SHOWN_PROBLEMS} more")


def _print_ceilings(found: "Iterable[Ceiling]", images: int) -> None:
    print(f"Colour conversion alone, the lowest PSNR of {images} images:")
    for one in found:
        sizes = " < ".join(str(size) for size in one.num_bytes.values())
        print(
            f"  {one.label:<24} rounded {_decibels(one.rounded_db):>9}, "
            f"truncated {_decibels(one.truncated_db):>9}; bytes {sizes or 'not measured'}"
        )
        if one.unmeasured:
            print(f"    no bytes: {one.unmeasured}")
        for sentence in one.wrong:
            print(f"    wrong: {sentence}")


def _decibels(value: float) -> str:
    return "lossless" if value == float("inf") else f"{value:.2f} dB"
