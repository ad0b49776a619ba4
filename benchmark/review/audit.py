"""`bench audit`: measure rows again, decode stored streams and packs again; compare results."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain, starmap
from pathlib import Path
from typing import Annotated, Any

import polars as pl
from polars import col

from benchmark.answer import Absent, Answer, Column
from benchmark.commands import options, output
from benchmark.commands.outcome import run_with_progress
from benchmark.commands.verb import Verbs
from benchmark.errors import UnknownName
from benchmark.measure.record import Tracebacks
from benchmark.measure.request import Request
from benchmark.measure.verify import verifiable_rows
from benchmark.option import ARGUMENT, ORIGIN, TARGET, opt, subset
from benchmark.registry import DISTRIBUTION_METRICS, METRICS, metric_class
from benchmark.review.decode import (
    SIZE_DECLARED,
    TOLERANCE,
    decode,
    describe_differences,
    value_pairs,
)
from benchmark.review.sent import SentRows, name_of_row, open_photographs, sent_rows
from benchmark.rows.agreement import mark_agreeing
from benchmark.rows.codecs import NamedCodecs
from benchmark.rows.comparable import newest_rows
from benchmark.rows.edition import Edition, short_version
from benchmark.rows.names import known_names
from benchmark.rows.packs.pack import open_pack
from benchmark.rows.place import Place, required_place
from benchmark.rows.schema import metric_columns, metric_names
from benchmark.rows.shard import align_columns
from benchmark.rows.store import Store
from benchmark.rows.stored import (
    datasets_with_results,
    points_option,
    requested_datasets,
    rows_of,
    specs_in,
)
from benchmark.rows.variants import editions_in
from benchmark.rows.versions import BUILD, OK, VARIANT
from benchmark.spec import CodecSpec
from benchmark.system.machine import processor_of
from benchmark.system.text import counted, group_by_key

Row = Mapping[str, Any]
KEY = (*VARIANT, "setting_name", "setting_value", "image_sha256")
SUFFIX = "_now"  # of columns that were measured again
VERDICTS = {  # states of `DecodedStream` by verdict
    "identical": ("equal",),
    "different": ("rounded", "other", "blind"),
    "not_decodable": ("failed", "damaged"),
}
COUNTS = (
    *("bytes_equal", "pixels_equal", "rounded", "other_build", "other_processor"),
    *("values", "values_equal"),
)
# Tolerated changes of a network's stream size (relative) and PSNR on a different processor type.
# Measured maxima, with encoder search, are .012 and .029 dB (docs/experiments/processors.md).
MAX_SIZE_DIFFERENCE, MAX_DB_DIFFERENCE = 0.02, 0.05

audit = Verbs("""Measure rows again, decode streams and packs again, and compare the results.

Examples:
  bench audit rows --dataset kodak --codecs ours
  bench audit decode results
  bench audit pack results/packs/vtm-23.13.tar
