"""Decoded pictures of stored rows: whether they can be had here, from what, and their pixels.

A picture is decoded from a stream, which was kept or came in a pack. One of a declared size is read
where it was kept or came in a pack, else where its codec has it (`folder:`). Code that rows name
decodes only where the command names it in full.
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
from benchmark.measure.decode_again import StoredRow, as_scored, decode_all
from benchmark.measure.execute import decode_again
from benchmark.registry import CODECS
from benchmark.rows.codecs import NamedCodecs, explain_missing_stream, explain_refusal
from benchmark.rows.edition import label_of, measured_titles
from benchmark.rows.packs.contents import DatasetContents, dataset_contents, packs_beside
from benchmark.rows.place import Place
from benchmark.rows.schema import is_declared
from benchmark.rows.store import Store
from benchmark.spec import CodecSpec, load_codec
from benchmark.system.text import by_key

FAILED = "they failed when they were measured; `bench report` has the reasons"
ABSENT: Final = "load"  # stage of a failure that is of what this machine lacks


class Contents(Protocol):
    """Streams and kept pictures of rows: a store and packs beside it, or a pack.

    Both methods return None where nothing was kept, and raise `BenchError` or `OSError` for damage.
    """

    def stream(self, row: StoredRow) -> bytes | None:
        """Return a row's stream."""

    def picture(self, row: StoredRow) -> Pixels | None:
        """Return the kept picture of a row of declared size."""


class Pictures:
    """The pictures of a dataset's stored rows: every verb that wants pixels asks here."""

    def __init__(self, contents: DatasetContents, codecs: NamedCodecs, dataset: str = "") -> None:
        """codecs, dataset: as the command names them."""
        self.contents = contents
        self._codecs = codecs
        self._dataset = dataset
        self._unusable: dict[CodecSpec, str] = {}

    @property
    def table(self) -> pl.DataFrame:
        """All rows of the dataset."""
        return self.contents.table

    @cached_property
    def place(self) -> str:
        """The dataset as `bench run` takes it: a name, or the folder that was measured."""
        folder = self.contents.store.folder
        return Place(self._dataset or folder.name).measured(folder.parent).text

    def why_none(self, row: StoredRow, points: Iterable[str] = ()) -> str:
        """Return why a row's picture cannot be had here; "" if it can. Nothing is decoded.

        points: of the command that makes it.
        """
        spec = CodecSpec.of_row(row)
        if row["status"] != "ok":
            return FAILED
        if self.contents.has_picture(row):
            return ""
        if self._codecs.find_decoder(spec) is None:
            return explain_refusal(spec)
        if not self.has_source(row):
            return explain_missing_stream(bool(row["recorded"]), [spec.text], self.place, points)
        return self._why_unusable(row)

    def has_source(self, row: StoredRow) -> bool:
        """Return whether a row has what its pixels come of, if its codec can be used here."""
        return is_declared(row) or self.contents.has_stream(row)

    def by_image(
        self, rows: pl.DataFrame, codecs: Sequence[str] = ()
    ) -> dict[str, dict[str, list[StoredRow]]]:
        """Return those of the rows whose pictures can be had, by image and label.

        `raw` is left out. Codecs are in the order of `codecs`, else the paper's first.
        """
        order = [*codecs, *measured_titles(), *CODECS]

        def place(pair: tuple[str, StoredRow]) -> tuple[int, str]:
            names = (pair[0], pair[1]["codec"])
            places = (order.index(name) for name in names if name in order)
            return next(places, len(order)), pair[1]["variant"]

        result: dict[str, dict[str, list[StoredRow]]] = {}
        for label, row in sorted(_labelled(rows), key=place):
            if not self.why_none(row):
                result.setdefault(row["image"], {}).setdefault(label, []).append(row)
        return result

    def lacking(self, rows: pl.DataFrame) -> list[tuple[list[str], str]]:
        """Return labels of which no row has a picture here, with the reason of their first row.

        A command in a reason is of all codecs that share it.
        """
        by_reason: dict[tuple[bool, bool, str], list[StoredRow]] = defaultdict(list)
        for of_label in by_key(_labelled(rows)).values():
            first = of_label[0]
            if all(map(self.why_none, of_label)):
                bare = self._may_run(first) and not self.has_source(first)
                why = "" if bare else self.why_none(first)
                by_reason[bare, bool(first["recorded"]), why].append(first)
        result = []
        for (bare, recorded, other), firsts in by_reason.items():
            specs = [CodecSpec.of_row(row).text for row in firsts]
            why = explain_missing_stream(recorded, specs, self.place) if bare else other
            result.append(([label_of(CodecSpec.of_row(row)) for row in firsts], why))
        return result

    def decoded(
        self,
        rows: Sequence[StoredRow],
        device: str,
        jobs: int,
        timeout_seconds: float | None = None,
    ) -> Iterator[tuple[int, Pixels | Failed] | None]:
        """Decode rows as `reconstructed` does; yield places in `rows` and the pixels scored.

        Pixels other than those that were scored are a failure.
        """
        conditions = device, jobs, timeout_seconds
        for outcome in reconstructed(rows, self.contents, self._codecs, *conditions):
            yield outcome and (outcome[0], as_scored(rows[outcome[0]], outcome[1]))

    def _may_run(self, row: StoredRow) -> bool:
        return self._codecs.find_decoder(CodecSpec.of_row(row)) is not None

    def _why_unusable(self, row: StoredRow) -> str:
        """Return why a program or a folder of pictures is not here; "" for what is not tried."""
        spec = self._codecs.find_decoder(CodecSpec.of_row(row))
        is_tried = is_declared(row) or (
            row["codec"] in CODECS and facts_of(CodecSpec.of_row(row)).kind == "standard"
        )
        if spec is None or not is_tried:
            return ""
        if spec not in self._unusable:
            self._unusable[spec] = ""
            try:
                load_codec(spec)
            except BenchError as error:
                self._unusable[spec] = f"it cannot be decoded here: {error}"
        return self._unusable[spec]


