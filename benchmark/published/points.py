"""Published numbers: the csv of points from papers and repositories, typed and selected.

`results/published/points.csv` is made by `tools/import_published.py`; docs/protocol.md defines its
protocol ids.
"""

import csv
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from io import StringIO
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec

from benchmark.codec_spec import split_unescaped
from benchmark.errors import StoreError, UnknownName
from benchmark.published.curve_file import CURVE_FILES, read_curves
from benchmark.system.bundled import BUNDLED
from benchmark.system.foreign_files import LARGEST_FILE_BYTES, read_regular

How = Literal["author_csv", "table", "digitised"]  # authors' file, a paper's table, a figure
# point: of a rate curve; sample: off a plotted line, at a rate of the reader's choice; step: of a
# realism sweep at one rate, so no part of a rate curve
Kind = Literal["point", "sample", "step"]
Text = Annotated[str, msgspec.Meta(min_length=1)]
Record = TypeVar("Record", bound=msgspec.Struct)
ANY_DATASET, UNSTATED = "any", "unstated"  # of points in a user's own file, who vouches for them


class PublishedPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A number of one system, as its source has it; the field names are the csv's columns."""

    system: Text  # "Multi-Realism"
    variant: str = ""  # "beta=2.56"; empty where the system comes in one
    setting: str = ""  # which point of the variant, where the source says so: "q=0.25"
    kind: Kind
    dataset: Text  # as results are called; other images have other names: "clic2020-diffeic"
    bpp: float
    metric: Text  # column of ours where there is one: "psnr_db"
    value: float
    protocol: Text
    rate_protocol: Text
    how: How
    value_error: float | None = None  # reading error of digitised numbers, up and down
    bpp_error: float | None = None
    note: str = ""
    source: Text  # title
    reference: Text  # repository, file and commit

    def __post_init__(self) -> None:
        if not (0 < self.bpp < math.inf and math.isfinite(self.value)):
            raise ValueError(f"no point at {self.bpp} bpp and {self.metric} {self.value}")

    @property
    def slug(self) -> str:
        """Name of the system on the command line."""
        return slug(self.system)


def slug(text: str) -> str:
    """Return the text in small letters, digits and hyphens.

    >>> slug("Multi-Realism"), slug("Wei et al.")
    ('multi-realism', 'wei-et-al')
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def curve_name(system: str, variant: str) -> str:
    """Return the name of a published variant in legends.

    >>> curve_name("CRDR", "beta=0"), curve_name("JPEG", "Pillow 7.1.2"), curve_name("HFD", "")
    ('CRDR beta=0', 'JPEG (Pillow 7.1.2)', 'HFD')
    """
    if not variant:
        return system
    return f"{system} {variant}" if "=" in variant else f"{system} ({variant})"


def parse(text: str, kind: type[Record]) -> tuple[Record, ...]:
    """Return the rows of a csv whose columns are the fields of `kind`; empty fields are defaults.

    Raises `StoreError`, with the line, for other columns and rows that do not fit.
    """
    reader = csv.DictReader(StringIO(text, newline=""))
    expected = list(kind.__struct_fields__)
    if reader.fieldnames != expected:
        raise StoreError(f"it has other columns than {', '.join(expected)}")
    rows = ({name: value for name, value in row.items() if value} for row in reader)
    try:
        return tuple(msgspec.convert(row, kind, strict=False) for row in rows)
    except msgspec.ValidationError as error:
        raise StoreError(f"line {reader.line_num}: {error}") from error


def read_published(results: Path, name: str, kind: type[Record]) -> tuple[Record, ...]:
    """Return the rows of a file of published numbers: the results' own or the project's.

    Raises `StoreError` where it cannot be read.
    """
    path = results / "published" / name
    path = path if path.exists() else BUNDLED / "published" / name
    try:
        return parse(read_regular(path, LARGEST_FILE_BYTES).decode(), kind)
    except (OSError, StoreError, UnicodeDecodeError, csv.Error) as error:
        why = getattr(error, "strerror", error)
        raise StoreError(f"{path} cannot be read: {why}") from error


def read_points(results: Path) -> tuple[PublishedPoint, ...]:
    """Return the published points among these results, or those of the project without any."""
    return read_published(results, "points.csv", PublishedPoint)


def chosen_points(results: Path, names: str) -> tuple[PublishedPoint, ...]:
    """Return the points of what `--published` names, comma-separated: systems, files of curves."""
    asked = [name.strip().replace("\\,", ",") for name in split_unescaped(names, ",")]
    files = [name for name in asked if Path(name).suffix in CURVE_FILES]
    systems = [name for name in asked if name and name not in files]
    own = [point for file in files for point in points_of_file(Path(file))]
    return (*(select(read_points(results), systems) if systems else ()), *own)


def points_of_file(path: Path) -> list[PublishedPoint]:
    """Return the points of a file of curves, whose dataset and protocols are not stated there.

    Raises `UsageError` as `curve_file.read_curves` does.
    """
    return [
        PublishedPoint(
            system=curve.name, kind="point", dataset=ANY_DATASET, bpp=bpp, value=value,
            metric="lpips_alex" if column == "lpips" else column, protocol=UNSTATED,
            rate_protocol=UNSTATED, how="author_csv", source=path.name, reference=str(path),
        )
        for curve in read_curves(path)
        for column, (rates, values) in curve.series.items()
        for bpp, value in zip(rates, values, strict=True)
    ]  # fmt: skip


def select(points: Sequence[PublishedPoint], names: Iterable[str]) -> tuple[PublishedPoint, ...]:
    """Return the points of the named systems, `system` or `system:variant`; "all" is everything.

    Raises `UnknownName` for a name without points.
    """
    known: dict[str, list[PublishedPoint]] = {}
    for point in points:
        known.setdefault(point.slug, []).append(point)
        known.setdefault(f"{point.slug}:{point.variant}", []).append(point)
    result: dict[PublishedPoint, None] = {}
    for name in names:
        if name == "all":
            return tuple(points)
        system, colon, variant = name.partition(":")
        key = f"{slug(system)}:{variant}" if colon else slug(system)
        if key not in known:
            variants = [other for other in known if other.startswith(f"{slug(system)}:")]
            systems = sorted({point.slug for point in points})
            raise UnknownName("published system", name, variants if colon and variants else systems)
        result |= dict.fromkeys(known[key])
    return tuple(result)


def inventory(points: Iterable[PublishedPoint]) -> list[tuple[str, ...]]:
    """Return system, variant, dataset, metric, protocol, origin and count of points, sorted."""
    counts = Counter((p.system, p.variant, p.dataset, p.metric, p.protocol, p.how) for p in points)
    ordered = sorted(counts, key=lambda key: (key[0].lower(), *key))
    return [(*key, str(counts[key])) for key in ordered]
