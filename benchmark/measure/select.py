"""Select what a request measures: contenders, images, all cells, and the remaining cells."""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from polars import col

from benchmark.answer import Absent
from benchmark.codec import (
    CODING,
    Between,
    Codec,
    CodecInfo,
    OneOf,
    Setting,
)
from benchmark.datasets.dataset import (
    Dataset,
    Source,
    open_dataset,
    probe,
    refuse_duplicates,
)
from benchmark.errors import (
    BadOption,
    BadPack,
    BenchError,
    DamagedResults,
    Reason,
    Unavailable,
    UnknownName,
    UsageError,
)
from benchmark.facts import needs_options, work_of
from benchmark.measure.cells import Cell, Contender, Part, describe_missing, plan
from benchmark.measure.request import Points, Request, move_settings_to_points, parse_points
from benchmark.registry import ALIASES, CODECS
from benchmark.rows.codecs import folder_store_name
from benchmark.rows.edition import Edition, label_of, parse_spec
from benchmark.rows.packs.pack import Pack, RecordedCodec, find_pack, open_pack, shipped_packs
from benchmark.rows.schema import cell_key, info_columns
from benchmark.rows.shard import SHIPPED, refused_columns
from benchmark.rows.store import Row, Store, finished_rows, stores_below
from benchmark.rows.versions import BUNDLED, OK
from benchmark.spec import (
    PATHS,
    SEED,
    CodecSpec,
    codec_class,
    describe_codec,
    load_codec,
    parse_codec,
    refers_to_code,
    resolve,
    seeded_variants,
)
from benchmark.system.machine import cores
from benchmark.system.settings import SEARCHED_PLACES
from benchmark.system.text import bench_command, group_by_key, visible

ALL = ("all",)  # codecs: every codec that runs here
BY_NAME = "a pack refers to its code, which runs only if --codecs names it"
CHECKS = "checks"  # subfolder of a results folder, with the results of `bench check`
SHARED_FIELDS = "command", "revision", "device"  # equal in builds that can share rows


class Selection(NamedTuple):
    """Contenders that can run on this machine, and skipped codecs."""

    contenders: tuple[Contender, ...]
    skipped: tuple[Absent, ...]  # codecs named as typed


def every_codec() -> list[str]:
    """Return the codecs of `--codecs all`: those without required options, and aliases."""
    return [*(name for name in CODECS if not needs_options(name)), *ALIASES]


def select(
    codecs: Sequence[str],
    points: Points,
    packs: Sequence[Pack] = (),
    recorded: bool = True,
    skip_missing: bool = False,
    draws: int | None = None,
) -> Selection:
    """Return the contenders for codec specs, in order; `ALL` skips those that cannot run here.

    Streams come from the `packs` that have the variant, or, if `recorded` and there is no encoder,
    from a bundled pack. draws: number of seeds of generative codecs. Raises `Unavailable` if a
    named codec lacks something, unless `skip_missing`; `UsageError` for other errors.
    """
    selects_all = tuple(codecs) == ALL
    skipped: list[Absent] = []
    if selects_all:
        specs_in_packs = [spec for pack in packs for spec in pack.infos]
        safe_specs = [spec for spec in specs_in_packs if not refers_to_code(spec)]
        texts = [*every_codec(), *(spec.text for spec in safe_specs)]
        skipped += [Absent(spec.text, BY_NAME) for spec in specs_in_packs if refers_to_code(spec)]
    else:
        texts, points = move_settings_to_points(codecs, points)
    contenders: dict[CodecSpec, Contender] = {}
    for text in texts:
        try:
            for spec in expand_variants(text, draws):
                contenders[spec] = apply_points(_make_contender(spec, packs, recorded), points)
        except (Unavailable, BadPack) as error:
            if not selects_all and not skip_missing:
                raise unavailable_error(text, str(error), len(codecs)) from error
            skipped.append(_describe_skipped(text.strip(), error))
    selection = Selection(tuple(contenders.values()), tuple(skipped))
    _refuse_equal_labels(contenders)
    _refuse_unused_packs(selection, packs, draws)
    _refuse_unused_points(selection, points)
    return selection