def reconstructed(
    rows: Sequence[StoredRow],
    contents: Contents,
    codecs: NamedCodecs,
    device: str,
    jobs: int,
    timeout_seconds: float | None = None,
) -> Iterator[tuple[int, Pixels | Failed] | None]:
    """Decode rows in fresh processes, whatever their pixels are; yield places in `rows` and pixels.

    They come as they complete, codec by codec, and None at least once a second. What was decoded on
    another kind of device than this `device` is decoded on that kind, since pixels may differ. A
    failure of the stage ABSENT is of what this machine lacks.
    """
    unread: list[tuple[int, Failed]] = []
    groups: dict[tuple[CodecSpec, str], list[int]] = defaultdict(list)
    loaded: dict[CodecSpec, Codec] = {}
    for place, row in enumerate(rows):
        spec = codecs.find_decoder(CodecSpec.of_row(row))
        try:
            picture = contents.picture(row)
        except (BenchError, OSError) as error:
            unread.append((place, Failed("decode", str(error))))
            continue
        if picture is not None:
            yield place, picture
        elif spec is None:
            unread.append((place, Failed(ABSENT, explain_refusal(CodecSpec.of_row(row)))))
        elif is_declared(row):
            yield place, _declared(row, spec, loaded)
        else:
            groups[spec, device if row["device"] == device else "cpu"].append(place)

    def streams(places: Sequence[int]) -> Iterator[tuple[str, bytes]]:
        for place in places:
            try:
                if (data := contents.stream(rows[place])) is None:
                    unread.append((place, Failed(ABSENT, "its stream was not kept")))
                else:
                    yield str(place), data
            except (BenchError, OSError) as error:
                unread.append((place, Failed("decode", str(error))))

    for (spec, where), places in groups.items():
        for outcome in decode_all(spec, streams(places), where, jobs, timeout_seconds):
            yield outcome and (int(outcome[0]), outcome[2])
    yield from unread


def _declared(row: StoredRow, spec: CodecSpec, loaded: dict[CodecSpec, Codec]) -> Pixels | Failed:
    """Read a row's picture where its codec has it; loaded: codecs that were opened before."""
    if spec not in loaded:
        try:
            loaded[spec] = load_codec(spec)
        except BenchError as error:
            return Failed(ABSENT, str(error))
    setting = Setting(row["setting_name"], row["setting_value"])
    return decode_again(loaded[spec], row["image"], setting, None)


def read_declared(codecs: str, store: Store, rows: Sequence[StoredRow]) -> Iterator[Pixels]:
    """Yield the pictures of rows of declared sizes, in their order, for a pack.

    codecs: as the command names them. Raises `UsageError` for a picture that cannot be read, or is
    not the one that was scored.
    """
    contents = DatasetContents(store.table(), store, {})
    decoded = Pictures(contents, NamedCodecs(codecs)).decoded(rows, "cpu", 1)
    for place, pixels in filter(None, decoded):
        row = rows[place]
        if isinstance(pixels, Failed):
            setting = f"{row['setting_name']}={row['setting_value']:g}"
            cell = f"{CodecSpec.of_row(row).label} {setting} of {row['image']}"
            raise UsageError(f"{cell} cannot be in a pack: {pixels.reason}")
        yield pixels


def pictures_of(
    results: Path,
    name: str,
    codecs: str,
    *,
    dataset: str = "",
    rows: pl.DataFrame | None = None,
) -> Pictures:
    """Return the pictures of stored rows of this name, or of a part of them, and of packs.

    codecs, dataset: as the command names them. rows: that were read before.
    """
    contents = dataset_contents(results, name.partition(":")[0], packs_beside(results), rows)
    return Pictures(contents, NamedCodecs(codecs), dataset or name)


def _labelled(rows: pl.DataFrame) -> list[tuple[str, StoredRow]]:
    """Return rows with their labels, without those of codecs that code nothing (`raw`)."""
    labelled = ((label_of(CodecSpec.of_row(row)), row) for row in rows.rows(named=True))
    return [
        (label, row) for label, row in labelled if not facts_of(CodecSpec(row["codec"], ())).null
    ]
