"""Decoded pictures of stored rows: their availability, source and pixels.

Pixels are decoded from a stream in the store or a pack. For a declared size, a picture is read from
store, pack or the codec (`folder:`). Code that rows refer to decodes only if the command gives its
full spec.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final, Protocol

import polars as pl

from benchmark.codec import Codec, Pixels, Setting
from benchmark.errors import BenchError, UsageError
from benchmark.facts import facts_of
from benchmark.measure.cells import Failed
from benchmark.measure.decode_again import StoredRow, check_pixels, decode_all
from benchmark.measure.execute import decode_again
from benchmark.registry import CODECS
from benchmark.rows.codecs import NamedCodecs, explain_missing_stream, explain_refusal
from benchmark.rows.edition import label_of, measured_titles
from benchmark.rows.packs.contents import DatasetContents, dataset_contents, packs_with_results
from benchmark.rows.place import Place
from benchmark.rows.schema import is_declared
from benchmark.rows.store import Store
from benchmark.spec import CodecSpec, load_codec
from benchmark.system.text import group_by_key

FAILED_REASON = "they failed when they were measured; `bench report` has the reasons"
ABSENT: Final = "load"  # stage of failures whose cause is something missing on this machine


class Contents(Protocol):
    """Streams and pictures of rows, None if missing; `BenchError` or `OSError` if damaged."""

    def stream(self, row: StoredRow) -> bytes | None:
        """Return a row's stream."""

    def picture(self, row: StoredRow) -> Pixels | None:
        """Return the picture of a row of declared size."""


class Pictures:
    """Pictures of a dataset's stored rows, for all verbs that need pixels."""

    def __init__(self, contents: DatasetContents, codecs: NamedCodecs, dataset: str = "") -> None:
        """codecs, dataset: as typed in the command."""
        self.contents = contents
        self._codecs = codecs
        self._dataset = dataset
        self._problems: dict[CodecSpec, str] = {}

    @property
    def table(self) -> pl.DataFrame:
        """All rows of the dataset."""
        return self.contents.table

    @cached_property
    def place(self) -> str:
        """The dataset for `bench run`: a name, or the measured folder."""
        folder = self.contents.store.folder
        return Place(self._dataset or folder.name).find_measured(folder.parent).text

    def absence_reason(self, row: StoredRow, points: Iterable[str] = ()) -> str:
        """Return why a row's picture is unavailable; else "". points: for the suggested command."""
        spec = CodecSpec.parse_row(row)
        if row["status"] != "ok":
            return FAILED_REASON
        if self.contents.has_picture(row):
            return ""
        if self._codecs.find_decoder(spec) is None:
            return explain_refusal(spec)
        if not self.has_source(row):
            return explain_missing_stream(bool(row["recorded"]), [spec.text], self.place, points)
        return self._find_problem(row)

    def has_source(self, row: StoredRow) -> bool:
        """Return whether a codec could make a row's pixels, if it can run."""
        return is_declared(row) or self.contents.has_stream(row)

    def group_by_image(
        self, rows: pl.DataFrame, codecs: Sequence[str] = ()
    ) -> dict[str, dict[str, list[StoredRow]]]:
        """Group rows with pictures by image and label: first `codecs`, then those of papers."""
        order = [*codecs, *measured_titles(), *CODECS]

        def sort_key(pair: tuple[str, StoredRow]) -> tuple[int, str]:
            names = (pair[0], pair[1]["codec"])
            ranks = (order.index(name) for name in names if name in order)
            return next(ranks, len(order)), pair[1]["variant"]

        rows_by_image: dict[str, dict[str, list[StoredRow]]] = {}
        for label, row in sorted(_label_rows(rows), key=sort_key):
            if not self.absence_reason(row):
                rows_by_image.setdefault(row["image"], {}).setdefault(label, []).append(row)
        return rows_by_image

    def group_absences(self, rows: pl.DataFrame) -> list[tuple[list[str], str]]:
        """Return labels that have no picture, grouped by the reason of their first row."""
        rows_by_reason: dict[tuple[bool, bool, str], list[StoredRow]] = defaultdict(list)
        for labelled_rows in group_by_key(_label_rows(rows)).values():
            first_row = labelled_rows[0]
            if all(map(self.absence_reason, labelled_rows)):
                lacks_only_stream = self._may_run(first_row) and not self.has_source(first_row)
                reason = "" if lacks_only_stream else self.absence_reason(first_row)
                rows_by_reason[lacks_only_stream, bool(first_row["recorded"]), reason].append(
                    first_row
                )
        absences = []
        for (lacks_only_stream, is_recorded, other_reason), first_rows in rows_by_reason.items():
            specs = [CodecSpec.parse_row(row).text for row in first_rows]
            reason = (
                explain_missing_stream(is_recorded, specs, self.place)
                if lacks_only_stream
                else other_reason
            )
            absences.append(([label_of(CodecSpec.parse_row(row)) for row in first_rows], reason))
        return absences

    def decode_rows(
        self,
        rows: Sequence[StoredRow],
        device: str,
        jobs: int,
        timeout_seconds: float | None = None,
    ) -> Iterator[tuple[int, Pixels | Failed] | None]:
        """Yield positions in `rows` with the measured pixels or a failure; see `decode_stored`."""
        conditions = device, jobs, timeout_seconds
        for outcome in decode_stored(rows, self.contents, self._codecs, *conditions):
            yield outcome and (outcome[0], check_pixels(rows[outcome[0]], outcome[1]))

    def _may_run(self, row: StoredRow) -> bool:
        return self._codecs.find_decoder(CodecSpec.parse_row(row)) is not None

    def _find_problem(self, row: StoredRow) -> str:
        """Return why a program or folder of pictures is unusable; "" if usable or not tested."""
        spec = self._codecs.find_decoder(CodecSpec.parse_row(row))
        is_tested = is_declared(row) or (
            row["codec"] in CODECS and facts_of(CodecSpec.parse_row(row)).kind == "standard"
        )
        if spec is None or not is_tested:
            return ""
        if spec not in self._problems:
            self._problems[spec] = ""
            try:
                load_codec(spec)
            except BenchError as error:
                self._problems[spec] = f"it cannot be decoded here: {error}"
        return self._problems[spec]


