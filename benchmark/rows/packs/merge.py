"""Merge results of several machines: rows, streams, pictures, run records, features, reductions.

Files are copied as a whole, rows last, and existing files are not changed: an interrupted merge can
be repeated, and repeating a complete one changes nothing. If two rows of a cell differ in bytes, in
pixels by more than rounding, or in PSNR although pixels are equal, this is a conflict: the existing
row is kept, and the conflict is reported each time.
"""

import json
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from polars import col

from benchmark.codec import Setting
from benchmark.errors import BadOption, DamagedResults, ImageRefused, UsageError
from benchmark.registry import is_python_file
from benchmark.rows.agreement import mark_agreeing
from benchmark.rows.codecs import NAME, REQUEST_FIELDS, rerun_command
from benchmark.rows.reduce import Reductions
from benchmark.rows.shard import SHIPPED, align_columns, record_of
from benchmark.rows.store import Store
from benchmark.rows.streams import has_content, parse_picture
from benchmark.rows.versions import OK, VARIANT, merge_versions
from benchmark.spec import CodecSpec
from benchmark.system.atomic import WaitingFiles, require_inside
from benchmark.system.digest import SHA256
from benchmark.system.foreign_files import MAX_FOREIGN_FILE_BYTES, is_regular, read_regular
from benchmark.system.text import bench_command, counted, listed

Row = dict[str, Any]

# Fields of a request that differ between parts (`--part`) of one run.
PART_FIELDS = ("part", "results", "dataset")
SUBFOLDERS = ("per_image", "runs", "streams", "features", "sets")
# Columns in which the rows of a cell must agree.
RESULT_COLUMNS = ("num_bytes", "stream_sha256", "decoded_sha256", "psnr_db")
REMEDY = "fix this, then merge again"
SOURCE_INDEX = "source_index"  # column: index of a row's folder; the target has 0
COLUMN_FORMS = {  # regular expressions by column
    "run": f"^{NAME.pattern}$",
    **dict.fromkeys(("stream_sha256", "decoded_sha256", "image_sha256"), f"^{SHA256.pattern}$"),
}


class MergeResult(NamedTuple):
    """Counts of files and rows merged into a dataset's folder, conflicts and damaged files."""

    dataset: str
    rows: int
    streams: int
    pictures: int  # pictures of declared sizes
    runs: int
    features: int
    reductions: int
    conflicts: tuple[str, ...]  # sentences that name both rows and their folders
    damaged: tuple[str, ...]  # sentences on files that were left out
    missing: tuple[str, ...] = ()  # sentences on parts of runs that no folder has


def merge_folders(folders: Sequence[Path], target: Path) -> Iterator[MergeResult]:
    """Merge results folders into `target`, by dataset; `UsageError` before anything is written."""
    folders_by_dataset: dict[str, list[Path]] = {}
    for folder in folders:
        if target.exists() and folder.exists() and folder.samefile(target):
            raise UsageError(
                f"{folder} is also the target: leave out this folder, or give --into another one"
            )
        for dataset in _datasets(folder):
            folders_by_dataset.setdefault(dataset, []).append(folder / dataset)
    return (_Merge(target / name).run(parts) for name, parts in sorted(folders_by_dataset.items()))


def _missing_parts(records: Iterable[Row]) -> tuple[str, ...]:
    """Return a sentence for each request of which only some parts (`--part`) were run."""
    runs: dict[str, dict[tuple[int, int], Row]] = {}  # by request, by part and number of parts
    for record in records:
        request = record.get("request")
        if isinstance(request, dict):
            part = re.fullmatch(r"(\d{1,6})/(\d{1,6})", str(request.get("part") or "1/1"))
            request_key = json.dumps(
                [request.get(name) for name in REQUEST_FIELDS if name not in PART_FIELDS]
            )
            if part:
                runs.setdefault(request_key, {})[int(part[1]), int(part[2])] = record
    sentences = []
    for record_by_part in runs.values():
        for num_parts in sorted(
            {num_parts for _, num_parts in record_by_part} if (1, 1) not in record_by_part else ()
        ):
            missing = [n for n in range(1, num_parts + 1) if (n, num_parts) not in record_by_part]
            if missing:
                record = next(
                    run for (_, count), run in record_by_part.items() if count == num_parts
                )
                command = _command_of_part(record, f"{missing[0]}/{num_parts}")
                numbers = listed([*map(str, missing)])
                sentences.append(
                    f"part {numbers} of {num_parts} was not run: `{command}` measures it"
                )
    return tuple(sentences)


def _command_of_part(record: Row, part: str) -> str:
    words = record.get("arguments")
    if isinstance(words, list) and words[:1] == ["run"] and "--part" in words[1:-1]:
        index = words.index("--part") + 1
        return bench_command("", *words[:index], part, *words[index + 1 :])
    return rerun_command(record, part=part, results="")