def _describe_skipped(codec: str, error: Unavailable | BadPack) -> Absent:
    """Say why a codec is skipped, with the same words for causes of the same kind."""
    kind, subject, remedy = error.reason or Reason("")
    if kind == "weights":
        return Absent(codec, f"no weight files in {SEARCHED_PLACES}", remedy)
    package = f"needs the Python package {subject}" if kind == "package" else ""
    return Absent(codec, package or str(error))


def _refuse_unused_packs(selection: Selection, packs: Iterable[Pack], draws: int | None) -> None:
    """Raise `UsageError` if a pack or `draws` affects no contender, unless codecs were skipped."""
    if selection.skipped:
        return
    specs = [contender.spec for contender in selection.contenders]
    if draws is not None and not any(SEED in dict(spec.options) for spec in specs):
        seed_options = f"an option {SEED}, {{{SEED}}} in a command, seeds=... of a folder"
        raise UsageError(f"--draws {draws} needs a codec with a stochastic decoder: {seed_options}")
    paths = {contender.pack.path for contender in selection.contenders if contender.pack}
    for pack in packs:
        if pack.path not in paths:
            texts = ", ".join(spec.text for spec in pack.infos)
            problem = f"no codec of --codecs has a stream in {pack.path}"
            raise UsageError(f"{problem}: it has streams of {texts}")


def _refuse_unused_points(selection: Selection, points: Points) -> None:
    """Raise `UnknownName` for points of an unknown codec or setting that was not skipped."""
    # Excludes codecs that packs refer to, since packs may contain any text
    skipped_codecs = [skip.what for skip in selection.skipped if skip.why != BY_NAME]
    skipped_names = {name for text in skipped_codecs for name in (text, parse_codec(text).name)}
    for codec, setting in points:
        matching_contenders = [
            contender
            for contender in selection.contenders
            if codec in (contender.spec.name, contender.spec.text)
        ]
        names = {point.name for contender in matching_contenders for point in contender.sweep}
        if skipped_names & {codec, codec.partition(":")[0]} or setting in names:
            continue
        if not matching_contenders:
            specs = {contender.spec.name for contender in selection.contenders}
            raise UnknownName("codec among --codecs", codec, specs)
        raise UnknownName(f"setting of {codec}", setting, names)


def expand_variants(text: str, draws: int | None) -> list[CodecSpec]:
    """Return the variants of a codec, one per seed if its decoder is generative."""
    variants = resolve(parse_codec(text.strip()))
    if not draws:
        return variants
    return [seeded for spec in variants for seeded in seeded_variants(spec, draws)]


def unavailable_error(codec: str, reason: str, num_codecs: int) -> Unavailable:
    """Return the error for a codec that lacks something; with several codecs, suggest an option."""
    hint = "; --skip-missing runs the other codecs" if num_codecs > 1 else ""
    return Unavailable(f"{codec} cannot run here: {reason}{hint}")


def _refuse_equal_labels(specs: Iterable[CodecSpec]) -> None:
    specs_by_label: dict[str, CodecSpec] = {}
    for spec in specs:
        if (other_spec := specs_by_label.setdefault(spec.label, spec)).identity != spec.identity:
            texts = f"{other_spec.text!r} and {spec.text!r}"
            problem = f"{texts} would both have the label {spec.label!r}"
            attribute = "class or file name" if ".py:" in spec.name else "name=..."
            raise UsageError(f"{problem}: give one of them another {attribute}")


def _make_contender(spec: CodecSpec, packs: Sequence[Pack], recorded: bool) -> Contender:
    pack = find_pack(packs, spec)
    if pack is not None and pack.has_only_pictures(spec):
        problem = f"{pack.path} has pictures of {spec.label} but no streams"
        raise UsageError(
            f"{problem}: `{bench_command('pack import', pack.path)}` adds them to the results"
        )
    codec: Codec = load_codec(spec)
    reason, accepts = "", getattr(codec, "accepts", None)  # of any type in a user's codec
    accepts = accepts if isinstance(accepts, (Between, OneOf)) else None
    if spec.name in CODECS and not codec.sweep:
        raise BadOption(f"{spec.text} needs settings: values=10/30/50, lowest rate first")
    _require_storable(spec, work_of(spec, codec)._asdict())
    if pack is None:
        try:
            return Contender(spec, describe_codec(spec, codec), tuple(codec.sweep), accepts=accepts)
        except Unavailable as error:
            pack, reason = find_pack(shipped_packs(), spec) if recorded else None, str(error)
            if pack is None:
                raise
    codec = RecordedCodec(pack, spec, codec)
    return Contender(spec, codec.describe(), codec.sweep, pack, reason, accepts)