""")


@audit.verb("decode")
def audit_decode(
    request: Annotated[Request, subset("device jobs timeout_seconds weights_dir")],
    results: Annotated[Path, opt(ARGUMENT, "Folder of results.")] = Path("results"),
    dataset: options.StoredDatasets = "all",
    codecs: options.StoredCodecs = "all",
) -> Answer:
    """Decode every stored stream again, and compare its pixels with the recorded hash.

    Fresh processes decode with only the streams and the codec's name. Exit code 1 if a stream
    decodes to different pixels, or an installed codec cannot decode it.

    Examples:
      bench audit decode results
      bench audit decode results --dataset sample --json
    """
    request.use_folders()
    selection = NamedCodecs(codecs)
    names = datasets_with_results(results, dataset)
    stores = [Store(results / name.partition(":")[0]) for name in names]
    kept_streams = {
        store.folder.name: verifiable_rows(
            store, selection, lambda spec: selection.select(Edition.create(spec))
        )
        for store in stores
    }
    row_groups = []
    for group in kept_streams.values():
        rows = [dict(row) for row in (*group.rows, *group.declared)]
        row_groups.append(SentRows(group.pictures.contents, rows, [row["bpp"] for row in rows]))
    with output.interruptible("no result was stored"):
        streams = decode(row_groups, {}, (), request, selection, output.show_progress)
    encoders = ((CodecSpec.parse_row(stream.row).label, f"{stream.row['device']}, "
                 f"{stream.row['machine']}") for stream in streams)  # fmt: skip
    states_by_encoder = group_by_key(
        zip(encoders, (stream.state for stream in streams), strict=True)
    )
    records = []
    for (label, machine), states in sorted(states_by_encoder.items()):
        counts = {
            verdict: sum(state in verdict_states for state in states)
            for verdict, verdict_states in VERDICTS.items()
        }
        if any(counts.values()):
            records.append({"codec": label, "encoded_on": machine, **counts})
    columns = [Column("codec"), Column("encoded on", "encoded_on")]
    columns += [Column(verdict.replace("_", " "), verdict, "d") for verdict in VERDICTS]
    errors = [Absent(name_of_row(stream.row), stream.reason) for stream in streams
              if stream.state not in ("equal", "not run")]  # fmt: skip
    skipped_counts = Counter(
        f"{CodecSpec.parse_row(stream.row).label}: {stream.reason}"
        for stream in streams
        if stream.state == "not run"
    )
    num_not_kept = sum(group.not_kept for group in kept_streams.values())
    num_declared = sum(len(group.declared) for group in kept_streams.values())
    counts = {**skipped_counts, "their streams were not stored": num_not_kept}
    absences = [*errors, *(Absent(counted(n, "row"), reason) for reason, n in counts.items() if n)]
    tracebacks = Tracebacks()
    for stream in streams:
        tracebacks.add(stream.traceback, stream.row["cell"])
    facts = {
        "datasets": {name: len(group.rows) for name, group in kept_streams.items()},
        "tracebacks": tracebacks.records(),
        "wrong": [f"{error.what}: {error.why}" for error in errors],
        "skipped": dict(skipped_counts),
        "not_kept": num_not_kept,
        "declared": num_declared,
    }
    declared_text = f" and {counted(num_declared, 'declared picture')}" if num_declared else ""
    num_streams = sum(len(group.rows) for group in kept_streams.values())
    datasets = counted(len(kept_streams), "dataset")
    contents = f"{counted(num_streams, 'stream')}{declared_text} in {datasets}"
    summary = f"{contents}; {len(errors)} wrong." if errors else f"{contents}."
    return Answer(records, columns, summary, absences, facts, int(bool(errors)))


@audit.verb("pack")
def audit_pack(
    request: Annotated[
        Request,
        subset("metrics jobs timeout_seconds device data_dir weights_dir flatten", metrics="all"),
    ],
    path: Annotated[Path, opt(ARGUMENT, "The pack: a folder or a tar.")],
    dataset: Annotated[
        list[str] | None,
        opt(ORIGIN, "Dataset or folder with the pack's images (repeatable)."),
    ] = None,
    results: Annotated[
        Path,
        opt(ORIGIN, "Folder of results in which images are looked up.", path_check="folder"),
    ] = Path("results"),
    codecs: options.StoredCodecs = "all",
) -> Answer:
    """Decode every stream of a pack, and compare sizes, pixels and metrics with its rows.

    Pictures with declared sizes are compared, too, but their sizes cannot be checked. Streams are
    scored if their image is on this machine. A codec that is a program or Python file runs only if
    --codecs names it. Exit code 1 if anything differs.

    Examples:
      bench audit pack results/packs/vtm-23.13.tar
      bench audit pack webp.tar --metrics psnr --jobs 2 --json
    """
    request.use_folders()
    selection = NamedCodecs(codecs)
    pack = open_pack(path).select_codecs(selection)
    metrics = [name for name in request.metrics if name not in DISTRIBUTION_METRICS]
    with output.interruptible("no result was stored"):
        pack_rows = sent_rows(pack)
        stored_names = dict.fromkeys(str(row["dataset"]) for row in pack_rows.rows)
        locations_by_name = {name: Place(name).find_measured(results).text for name in stored_names}
        locations = [location for name, location in locations_by_name.items() if location != name]
        locations = [*(dataset or ()), *locations]
        photographs, reasons = open_photographs(stored_names, locations, request)
        streams = decode(
            [pack_rows], photographs, metrics, request, selection, output.show_progress
        )
    num_declared = sum(stream.is_declared for stream in streams)
    num_pictures = sum(stream.state == "equal" for stream in streams if stream.is_declared)
    num_decoded = sum(stream.state == "equal" for stream in streams if not stream.is_declared)
    errors = [f"{name_of_row(stream.row)}: {stream.reason or 'it decodes to other pixels'}"
              for stream in streams if stream.state != "equal"]  # fmt: skip
    errors += [stream.wrong_size for stream in streams
               if stream.wrong_size and stream.reason != stream.wrong_size]  # fmt: skip
    errors += describe_differences(streams, metrics)
    equal_value_counts = Counter(
        column
        for stream in streams
        for column, pair in value_pairs(stream, metrics).items()
        if pair.is_equal
    )
    columns_compared = [metric_class(name).column for name in metrics]
    equal_counts = {column: equal_value_counts[column] for column in columns_compared}
    infos = ", ".join(
        f"{spec.text} ({short_version(info.version)})" for spec, info in pack.infos.items()
    )
    images = {
        (stream.row["image_sha256"], stream.row["width_px"]): stream.values for stream in streams
    }
    counts, pixel_clauses = list[str](), list[str]()
    if num_streams := len(streams) - num_declared:
        counts.append(counted(num_streams, "stream"))
        decode_text = counted(num_decoded, "stream decodes", "streams decode")
        pixel_clauses.append(f"{decode_text} to the recorded pixels")
    if num_declared:
        counts.append(counted(num_declared, "picture"))
        picture_text = counted(num_pictures, "picture has", "pictures have")
        pixel_clauses.append(f"{picture_text} the recorded pixels, and {SIZE_DECLARED}")
    contents = f"{' and '.join(counts)} of {counted(len(images), 'image')}"
    lines = [f"{path}: {infos}, {contents}; {'; '.join(pixel_clauses)}.", *pack.notes]
    absences = [Absent(sentence, "wrong") for sentence in errors]
    absences += [Absent(f"{name} is not scored", reason) for name, reason in reasons.items()]
    if num_unscored := sum(not values for values in images.values()):
        image_text = counted(num_unscored, "image")
        reason = "not found, so not scored: name the dataset with --dataset"
        absences.append(Absent(image_text, reason))
    facts = {
        "pack": str(path), "codecs": {spec.text: info.version for spec, info in pack.infos.items()},
        "streams": num_streams, "decoded": num_decoded, "declared": num_declared,
        "pictures": num_pictures, "compared": equal_counts, "wrong": errors,
        "not_scored": dict(reasons), "notes": list(pack.notes),
    }  # fmt: skip
    columns = (Column("metric"), Column("values as recorded", "equal", "d"))
    records = [{"metric": column, "equal": count} for column, count in equal_counts.items()]
    return Answer(records, columns, "\n".join(lines), absences, facts, int(bool(errors)))


@audit.verb("rows")
def audit_rows(
    request: Annotated[
        Request, subset("limit jobs timeout_seconds device timing data_dir weights_dir")
    ],
    results: Annotated[Path, opt(ARGUMENT, "Folder of results.")] = Path("results"),
    dataset: options.StoredDatasets = "all",
    codecs: options.StoredCodecs = "all",
    metrics: options.ComparedMetrics = "all",
    out: Annotated[
        Path | None,
        opt(
            TARGET,
            "Folder for new rows, where the same command resumes; default: RESULTS/again.",
            path_check="folder",
        ),
    ] = None,
) -> Answer:
    """Measure the newest rows of each codec again, and compare them one by one.

    Compares metrics of single images. Exit code 1 if a row differs by more than float rounding,
    unless a different build of the codec wrote it, or a network wrote it on a different type of
    processor, and size and PSNR differ slightly.

    Examples:
      bench audit rows --dataset kodak --codecs ours,elic
      bench audit rows results --dataset sample --metrics psnr --json
    """
    records, errors = list[dict[str, Any]](), list[Absent]()
    skipped_codecs: dict[str, str] = {}
    available_names: set[str] = set()
    selection = NamedCodecs(codecs)
    image_metrics = [name for name in metric_names(metrics) if name in METRICS]
    folders = datasets_with_results(results, dataset)
    with output.interruptible():
        for location, name in zip(requested_datasets(results, dataset), folders, strict=True):
            table = Store(results / name.partition(":")[0]).table()
            available_names |= known_names(editions_in(table))
            output.say_not_run(selection.count_refused(table))
            rows = newest_rows(table).filter(OK)
            variants = rows.select(VARIANT).rows(named=True)
            rows = rows.filter(pl.Series(map(selection.selects_to_run, variants), dtype=pl.Boolean))
            names = tuple(
                name
                for name in image_metrics
                if (column := metric_class(name).column) in rows.columns
                and rows[column].null_count() < rows.height
            )
            if specs := specs_in(rows):
                points = (points_option(spec.text, rows_of(rows, [spec])) for spec in specs)
                new_request = replace(
                    request,
                    codecs=tuple(selection.complete(spec).text for spec in specs),
                    points=tuple(chain(*points)),
                    dataset=required_place(results, location),
                    metrics=names,
                    skip_missing=True,
                    results=out or results / "again",
                )
                outcome = run_with_progress(new_request)
                codec_records, differences = compare_rows(rows, outcome.rows, names)
                records, errors = [*records, *codec_records], [*errors, *differences]
                skipped_codecs |= {codec.what: codec.why for codec in outcome.skipped}
    if not records:
        raise UnknownName("codec with results", codecs, available_names)
    absences = [*errors, *starmap(Absent, skipped_codecs.items())]
    for record in records:
        if record["missing"] and record["codec"] not in skipped_codecs:
            missing_rows = f"{counted(record['missing'], 'row')} of {record['codec']}"
            absences.append(Absent(missing_rows, "not measured again"))
    hint = (
        "Rows of another build may differ. A network's rows from another type of processor may "
        f"differ by {100 * MAX_SIZE_DIFFERENCE:g} % in size and {MAX_DB_DIFFERENCE:g} dB in PSNR."
    )
    may_differ = any(record["other_build"] or record["other_processor"] for record in records)
    facts = {"skipped": skipped_codecs, "wrong": [f"{error.what}: {error.why}" for error in errors]}
    return Answer(records, COLUMNS, hint if may_differ else "", absences, facts, int(bool(errors)))


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
        "largest difference",
        lambda record: record["largest_difference"] if record["values"] else None,
        ".1g",
    ),
    Column("wrong", form="d"),
)


def compare_rows(
    stored_rows: pl.DataFrame, new_rows: pl.DataFrame, metrics: Iterable[str]
) -> tuple[list[dict[str, Any]], list[Absent]]:
    """Compare rows by variant, setting and image; return counts and errors."""
    stored_rows, new_rows = align_columns([stored_rows, new_rows])
    pairs = stored_rows.join(new_rows.filter(OK), on=KEY, suffix=SUFFIX, maintain_order="left")
    new_values = pairs.select(
        col(name if name in KEY else name + SUFFIX).alias(name) for name in new_rows.columns
    )
    machines = {*pairs["machine"], *new_values["machine"]} - {None}
    processors = {machine: processor_of(machine) for machine in machines}
    stored_processor, new_processor = (
        col(f"machine{suffix}").replace_strict(processors, default="") for suffix in ("", SUFFIX)
    )
    differences = dict[str, pl.Expr]()
    for name in metrics:
        value, protocol, _ = metric_columns(metric_class(name).column)
        has_same_value = col(value) == col(value + SUFFIX)
        difference = pl.when(has_same_value).then(0.0).otherwise(_difference(value))
        differences[value] = pl.when(_is_equal(protocol)).then(difference)
    byte_conditions = [_is_equal(name) | _is_null(name) for name in ("num_bytes", "stream_sha256")]
    is_compared = [difference.is_not_null() for difference in differences.values()]
    is_equal = [(difference <= TOLERANCE).fill_null(False) for difference in differences.values()]
    is_near = (
        col("parameters").is_not_null() & ~_is_equal("stream_sha256")
        & ~(_is_equal("device") & (stored_processor == new_processor))
        & (_difference("num_bytes") <= MAX_SIZE_DIFFERENCE * col("num_bytes"))
        & (_difference("psnr_db") <= MAX_DB_DIFFERENCE).fill_null(False)
    )  # fmt: skip
    pairs = pairs.with_columns(
        agreeing=mark_agreeing(pairs.select(new_rows.columns), new_values),
        bytes_equal=pl.all_horizontal(byte_conditions),
        pixels_equal=_is_equal("decoded_sha256"),
        other_build=~pl.all_horizontal(map(_is_equal, BUILD)),
        near=is_near,
        values=pl.sum_horizontal(pl.lit(0), *is_compared),
        values_equal=pl.sum_horizontal(pl.lit(0), *is_equal),
        largest_difference=pl.max_horizontal(0.0, *differences.values()),
    ).with_columns(rounded=~col("other_build") & col("agreeing") & ~col("pixels_equal"))
    pairs = pairs.with_columns(other_processor=col("near") & ~col("other_build") & ~col("rounded"))
    errors, wrong_counts = list[Absent](), Counter[tuple[str, ...]]()
    for row in pairs.filter(~pl.any_horizontal("other_build", "rounded", "near")).rows(named=True):
        reasons = []
        if not row["bytes_equal"]:
            sizes = f"{row['num_bytes']} bytes before, {row[f'num_bytes{SUFFIX}']} now"
            reasons.append(f"the stream differs ({sizes})")
        if not row["pixels_equal"]:
            reasons.append("it decodes to other pixels")
        for column in differences:
            stored_value, new_value = row[column], row[column + SUFFIX]
            is_known = None not in (stored_value, new_value)
            if is_known and row["pixels_equal"] and abs(stored_value - new_value) > TOLERANCE:
                reasons.append(f"{column} is {new_value}, not {stored_value}")
        errors += [Absent(name_of_row(row), reason) for reason in reasons]
        wrong_counts[row["codec"], row["variant"]] += len(reasons)
    counts = pairs.group_by(VARIANT).agg(
        col("largest_difference").max(), col(COUNTS).sum(), measured_again=pl.len()
    )
    variants = stored_rows.group_by(VARIANT, maintain_order=True).agg(rows=pl.len())
    variants = variants.join(counts, on=VARIANT, how="left", maintain_order="left").fill_null(0)
    records = [
        {
            **variant,
            "codec": CodecSpec.parse_row(variant).text,
            "wrong": wrong_counts[variant["codec"], variant["variant"]],
            "missing": variant["rows"] - variant["measured_again"],
        }
        for variant in variants.rows(named=True)
    ]
    return records, errors


def _is_equal(name: str) -> pl.Expr:
    return col(name).eq_missing(col(name + SUFFIX))


def _difference(name: str) -> pl.Expr:
    return (col(name) - col(name + SUFFIX)).abs()


def _is_null(name: str) -> pl.Expr:
    return col(name).is_null() | col(name + SUFFIX).is_null()