def _datasets(folder: Path) -> list[str]:
    if any((folder / part).is_dir() for part in SUBFOLDERS):
        raise UsageError(f"{folder} is the folder of one dataset: give its parent")
    names = [
        path.name
        for path in folder.glob("*")
        if any((path / part).is_dir() for part in SUBFOLDERS)
        and not (path.name.startswith(".") or is_python_file(path.name))
    ]
    if not names:
        raise UsageError(
            f"{folder} is not a results folder: it contains no rows or streams of a dataset"
        )
    for name in names:
        if (folder / name).resolve().parent != folder.resolve():
            raise UsageError(
                f"{folder / name} leads out of {folder}: merge the results folder that contains it"
            )
    return names


class _Merge:
    """Merge of one dataset's folders into a target folder, with conflicts and damaged files."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._target = folder, Store(folder)
        self._damaged: list[str] = []
        self._conflicts: list[str] = []

    def run(self, sources: Sequence[Path]) -> MergeResult:
        for source in sources:
            for path in (*source.glob("per_image/*.parquet"), *source.glob("sets/*.parquet")):
                if not is_regular(path, within=source):
                    raise UsageError(f"{path} is not a regular file in {source}: remove the file")
        streams = pictures = runs = features = reductions = 0
        for source in sources:
            streams += self._copy_streams(source)
            pictures += self._copy_pictures(source)
            features += self._copy(source, "features/*/*/*.npy")
            self._copy(source, "features/CACHEDIR.TAG")
            runs += self._copy(source, "runs/*.json", "describe the same run differently")
            bundled = f"per_image/{SHIPPED}*.parquet"
            self._copy(source, bundled, "are from different versions of the project")
        with self._collect_warnings(sources):
            for source in sources:
                target = Reductions(self._folder)
                missing = Reductions(source).difference(target)
                target.add(missing)
                reductions += len(missing)
            new_rows = self._new_rows([self._target, *map(Store, sources)])
        if new_rows.height:
            self._target.add(new_rows)
            self._target.compact()
        return MergeResult(
            self._folder.name, new_rows.height, streams, pictures, runs, features, reductions,
            tuple(self._conflicts), tuple(self._damaged), _missing_parts(self._target.records()),
        )  # fmt: skip

    @contextmanager
    def _collect_warnings(self, sources: Sequence[Path]) -> Iterator[None]:
        """Collect warnings about damaged shards of the sources; emit other warnings again."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", DamagedResults)
            yield
        for warning in caught:
            message, text = warning.message, str(warning.message)
            file = message.file if isinstance(message, DamagedResults) else None
            if file is None or not any(file.is_relative_to(source) for source in sources):
                warnings.warn_explicit(message, warning.category, warning.filename, warning.lineno)
            elif text not in self._damaged:
                self._damaged.append(text)

    def _new_rows(self, stores: Sequence[Store]) -> pl.DataFrame:
        """Return the rows that the first store lacks; record conflicts between the stores."""
        tables = align_columns([stores[0].versions(), *map(self._valid_rows, stores[1:])])
        all_rows = pl.concat(
            table.with_columns(pl.lit(number).alias(SOURCE_INDEX))
            for number, table in enumerate(tables)
        )
        conflicting_rows = _find_conflicts(all_rows)
        self._conflicts += sorted(
            _describe_conflict(rows, stores) for rows in conflicting_rows.values()
        )
        is_first_source = col(SOURCE_INDEX) == col(SOURCE_INDEX).filter(OK).min().over("cell")
        kept_rows = all_rows.filter(is_first_source | ~col("cell").is_in([*conflicting_rows]))
        valid_rows = merge_versions(tables[0])
        merged_rows = merge_versions(kept_rows.drop(SOURCE_INDEX))
        return merged_rows.join(valid_rows, on=merged_rows.columns, how="anti", nulls_equal=True)

    def _valid_rows(self, store: Store) -> pl.DataFrame:
        """Return the rows whose run, hashes and codec variant have a valid form."""
        table = store.versions()
        masks = [col("run").is_not_null()]
        masks += [col(n).str.contains(form).fill_null(True) for n, form in COLUMN_FORMS.items()]
        for codec, variant in table.select(VARIANT).unique().rows():
            try:
                is_valid = codec and CodecSpec.parse(codec, variant)
            except BadOption:
                is_valid = None
            if not is_valid:
                masks.append((col("codec") != codec) | (col("variant") != variant))
        valid_rows = table.filter(*masks)
        if num_invalid := table.height - valid_rows.height:
            rows = counted(num_invalid, "row is", "rows are")
            problem = "an invalid codec, run or sha256"
            self._damaged.append(f"{store.folder}: {rows} left out because of {problem}")
        return valid_rows

    def _copy(self, source: Path, pattern: str, difference: str = "") -> int:
        """Copy new files, shards with records; difference: message if an existing file differs."""
        count = 0
        with WaitingFiles(REMEDY) as waiting:
            for path in sorted(source.glob(pattern)):
                target = self._folder / path.relative_to(source)
                if path.name.startswith("."):
                    continue
                if target.exists():
                    data = self._read_file(path, source) if difference else None
                    if difference and (data is None or not has_content(target, data)):
                        sentence = f"{target} and {path} {difference}; the first is kept"
                        self._conflicts.append(sentence)
                    continue
                data = self._read_file(path, source)
                if data is None:
                    continue
                require_inside(self._folder, target)
                files = {target: data}
                if record_of(path).exists():
                    record = self._read_file(record_of(path), source)
                    files |= {} if record is None else {record_of(target): record}
                waiting.add(files)
                count += 1
        return count

    def _copy_streams(self, source: Path) -> int:
        """Copy streams that are missing or damaged in the target; return their number."""
        count = 0
        with WaitingFiles(REMEDY) as waiting:
            for path in sorted(Store(source).streams()):
                if self._target.has_stream(path.name, path.lstat().st_size):
                    continue
                if (data := self._read_file(path, source)) is None:
                    continue
                if sha256(data).hexdigest() != path.name:
                    self._damaged.append(f"{path} is left out: its bytes do not match its name")
                    continue
                waiting.add(self._target.stream_files({path.name: data}))
                count += 1
        return count

    def _copy_pictures(self, source: Path) -> int:
        """Copy pictures that are missing or damaged in the target; return their number."""
        count = 0
        with WaitingFiles(REMEDY) as waiting:
            for path in sorted(Store(source).pictures()):
                if self._target.has_picture(path.stem, path.lstat().st_size):
                    continue
                if (png := self._read_file(path, source)) is None:
                    continue
                try:
                    parse_picture(png, path.stem)
                except ImageRefused as refused:
                    self._damaged.append(f"{path} is left out: {refused}")
                    continue
                waiting.add(self._target.picture_files({path.stem: png}))
                count += 1
        return count

    def _read_file(self, path: Path, source: Path) -> bytes | None:
        """Read a file of the folder `source`; None, recorded as damaged, on failure."""
        try:
            return read_regular(path, MAX_FOREIGN_FILE_BYTES, within=source)
        except OSError as error:
            self._damaged.append(f"{path} is left out: {error.strerror or error}")
            return None