def _require_storable(spec: CodecSpec, row: Mapping[str, Any]) -> None:
    """Raise `UsageError` for a value that rows cannot have, before anything is measured."""
    for name in refused_columns(row):
        value = visible(repr(row[name]))[:80]
        raise UsageError(f"{spec.text} has the {name} {value}, which a row cannot hold: correct it")


def apply_points(contender: Contender, points: Points) -> Contender:
    """Return a contender with its points; points for its spec override those for its name."""
    spec, sweep, accepts = contender.spec, contender.sweep, contender.accepts
    for name in {setting.name for setting in sweep}:
        values = points.get((spec.text, name), points.get((spec.name, name)))
        if values is not None:
            sweep = tuple(Setting(name, value) for value in values)
            for setting in sweep:
                if accepts is not None and setting not in accepts:
                    raise BadOption(f"{spec.text} takes {accepts}, not {setting}")
    _require_storable(spec, {"revision": contender.info.revision})
    for setting in sweep:
        _require_storable(spec, {"setting_value": setting.value})
    return contender._replace(sweep=tuple(dict.fromkeys(sweep)))


class Sources(NamedTuple):
    """Images of a request's dataset, and those that cannot be measured."""

    dataset: Dataset
    images: tuple[Source, ...]
    refused: tuple[Absent, ...]


class Matrix(NamedTuple):
    """All cells of a request, and the cells that the store lacks."""

    sources: Sources
    selection: Selection
    store: Store
    table: pl.DataFrame  # table of the store, read once
    cells: tuple[Cell, ...]
    to_do: tuple[Cell, ...]


def open_sources(request: Request) -> Sources:
    """Open the dataset and probe its images; for stored rows, use `open_stored`."""
    dataset: Dataset = open_dataset(request.dataset, request.data_dir)
    images = refuse_duplicates(probe(dataset.images[: request.limit], request.flatten, cores()))
    sources = tuple(image for image in images if isinstance(image, Source))
    return Sources(dataset, sources, tuple(image for image in images if isinstance(image, Absent)))


def find_sources(dataset: str, data_dir: Path | None, results: Path) -> dict[str, Source] | str:
    """Return a dataset's photographs by sha256, or say why they are missing."""
    from benchmark.rows.place import Place

    prefix, place = "The original photograph is missing", Place(dataset)
    if not place.leads_to_images:
        place = Place(dataset.partition(":")[0])
    if reason := place.explain_loss(results):
        return f"{prefix}: {reason}."
    try:
        path = place.find_measured(results).text
        sources = open_sources(Request(data_dir=data_dir).for_stored_rows(path))
    except Unavailable as error:
        return f"{prefix}: {error}."
    return {image.sha256: image for image in sources.images}


def set_stored_name(sources: Sources, stores: Mapping[str, Path]) -> Sources:
    """Give a folder's sources the name of its results."""
    dataset = sources.dataset
    if not dataset.folder_title:
        return sources
    images = [image.sha256 for image in sources.images]
    name = folder_store_name(dataset.folder_title, images, stores, dataset.sizes_of_files())
    return sources._replace(dataset=replace(dataset, name=name))


def open_stored(request: Request) -> tuple[Sources, Store]:
    """Open a dataset, by its name or its name in results, and the store of its rows."""
    from benchmark.rows.place import required_place

    request = replace(request, dataset=required_place(request.results, request.dataset))
    sources = set_stored_name(open_sources(request), stores_below(request.results))
    return sources, Store(request.results / sources.dataset.store_name)