def decode_stored(
    rows: Sequence[StoredRow],
    contents: Contents,
    codecs: NamedCodecs,
    device: str,
    jobs: int,
    timeout_seconds: float | None = None,
) -> Iterator[tuple[int, Pixels | Failed] | None]:
    """Decode rows in fresh processes; yield positions in `rows` and pixels, unchecked.

    Yields rows when they finish, codec by codec, and None at least once a second. Rows coded on a
    device other than `device` are decoded on the CPU. ABSENT: this machine lacks something.
    """
    failures: list[tuple[int, Failed]] = []
    position_groups: dict[tuple[CodecSpec, str], list[int]] = defaultdict(list)
    loaded_codecs: dict[CodecSpec, Codec] = {}
    for position, row in enumerate(rows):
        spec = codecs.find_decoder(CodecSpec.parse_row(row))
        try:
            picture = contents.picture(row)
        except (BenchError, OSError) as error:
            failures.append((position, Failed("decode", str(error))))
            continue
        if picture is not None:
            yield position, picture
        elif spec is None:
            failures.append((position, Failed(ABSENT, explain_refusal(CodecSpec.parse_row(row)))))
        elif is_declared(row):
            yield position, _read_declared(row, spec, loaded_codecs)
        else:
            position_groups[spec, device if row["device"] == device else "cpu"].append(position)

    def streams(positions: Sequence[int]) -> Iterator[tuple[str, bytes]]:
        for position in positions:
            try:
                if (stream := contents.stream(rows[position])) is None:
                    failures.append((position, Failed(ABSENT, "its stream was not kept")))
                else:
                    yield str(position), stream
            except (BenchError, OSError) as error:
                failures.append((position, Failed("decode", str(error))))

    for (spec, group_device), positions in position_groups.items():
        for outcome in decode_all(spec, streams(positions), group_device, jobs, timeout_seconds):
            yield outcome and (int(outcome[0]), outcome[2])
    yield from failures


def _read_declared(
    row: StoredRow, spec: CodecSpec, loaded_codecs: dict[CodecSpec, Codec]
) -> Pixels | Failed:
    if spec not in loaded_codecs:
        try:
            loaded_codecs[spec] = load_codec(spec)
        except BenchError as error:
            return Failed(ABSENT, str(error))
    setting = Setting(row["setting_name"], row["setting_value"])
    return decode_again(loaded_codecs[spec], row["image"], setting, None)


def read_declared(codecs: str, store: Store, rows: Sequence[StoredRow]) -> Iterator[Pixels]:
    """Yield the pictures of rows of declared sizes; `UsageError` if missing or changed."""
    contents = DatasetContents(store.table(), store, {})
    outcomes = Pictures(contents, NamedCodecs(codecs)).decode_rows(rows, "cpu", 1)
    for position, pixels in filter(None, outcomes):
        row = rows[position]
        if isinstance(pixels, Failed):
            setting = f"{row['setting_name']}={row['setting_value']:g}"
            cell = f"{CodecSpec.parse_row(row).label} {setting} of {row['image']}"
            raise UsageError(f"{cell} cannot be in a pack: {pixels.reason}")
        yield pixels


def open_pictures(
    results: Path,
    name: str,
    codecs: str,
    *,
    dataset: str = "",
    rows: pl.DataFrame | None = None,
) -> Pictures:
    """Return the pictures of a dataset's stored rows and packs. rows: rows read before."""
    contents = dataset_contents(results, name.partition(":")[0], packs_with_results(results), rows)
    return Pictures(contents, NamedCodecs(codecs), dataset or name)


def _label_rows(rows: pl.DataFrame) -> list[tuple[str, StoredRow]]:
    labelled_rows = ((label_of(CodecSpec.parse_row(row)), row) for row in rows.rows(named=True))
    return [
        (label, row)
        for label, row in labelled_rows
        if not facts_of(CodecSpec(row["codec"], ())).null
    ]