def _find_conflicts(table: pl.DataFrame) -> dict[str, list[Row]]:
    """Return the rows of cells with conflicts, by cell; the row that is kept comes first."""
    ok = table.filter(OK)
    disagrees = pl.any_horizontal(col(name).drop_nulls().n_unique() > 1 for name in RESULT_COLUMNS)
    cells = ok.group_by("cell").agg(disagrees=disagrees).filter("disagrees")["cell"]
    differing_rows = ok.filter(col("cell").is_in(cells.implode())).sort(
        SOURCE_INDEX, maintain_order=True
    )
    conflicting_rows: dict[str, list[Row]] = {}
    for (cell,), rows in differing_rows.group_by("cell", maintain_order=True):
        valid_rows = merge_versions(rows.filter(col(SOURCE_INDEX) == rows[SOURCE_INDEX][0]))
        if not mark_agreeing(rows, valid_rows[[0] * rows.height]).all():
            conflicting_rows[str(cell)] = [*valid_rows.rows(named=True), *rows.rows(named=True)]
    return conflicting_rows


def _describe_conflict(versions: Sequence[Row], stores: Sequence[Store]) -> str:
    row = versions[0]
    label = CodecSpec.parse_row(row).label
    setting = Setting(row["setting_name"], row["setting_value"])
    descriptions: dict[tuple[Any, ...], str] = {}
    for version in versions:
        decoded = version["decoded_sha256"][:8] if version["decoded_sha256"] else "unknown pixels"
        content = f"{version['num_bytes']} bytes ({(version['stream_sha256'] or 'declared')[:8]})"
        psnr = "" if version["psnr_db"] is None else f" with {version['psnr_db']:.4f} dB"
        place = (
            f"{stores[version[SOURCE_INDEX]].folder} (run {version['run']}, {version['machine']})"
        )
        key = tuple(version[name] for name in RESULT_COLUMNS)
        descriptions.setdefault(key, f"{content}, decoded to {decoded}{psnr}, in {place}")
    return (
        f"{label} {setting} {row['image']}: {'; but '.join(descriptions.values())}; "
        "the first is kept"
    )