def may_have_rows(request: Request) -> bool:
    """Return whether the results folder may have measured rows of the dataset."""
    shards = (request.results / request.dataset.partition(":")[0] / "per_image").glob("*.parquet")
    return any(not path.name.startswith(SHIPPED) for path in shards)


def open_matrix(request: Request) -> Matrix:
    """Plan the cells of a request and find those missing from its results folder."""
    if request.timing and request.packs:
        raise UsageError("--timing measures encoders, which --pack replaces: leave out one option")
    Part.parse(request.part)  # refuse an invalid text before packs are opened
    packs = [open_pack(path) for path in dict.fromkeys(request.packs)]
    points = parse_points(request.points)
    use_recorded = not request.timing
    try:
        selection = select(
            request.codecs, points, packs, use_recorded, request.skip_missing, request.draws
        )
    except UnknownName as error:
        _explain_stored_name(error.name, request)
        raise
    sources, store = open_stored(request)
    selection = _skip_incomplete(selection, sources.images, request)
    matrix = make_matrix(request, sources, selection, store)
    if request.anchor or request.bundled:
        from benchmark.rows.names import find_editions, find_variant
        from benchmark.rows.stored import require_bundled
        from benchmark.rows.variants import editions_in
        from benchmark.spec import requested_names

        stored_editions = editions_in(matrix.table)
        if request.anchor:
            contenders = [
                Edition.create(contender.spec.identity) for contender in selection.contenders
            ]
            find_variant(request.anchor, [*contenders, *stored_editions])
        require_bundled(request.results, request.bundled)
        find_editions(requested_names(request.bundled) if request.bundled else [], stored_editions)
    return matrix


def _explain_stored_name(name: str, request: Request) -> None:
    """Raise `UsageError` if `name` is a label of rows of code, which only its own name starts."""
    from benchmark.rows.codecs import explain_refusal
    from benchmark.rows.variants import editions_in

    editions: Iterable[Edition] = ()
    with suppress(BenchError):  # the name is wrong whether or not the dataset is here
        editions = editions_in(open_stored(request)[1].versions())
    for edition in editions:
        if refers_to_code(edition.spec) and label_of(edition.spec) == name:
            raise UsageError(explain_refusal(edition.spec))


def make_matrix(request: Request, sources: Sources, selection: Selection, store: Store) -> Matrix:
    """Return the cells of a selection, and those missing from the store."""
    part = Part.parse(request.part)
    cells = plan(selection.contenders, sources.dataset.name, sources.images, part)
    table, versions = store.read()
    keys = {cell.key for cell in cells}
    finished_cells = {*finished_rows(versions, request.timing)["cell"]} & keys
    if request.keep and (
        lost_cells := store.cells_without_stream(versions, finished_cells, request.timing)
    ):
        finished_cells -= lost_cells
        warnings.warn(
            f"{len(lost_cells)} cells of {store.folder} have lost their streams (missing, or not "
            "of the recorded size): they are measured again, except with `bench run --no-keep`",
            DamagedResults,
            stacklevel=2,
        )
    if finished_cells:
        from benchmark.measure.score import unscorable_cells

        finished_cells -= unscorable_cells(
            table.filter(col("cell").is_in([*finished_cells])), request.metrics, store
        )
    to_do = tuple(cell for cell in cells if cell.key not in finished_cells)
    return Matrix(sources, selection, store, table, tuple(cells), to_do)


def _skip_incomplete(selection: Selection, images: Sequence[Source], request: Request) -> Selection:
    """Skip codecs whose pack lacks images; `Unavailable` for named codecs, or if none is left."""
    usable_contenders, skipped = list[Contender](), list(selection.skipped)
    for contender in selection.contenders:
        spec = contender.spec
        if hasattr(codec_class(spec), "require_distinct"):
            load_codec(spec).require_distinct([image.file.name for image in images])
        if reason := describe_missing(contender, images):
            skipped.append(Absent(spec.text, reason))
        if not reason or plan([contender], "", images):
            usable_contenders.append(contender)
        elif request.codecs != ALL and not request.skip_missing:
            raise unavailable_error(spec.text, reason, len(request.codecs))
    if not usable_contenders and skipped:
        reasons = "; ".join(f"{codec}: {reason}" for codec, reason, _ in skipped)
        raise Unavailable(f"none of the codecs can run here: {reasons}")
    return Selection(tuple(usable_contenders), tuple(skipped))


