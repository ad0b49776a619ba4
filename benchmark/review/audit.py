"""`bench audit`: rows measured again, kept streams and packs decoded again, and compared."""

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
from benchmark.measure.verify import kept_rows
from benchmark.option import ARGUMENT, ORIGIN, TARGET, opt, some
from benchmark.registry import DISTRIBUTION_METRICS, METRICS, metric_class
from benchmark.review.decode import SIZE_DECLARED, TOLERANCE, decode, differences, pairs
from benchmark.review.sent import Sent, name_of_row, open_photographs, sent_rows
from benchmark.rows.agreement import agreeing
from benchmark.rows.codecs import NamedCodecs
from benchmark.rows.comparable import newest_rows
from benchmark.rows.edition import Edition, short_version
from benchmark.rows.names import known_names
from benchmark.rows.packs.pack import open_pack
from benchmark.rows.place import Place, required_place
from benchmark.rows.schema import metric_columns, metric_names
from benchmark.rows.shard import alike
from benchmark.rows.store import Store
from benchmark.rows.stored import (
    asked_datasets,
    datasets_with_results,
    points_of,
    rows_of,
    specs_in,
)
from benchmark.rows.variants import editions_in
from benchmark.rows.versions import BUILD, OK, VARIANT
from benchmark.spec import CodecSpec
from benchmark.system.machine import processor_of
from benchmark.system.text import by_key, counted

Row = Mapping[str, Any]
KEY = (*VARIANT, "setting_name", "setting_value", "image_sha256")
NOW = "_now"  # ends the columns of rows measured again
VERDICTS = {  # by what `decode` says of a stream
    "identical": ("equal",),
    "different": ("rounded", "other", "blind"),
    "not_decodable": ("failed", "damaged"),
}
COUNTS = (
    *("bytes_equal", "pixels_equal", "rounded", "other_build", "other_processor"),
    *("values", "values_equal"),
)
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
    request: Annotated[Request, some("device jobs timeout_seconds weights_dir")],
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
    named = NamedCodecs(codecs)
    names = datasets_with_results(results, dataset)
    stores = [Store(results / name.partition(":")[0]) for name in names]
    kept = {
        store.folder.name: kept_rows(store, named, lambda spec: named.select(Edition.of(spec)))
        for store in stores
    }
    sent = []
    for of_store in kept.values():
        rows = [dict(row) for row in (*of_store.rows, *of_store.declared)]
        sent.append(Sent(of_store.pictures.contents, rows, [row["bpp"] for row in rows]))
    with output.interruptible("an audit leaves nothing behind"):
        done = decode(sent, {}, (), request, named, output.show_progress)
    kinds = by_key(
        ((CodecSpec.of_row(it.row).label, f"{it.row['device']}, {it.row['machine']}"), it.state)
        for it in done
    )
    records = []
    for (label, where), of in sorted(kinds.items()):
        counts = {name: sum(state in states for state in of) for name, states in VERDICTS.items()}
        if any(counts.values()):
            records.append({"codec": label, "encoded_on": where, **counts})
    columns = [Column("codec"), Column("encoded on", "encoded_on")]
    columns += [Column(verdict.replace("_", " "), verdict, "d") for verdict in VERDICTS]
    wrong = [Absent(name_of_row(it.row), it.reason) for it in done
             if it.state not in ("equal", "not run")]  # fmt: skip
    skipped = Counter(f"{CodecSpec.of_row(it.row).label}: {it.reason}" for it in done
                      if it.state == "not run")  # fmt: skip
    not_kept = sum(of.not_kept for of in kept.values())
    declared = sum(len(of.declared) for of in kept.values())
    counts = {**skipped, "their stream was not kept": not_kept}
    absent = [*wrong, *(Absent(counted(n, "row"), why) for why, n in counts.items() if n)]
    tracebacks = Tracebacks()
    for it in done:
        tracebacks.add(it.traceback, it.row["cell"])
    facts = {
        "datasets": {name: len(of.rows) for name, of in kept.items()},
        "tracebacks": tracebacks.listed(),
        "wrong": [f"{it.what}: {it.why}" for it in wrong],
        "skipped": dict(skipped),
        "not_kept": not_kept,
        "declared": declared,
    }
    more = f" and {counted(declared, 'declared picture')}" if declared else ""
    num_streams = sum(len(of.rows) for of in kept.values())
    streams = f"{counted(num_streams, 'stream')}{more} in {counted(len(kept), 'dataset')}"
    summary = f"{streams}; {len(wrong)} wrong." if wrong else f"{streams}."
    return Answer(records, columns, summary, absent, facts, int(bool(wrong)))


