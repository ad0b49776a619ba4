"""`bench audit`: rows measured again, kept streams and packs decoded again, and compared."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import polars as pl

from benchmark.answer import Absent, Answer, Column
from benchmark.commands import options, output
from benchmark.commands.outcome import run_with_progress
from benchmark.commands.verb import Verbs
from benchmark.errors import UnknownName
from benchmark.measure.record import Failure, Progress, Tracebacks
from benchmark.measure.request import Request
from benchmark.measure.verify import Verifier, failure_of, kept_rows
from benchmark.option import ARGUMENT, ORIGIN, TARGET, opt, some
from benchmark.registry import DISTRIBUTION_METRICS, METRICS, metric_named
from benchmark.review.decode import TOLERANCE, decode, differences, pairs
from benchmark.review.sent import name_of_row, open_photographs, sent_rows
from benchmark.rows.agreement import agreeing
from benchmark.rows.codecs import NamedCodecs
from benchmark.rows.comparable import newest
from benchmark.rows.experiment import measured_place, required_place
from benchmark.rows.packs.pack import open_pack
from benchmark.rows.schema import metric_columns, metric_names
from benchmark.rows.store import Store
from benchmark.rows.stored import asked_datasets, datasets_with_results
from benchmark.rows.systems import known_names, short_version
from benchmark.rows.versions import BUILD, OK
from benchmark.spec import CodecSpec
from benchmark.system.machine import cores, processor_of
from benchmark.system.settings import use_device
from benchmark.system.text import counted

Row = Mapping[str, Any]
KEY = ("codec", "variant", "setting_name", "setting_value", "image_sha256")
# Of a network's streams where its sums are rounded otherwise: their sizes, relative, and PSNR. At
# most .012 and .029 dB were measured, with an encoder's search (docs/experiments/processors.md).
SIZE_APART, DB_APART = 0.02, 0.05

audit = Verbs("""Measure rows again, decode streams and packs again, and compare.

Examples:
  bench audit rows --dataset kodak --codecs ours
  bench audit decode results
  bench audit pack results/packs/vtm-23.13.tar