def find_rows_to_copy(matrix: Matrix, request: Request) -> dict[str, tuple[Row, Store]]:
    """Return finished rows for remaining cells, with their store, by cell.

    They come from `bench check` or builds with equal weights; none with --timing or --no-keep.
    """
    cells = {cell.key: cell for cell in matrix.to_do}
    rows: dict[str, tuple[Row, Store]] = {}
    if not cells or request.timing or not request.keep:
        return rows
    store = matrix.store
    check_folders = dict.fromkeys([store.folder.parent / CHECKS, Path("results") / CHECKS])
    check_stores = [Store(folder / store.folder.name) for folder in check_folders]
    tables = [
        (check_store, check_store.table())
        for check_store in check_stores
        if check_store.folder.is_dir()
    ]
    for source_store, table in (*tables, (store, matrix.table)):
        measured_rows = table.filter(OK & ~BUNDLED) if table.height else table
        for key, row in (
            _adapt_rows(source_store, measured_rows, cells) if measured_rows.height else ()
        ):
            if source_store.has_stream(row["stream_sha256"], row["num_bytes"]):
                rows.setdefault(key, (row, source_store))
    return rows


def copy_finished(matrix: Matrix, request: Request) -> int:
    """Copy the rows of `find_rows_to_copy` and their streams to the store; return their number."""
    store, rows = matrix.store, find_rows_to_copy(matrix, request)
    for row, source_store in rows.values():
        if source_store is not store and (stream := source_store.stream(row["stream_sha256"])):
            store.keep(stream)
        if not store.has_record(row["run"]):
            store.write_record(row["run"], source_store.record(row["run"]))
    store.append([row for row, _ in rows.values()])
    return len(rows)


def _adapt_rows(
    source: Store, table: pl.DataFrame, cells_by_key: Mapping[str, Cell]
) -> Iterator[tuple[str, Row]]:
    columns = [name for name in table.columns if name != "bundled"]
    for row in table.filter(col("cell").is_in([*cells_by_key])).select(columns).rows(named=True):
        yield row["cell"], row
    records = [
        build_records
        for record in source.records()
        if isinstance(build_records := record.get("codecs"), dict)
    ]
    for cells in group_by_key((cell.codec.text, cell) for cell in cells_by_key.values()).values():
        codec, info = cells[0].codec, cells[0].info
        builds = [
            (_match_recorded(codec, text), build)
            for build_records in records
            for text, build in build_records.items()
        ]
        keys = {
            cell_key(
                recorded_spec, replace(info, fingerprint=build["fingerprint"]), cell.setting,
                cell.source.sha256, cell.source.width_px, CODING,
            ): cell
            for recorded_spec, build in builds
            if recorded_spec is not None and _shares_settings(build, info)
            for cell in cells
            if (weights := dict(info.parts).get(str(cell.setting)))
            and [str(cell.setting), weights] in build["parts"]
        }  # fmt: skip
        for row in table.filter(col("cell").is_in([*keys])).select(columns).rows(named=True):
            cell = keys[row["cell"]]
            cell_columns = {**info_columns(cell.info), "variant": codec.variant, "cell": cell.key}
            yield cell.key, {**row, **cell_columns}


def _match_recorded(codec: CodecSpec, text: str) -> CodecSpec | None:
    """Return a recorded spec if it equals that of the codec, except for file names."""
    spec = parse_spec(text)
    return spec if spec.remove_options(PATHS) == codec.identity.remove_options(PATHS) else None


def _shares_settings(build: Any, info: CodecInfo) -> bool:
    return (
        isinstance(build, dict)
        and isinstance(build.get("parts"), list)
        and isinstance(build.get("fingerprint"), str)
        and all(build.get(name) == getattr(info, name) for name in SHARED_FIELDS)
    )