@audit.verb("pack")
def audit_pack(
    request: Annotated[
        Request,
        some("metrics jobs timeout_seconds device data_dir weights_dir flatten", metrics="all"),
    ],
    path: Annotated[Path, opt(ARGUMENT, "The pack: a folder or a tar.")],
    dataset: Annotated[
        list[str] | None,
        opt(ORIGIN, "Another dataset or folder of its images (repeatable)."),
    ] = None,
    results: Annotated[
        Path, opt(ORIGIN, "Folder of results, of which runs know images.", refuses="folder")
    ] = Path("results"),
    codecs: options.StoredCodecs = "all",
) -> Answer:
    """Decode every stream of a pack; compare bytes, pixels and metrics with what it recorded.

    Pictures of declared sizes are compared alike; nothing can check the sizes. What has no image on
    this machine is decoded but not scored. A codec that is a program or Python file runs only where
    --codecs names it. Exit code 1 if anything differs.

    Examples:
      bench audit pack results/packs/vtm-23.13.tar
      bench audit pack webp.tar --metrics psnr --jobs 2 --json
    """
    request.use_folders()
    named = NamedCodecs(codecs)
    pack = open_pack(path).to_run(named)
    metrics = [name for name in request.metrics if name not in DISTRIBUTION_METRICS]
    with output.interruptible("an audit leaves nothing behind"):
        sent = sent_rows(pack)
        own = dict.fromkeys(str(row["dataset"]) for row in sent.rows)
        places = {name: Place(name).measured(results).text for name in own}
        more = [*(dataset or ()), *(place for name, place in places.items() if place != name)]
        photographs, missing = open_photographs(own, more, request)
        done = decode([sent], photographs, metrics, request, named, output.show_progress)
    declared = sum(it.is_declared for it in done)
    pictures = sum(it.state == "equal" for it in done if it.is_declared)
    decoded = sum(it.state == "equal" for it in done if not it.is_declared)
    wrong = [f"{name_of_row(it.row)}: {it.reason or 'it decodes to other pixels'}"
             for it in done if it.state != "equal"]  # fmt: skip
    wrong += [it.wrong_size for it in done if it.wrong_size and it.reason != it.wrong_size]
    wrong += differences(done, metrics)
    same = Counter(c for it in done for c, pair in pairs(it, metrics).items() if pair.same)
    compared = {column: same[column] for column in (metric_class(name).column for name in metrics)}
    infos = ", ".join(f"{s.text} ({short_version(of.version)})" for s, of in pack.infos.items())
    images = {(it.row["image_sha256"], it.row["width_px"]): it.values for it in done}
    counts, same_pixels = list[str](), list[str]()
    if streams := len(done) - declared:
        counts.append(counted(streams, "stream"))
        to_recorded = counted(decoded, "stream decodes", "streams decode")
        same_pixels.append(f"{to_recorded} to the recorded pixels")
    if declared:
        counts.append(counted(declared, "picture"))
        having = counted(pictures, "picture has", "pictures have")
        same_pixels.append(f"{having} the recorded pixels, and {SIZE_DECLARED}")
    contents = f"{' and '.join(counts)} of {counted(len(images), 'image')}"
    lines = [f"{path}: {infos}, {contents}; {'; '.join(same_pixels)}.", *pack.notes]
    absent = [Absent(sentence, "wrong") for sentence in wrong]
    absent += [Absent(f"{name} is not scored", why) for name, why in missing.items()]
    if lacking := sum(not values for values in images.values()):
        absent.append(Absent(counted(lacking, "image"), "not here: not scored without --dataset"))
    facts = {
        "pack": str(path), "codecs": {of.text: info.version for of, info in pack.infos.items()},
        "streams": streams, "decoded": decoded, "declared": declared, "pictures": pictures,
        "compared": compared, "wrong": wrong,
        "not_scored": dict(missing), "notes": list(pack.notes),
    }  # fmt: skip
    columns = (Column("metric"), Column("values as recorded", "equal", "d"))
    records = [{"metric": column, "equal": count} for column, count in compared.items()]
    return Answer(records, columns, "\n".join(lines), absent, facts, int(bool(wrong)))