""")


@audit.verb("decode")
def audit_decode(
    request: Annotated[Request, some("device jobs timeout_seconds weights_dir vtm_dir")],
    results: Annotated[Path, opt(ARGUMENT, "Folder of results.")] = Path("results"),
    dataset: options.StoredDatasets = "all",
    codecs: options.StoredCodecs = "all",
) -> Answer:
    """Decode every kept stream again on this machine; compare the pixels with the recorded hash.

    Each codec variant is decoded in fresh processes that receive its name and streams, no sources
    and no rows. Exit code 1 if a codec that runs here gives other pixels, or none.

    Examples:
      bench audit decode results
      bench audit decode results --dataset sample --json
    """
    request.use_folders()
    device, named = use_device(request.device), NamedCodecs(codecs)
    verifier = Verifier(device, request.jobs or cores(), request.timeout_seconds)
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    wrong, skipped, tracebacks, done = list[Failure](), Counter[Absent](), Tracebacks(), 0
    names = datasets_with_results(results, dataset)
    stores = [Store(results / name.partition(":")[0]) for name in names]
    kept = {store.folder.name: kept_rows(store, named, named.select) for store in stores}
    total = sum(len(of.rows) for of in kept.values())
    with (
        output.interruptible("an audit leaves nothing behind"),
        output.show_progress("decoding", total) as report,
    ):
        for row, failed in (it for of in kept.values() for it in verifier(of) if it):
            label, done = CodecSpec.of_row(row).label, done + 1
            if failed and failed.stage == "load":
                skipped[Absent(label, failed.reason)] += 1
            else:
                stage = failed.stage if failed else ""
                verdict = {"": "identical", "verify": "different"}.get(stage, "not_decodable")
                counts[label, f"{row['device']}, {row['machine']}"][verdict] += 1
            if failed and failed.stage != "load":
                wrong.append(failure_of(row, failed))
                tracebacks.add(failed.traceback, wrong[-1].cell)
            report(Progress(done, len(wrong)))
    verdicts = ("identical", "different", "not_decodable")
    records = [{"codec": label, "encoded_on": where, **{v: of[v] for v in verdicts}}
               for (label, where), of in sorted(counts.items())]  # fmt: skip
    columns = [Column("codec"), Column("encoded on", "encoded_on")]
    columns += [Column(verdict.replace("_", " "), verdict, "d") for verdict in verdicts]
    lacks = {"not_kept": sum(of.not_kept for of in kept.values()),
             "declared": sum(of.declared for of in kept.values())}  # fmt: skip
    absent = [Absent(it.cell, f"{it.stage}: {it.reason}") for it in wrong]
    absent += [
        Absent(f"{counted(n, 'row')} of {what}", why) for (what, why, _), n in skipped.items()
    ]
    whys = ("their stream was not kept", "they have no stream")
    absent += [
        Absent(counted(n, "row"), why) for n, why in zip(lacks.values(), whys, strict=True) if n
    ]
    facts = {
        "datasets": {name: len(of.rows) for name, of in kept.items()},
        "wrong": [failure._asdict() for failure in wrong],
        "skipped": {f"{what}: {why}": n for (what, why, _), n in skipped.items()},
        "tracebacks": tracebacks.listed(),
    }
    streams = f"{counted(total, 'stream')} in {counted(len(kept), 'dataset')}"
    summary = f"{streams}; {len(wrong)} wrong." if wrong else f"{streams}."
    return Answer(records, columns, summary, absent, facts | lacks, int(bool(wrong)))


@audit.verb("pack")
def audit_pack(
    request: Annotated[
        Request,
        some("metrics jobs timeout_seconds device data_dir weights_dir flatten", metrics="all"),
    ],
    path: Annotated[Path, opt(ARGUMENT, "The pack: a folder or a tar.")],
    dataset: Annotated[
        list[str] | None,
        opt(ORIGIN, "Another dataset or folder of its images (repeatable).", completes="dataset"),
    ] = None,
    results: Annotated[
        Path, opt(ORIGIN, "Folder of results, of which runs know images.", refuses="folder")
    ] = Path("results"),
    codecs: options.StoredCodecs = "all",
) -> Answer:
    """Decode every stream of a pack; compare bytes, pixels and metrics with what it recorded.

    Streams whose images are not on this machine are decoded but not scored. A codec that is a
    program or Python file runs only where --codecs names it. Exit code 1 if anything differs.

    Examples:
      bench audit pack results/packs/vtm-23.13.tar
      bench audit pack webp.tar --metrics psnr --jobs 2 --json
    """
    request.use_folders()
    named = NamedCodecs(codecs)
    pack = open_pack(path).to_run(named)
    metrics = [name for name in request.metrics if name not in DISTRIBUTION_METRICS]
    with output.interruptible("an audit leaves nothing behind"):
        sent, impossible = sent_rows([pack])
        own = dict.fromkeys(str(it.row["dataset"]) for it in sent)
        places = {name: measured_place(results, name) for name in own}
        more = [*(dataset or ()), *(place for name, place in places.items() if place != name)]
        photographs, missing = open_photographs(own, more, request)
        done = decode(sent, photographs, metrics, request, named, output.show_progress)
    decoded = sum(it.state == "equal" for it in done)
    wrong = [f"{name_of_row(it.row)}: {it.reason or 'it decodes to other pixels'}"
             for it in done if it.state != "equal"]  # fmt: skip
    wrong += [it.wrong_size for it in done if it.wrong_size and it.reason != it.wrong_size]
    wrong += [*differences(done, metrics), *(f"{it.what}: {it.why}" for it in impossible)]
    same = Counter(c for it in done for c, pair in pairs(it, metrics).items() if pair.same)
    compared = {column: same[column] for column in (metric_named(name).column for name in metrics)}
    infos = ", ".join(f"{s.text} ({short_version(of.version)})" for s, of in pack.infos.items())
    images = {(it.row["image_sha256"], it.row["width_px"]): it.values for it in done}
    streams = f"{counted(len(sent), 'stream')} of {counted(len(images), 'image')}"
    to_recorded = counted(decoded, "stream decodes", "streams decode")
    lines = [f"{path}: {infos}, {streams}; {to_recorded} to the recorded pixels.", *pack.notes]
    absent = [Absent(sentence, "wrong") for sentence in wrong]
    absent += [Absent(f"{name} is not scored", why) for name, why in missing.items()]
    if lacking := sum(not values for values in images.values()):
        absent.append(Absent(counted(lacking, "image"), "not here: not scored without --dataset"))
    facts = {
        "pack": str(path), "codecs": {of.text: info.version for of, info in pack.infos.items()},
        "streams": len(sent), "decoded": decoded, "compared": compared, "wrong": wrong,
        "not_scored": dict(missing), "notes": list(pack.notes),
    }  # fmt: skip
    columns = (Column("metric"), Column("values as recorded", "equal", "d"))
    records = [{"metric": column, "equal": count} for column, count in compared.items()]
    return Answer(records, columns, "\n".join(lines), absent, facts, int(bool(wrong)))


@dataclass
class VariantAgain:
    """The rows of one codec variant beside those that were measured again; counts of rows."""

    codec: str  # as `--codecs` takes it
    rows: int = 0  # stored
    measured_again: int = 0
    other_build: int = 0  # of these, with another program, library or weight file
    other_processor: int = 0  # of these, a network's, with another stream of about the size
    bytes_equal: int = 0
    pixels_equal: int = 0
    rounded: int = 0  # with other pixels, and perhaps another symbol, that agree (`agreement`)
    values_equal: int = 0  # of all metrics, within TOLERANCE
    values: int = 0
    largest_difference: float = 0.0  # of a value
    wrong: list[Absent] = field(default_factory=list)  # what differs in rows of the same build

    @property
    def missing(self) -> int:
        """Stored rows that nothing was measured for."""
        return self.rows - self.measured_again


@audit.verb("rows")
def audit_rows(
    request: Annotated[
        Request, some("limit jobs timeout_seconds device timing data_dir weights_dir vtm_dir")
    ],
    results: Annotated[Path, opt(ARGUMENT, "Folder of results.")] = Path("results"),
    dataset: options.StoredDatasets = "all",
    codecs: options.StoredCodecs = "all",
    metrics: options.ComparedMetrics = "all",
    out: Annotated[
        Path | None,
        opt(
            TARGET,
            "Folder of the new rows, in which the same command resumes; default: RESULTS/again.",
            refuses="folder",
        ),
    ] = None,
) -> Answer:
    """Measure the newest rows of each codec again on this machine; compare them one by one.

    Metrics are those of single images that the rows have values of. Exit code 1 if anything differs
    by more than float rounding, except for rows of a program, library or weight file that is not
    the one here, and a network's of another kind of processor, whose streams are of about the size.

    Examples:
      bench audit rows --dataset kodak --codecs ours,elic
      bench audit rows results --dataset sample --metrics psnr --json
    """
    compared: list[VariantAgain] = []
    skipped: dict[str, Any] = {}
    known: set[str] = set()
    named, chosen = NamedCodecs(codecs), [name for name in metric_names(metrics) if name in METRICS]
    folders = datasets_with_results(results, dataset)
    with output.interruptible():
        for place, name in zip(asked_datasets(results, dataset), folders, strict=True):
            table = Store(results / name.partition(":")[0]).table()
            known |= known_names(table.select("codec", "variant").unique().rows())
            output.say_not_run(named.not_run(table))
            rows = newest(table).filter(OK)
            wanted = [*map(named.selects_to_run, rows.select(KEY[:2]).rows(named=True))]
            rows = rows.filter(pl.Series(wanted, dtype=pl.Boolean))
            names = tuple(n for n in chosen if (c := metric_named(n).column) in rows.columns
                          and rows[c].null_count() < rows.height)  # fmt: skip
            if points := settings_of(rows):
                again = replace(
                    request,
                    codecs=tuple(points),
                    points=tuple(text for texts in points.values() for text in texts),
                    dataset=required_place(results, place),
                    metrics=names,
                    skip_missing=True,
                    results=out or results / "again",
                )
                outcome = run_with_progress(again)
                compared += compare_rows(rows, outcome.rows, names)
                skipped |= {codec.codec: codec for codec in outcome.skipped}
    if not compared:
        raise UnknownName("codec with results", codecs, known)
    wrong = [it for variant in compared for it in variant.wrong]
    absent = [*wrong, *(Absent(name, codec.why) for name, codec in skipped.items())]
    for of in compared:
        if of.missing and of.codec not in skipped:
            absent.append(
                Absent(f"{counted(of.missing, 'row')} of {of.codec}", "not measured again")
            )
    near = (
        f"Rows of another build may differ, and a network's streams of another processor by "
        f"{100 * SIZE_APART:g} % in size and {DB_APART:g} dB in PSNR."
    )
    may = any(of.other_build or of.other_processor for of in compared)
    records = [{**asdict(of), "wrong": len(of.wrong), "missing": of.missing} for of in compared]
    facts = {"skipped": {name: codec.why for name, codec in skipped.items()},
             "wrong": [f"{it.what}: {it.why}" for it in wrong]}  # fmt: skip
    return Answer(records, COLUMNS, near if may else "", absent, facts, int(bool(wrong)))


COLUMNS = (
    Column("codec"),
    Column("rows", form="d"),
    Column("measured again", "measured_again", "d"),
    Column("same bytes", "bytes_equal", "d"),
    Column("same pixels", "pixels_equal", "d"),
    Column("float rounding", "rounded", "d"),
    Column("another build", "other_build", "d"),
    Column("another processor", "other_processor", "d"),
    Column("values", "values", "d"),
    Column(f"within {TOLERANCE:g}", "values_equal", "d"),
    Column(
        "largest difference", lambda of: of["largest_difference"] if of["values"] else None, ".1g"
    ),
    Column("wrong", form="d"),
)


def settings_of(rows: pl.DataFrame) -> dict[str, tuple[str, ...]]:
    """Return the settings of rows as `--points` takes them, by codec as `--codecs` takes it."""
    values: dict[str, dict[str, list[str]]] = {}
    for codec, variant, name, value in rows.select(KEY[:4]).unique().sort(KEY[:4]).rows():
        of_codec = values.setdefault(CodecSpec.of(codec, variant or "").text, {})
        of_codec.setdefault(name, []).append(f"{value:.17g}")
    return {
        spec: tuple(f"{spec}.{name}={','.join(of)}" for name, of in names.items())
        for spec, names in values.items()
    }


def compare_rows(
    stored: pl.DataFrame, again: pl.DataFrame, metrics: Iterable[str]
) -> list[VariantAgain]:
    """Compare rows with those of the same codec variant, setting and image, measured again.

    Where the build is the same, bytes, stream, picture and values of image metrics have to be,
    values within TOLERANCE in the metric's unit, unless the rows agree up to float rounding. Rows
    of another build are counted, but may differ; so may a network's on another kind of processor,
    by SIZE_APART and DB_APART.
    """

    def key(row: Row) -> tuple[Any, ...]:
        return tuple(row[name] for name in KEY)

    columns = [metric_columns(metric_named(name).column) for name in metrics]
    rows, others = stored.rows(named=True), again.rows(named=True)
    known = {key(row): place for place, row in enumerate(others) if row["status"] == "ok"}
    places = {at: known[key(row)] for at, row in enumerate(rows) if key(row) in known}
    alike = dict(zip(places, agreeing(stored[[*places]], again[[*places.values()]]), strict=True))
    variants: dict[str, VariantAgain] = {}
    for at, row in enumerate(rows):
        spec = CodecSpec.of_row(row).text
        compared = variants.setdefault(spec, VariantAgain(spec))
        compared.rows += 1
        if at in alike:
            other = others[places[at]]
            differing = _compare(compared, row, other, columns)
            if any(row[name] != other[name] for name in BUILD):
                compared.other_build += 1
            elif alike[at] and row["decoded_sha256"] != other["decoded_sha256"]:
                compared.rounded += 1
            elif _near_on_another_processor(row, other):
                compared.other_processor += 1
            else:
                compared.wrong += [Absent(name_of_row(row), what) for what in differing]
    return list(variants.values())


def _near_on_another_processor(row: Row, other: Row) -> bool:
    """Return whether a network's stream of another kind of processor is near in size and PSNR."""
    before, now = row.get("psnr_db"), other.get("psnr_db")
    on = [(of["device"], processor_of(of["machine"] or "")) for of in (row, other)]
    if row.get("parameters") is None or on[0] == on[1]:
        return False
    if row["stream_sha256"] == other["stream_sha256"] or before is None or now is None:
        return False
    size = abs(other["num_bytes"] - row["num_bytes"]) <= SIZE_APART * row["num_bytes"]
    return bool(size and abs(now - before) <= DB_APART)


def _compare(
    compared: VariantAgain, row: Row, other: Row, columns: Iterable[tuple[str, str, str]]
) -> list[str]:
    """Count what is equal in two rows; return a sentence for each thing that is not."""
    wrong = []
    compared.measured_again += 1
    names = ("num_bytes", "stream_sha256")
    if all(row[name] == other[name] or None in (row[name], other[name]) for name in names):
        compared.bytes_equal += 1
    else:
        sizes = f"{row['num_bytes']} bytes before, {other['num_bytes']} now"
        wrong.append(f"the stream differs ({sizes})")
    pixels = row["decoded_sha256"] == other["decoded_sha256"]
    compared.pixels_equal += pixels
    if not pixels:
        wrong.append("it decodes to other pixels")
    for column, protocol, _ in columns:
        before, now = row.get(column), other.get(column)
        if before is None or now is None or row[protocol] != other[protocol]:
            continue
        compared.values += 1
        difference = 0.0 if before == now else abs(before - now)
        compared.largest_difference = max(compared.largest_difference, difference)
        if difference <= TOLERANCE or math.isnan(difference):
            compared.values_equal += 1
        elif pixels:
            wrong.append(f"{column} is {now}, not {before}")
    return wrong