@audit.verb("rows")
def audit_rows(
    request: Annotated[
        Request, some("limit jobs timeout_seconds device timing data_dir weights_dir")
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
    records, wrong = list[dict[str, Any]](), list[Absent]()
    skipped: dict[str, str] = {}
    known: set[str] = set()
    named, chosen = NamedCodecs(codecs), [name for name in metric_names(metrics) if name in METRICS]
    folders = datasets_with_results(results, dataset)
    with output.interruptible():
        for place, name in zip(asked_datasets(results, dataset), folders, strict=True):
            table = Store(results / name.partition(":")[0]).table()
            known |= known_names(editions_in(table))
            output.say_not_run(named.not_run(table))
            rows = newest_rows(table).filter(OK)
            wanted = [*map(named.selects_to_run, rows.select(VARIANT).rows(named=True))]
            rows = rows.filter(pl.Series(wanted, dtype=pl.Boolean))
            names = tuple(n for n in chosen if (c := metric_class(n).column) in rows.columns
                          and rows[c].null_count() < rows.height)  # fmt: skip
            if specs := specs_in(rows):
                points = (points_of(spec.text, rows_of(rows, [spec])) for spec in specs)
                again = replace(
                    request,
                    codecs=tuple(spec.text for spec in specs),
                    points=tuple(chain(*points)),
                    dataset=required_place(results, place),
                    metrics=names,
                    skip_missing=True,
                    results=out or results / "again",
                )
                outcome = run_with_progress(again)
                compared, differing = compare_rows(rows, outcome.rows, names)
                records, wrong = [*records, *compared], [*wrong, *differing]
                skipped |= {codec.what: codec.why for codec in outcome.skipped}
    if not records:
        raise UnknownName("codec with results", codecs, known)
    absent = [*wrong, *starmap(Absent, skipped.items())]
    for of in records:
        if of["missing"] and of["codec"] not in skipped:
            what = f"{counted(of['missing'], 'row')} of {of['codec']}"
            absent.append(Absent(what, "not measured again"))
    near = (
        f"Rows of another build may differ, and a network's streams of another processor by "
        f"{100 * SIZE_APART:g} % in size and {DB_APART:g} dB in PSNR."
    )
    may = any(of["other_build"] or of["other_processor"] for of in records)
    facts = {"skipped": skipped, "wrong": [f"{it.what}: {it.why}" for it in wrong]}
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


def compare_rows(
    stored: pl.DataFrame, again: pl.DataFrame, metrics: Iterable[str]
) -> tuple[list[dict[str, Any]], list[Absent]]:
    """Compare rows with those of the same codec variant, setting and image, measured again.

    Where the build is the same, bytes, stream, picture and values of image metrics have to be,
    values within TOLERANCE in the metric's unit, unless the rows agree up to float rounding. Rows
    of another build are counted, but may differ; so may a network's on another kind of processor,
    by SIZE_APART and DB_APART. Returns counts by codec variant, and what differs otherwise.
    """
    stored, again = alike([stored, again])
    both = stored.join(again.filter(OK), on=KEY, suffix=NOW, maintain_order="left")
    now = both.select(
        col(name if name in KEY else name + NOW).alias(name) for name in again.columns
    )
    places = {of: processor_of(of) for of in [*both["machine"], *now["machine"]] if of}
    on, on_now = (col(f"machine{end}").replace_strict(places, default="") for end in ("", NOW))
    pixels, gaps = _same("decoded_sha256"), dict[str, pl.Expr]()
    for name in metrics:
        value, protocol, _ = metric_columns(metric_class(name).column)
        gap = pl.when(col(value) == col(value + NOW)).then(0.0).otherwise(_gap(value))
        gaps[value] = pl.when(_same(protocol)).then(gap)
    bytes_equal = [_same(name) | _gap_unknown(name) for name in ("num_bytes", "stream_sha256")]
    within = [(gap <= TOLERANCE).fill_null(False) for gap in gaps.values()]
    near = (
        col("parameters").is_not_null() & ~_same("stream_sha256")
        & ~(_same("device") & (on == on_now))
        & (_gap("num_bytes") <= SIZE_APART * col("num_bytes"))
        & (_gap("psnr_db") <= DB_APART).fill_null(False)
    )  # fmt: skip
    none = pl.lit(0)
    both = both.with_columns(
        agreeing=agreeing(both.select(again.columns), now),
        bytes_equal=pl.all_horizontal(bytes_equal),
        pixels_equal=pixels,
        other_build=~pl.all_horizontal(map(_same, BUILD)),
        near=near,
        values=pl.sum_horizontal(none, *(gap.is_not_null() for gap in gaps.values())),
        values_equal=pl.sum_horizontal(none, *within),
        largest_difference=pl.max_horizontal(0.0, *gaps.values()),
    ).with_columns(rounded=~col("other_build") & col("agreeing") & ~col("pixels_equal"))
    both = both.with_columns(other_processor=col("near") & ~col("other_build") & ~col("rounded"))
    wrong, lines = list[Absent](), Counter[tuple[str, ...]]()
    for row in both.filter(~pl.any_horizontal("other_build", "rounded", "near")).rows(named=True):
        whys = []
        if not row["bytes_equal"]:
            sizes = f"{row['num_bytes']} bytes before, {row[f'num_bytes{NOW}']} now"
            whys.append(f"the stream differs ({sizes})")
        if not row["pixels_equal"]:
            whys.append("it decodes to other pixels")
        for value, (first, second) in {v: (row[v], row[v + NOW]) for v in gaps}.items():
            apart = None not in (first, second) and abs(first - second) > TOLERANCE
            if apart and row["pixels_equal"]:
                whys.append(f"{value} is {second}, not {first}")
        wrong += [Absent(name_of_row(row), why) for why in whys]
        lines[row["codec"], row["variant"]] += len(whys)
    counts = both.group_by(VARIANT).agg(
        col("largest_difference").max(), col(COUNTS).sum(), measured_again=pl.len()
    )
    variants = stored.group_by(VARIANT, maintain_order=True).agg(rows=pl.len())
    variants = variants.join(counts, on=VARIANT, how="left", maintain_order="left").fill_null(0)
    records = [
        {
            **of,
            "codec": CodecSpec.of_row(of).text,
            "wrong": lines[of["codec"], of["variant"]],
            "missing": of["rows"] - of["measured_again"],
        }
        for of in variants.rows(named=True)
    ]
    return records, wrong


def _same(name: str) -> pl.Expr:
    return col(name).eq_missing(col(name + NOW))


def _gap(name: str) -> pl.Expr:
    return (col(name) - col(name + NOW)).abs()


def _gap_unknown(name: str) -> pl.Expr:
    return col(name).is_null() | col(name + NOW).is_null()
