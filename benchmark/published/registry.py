"""Registry of published curves: one json file per paper, read into a table of points.

A file has the paper's title, DOI and licence, and series: points of a system's variant on a dataset
in a metric, with protocol ids (docs/protocol.md), source and commit, origin, and doubts.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import count, groupby
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec.structs import replace

from benchmark.errors import StoreError, UsageError
from benchmark.metrics.metric import Metric
from benchmark.published.curve_file import CURVE_FILES, NamedCurve, read_curves
from benchmark.published.points import (
    ALL_SYSTEMS,
    ANY_DATASET,
    DOUBTFUL,
    Origin,
    PublishedPoint,
    Text,
    points_of_file,
    select,
    slug,
)
from benchmark.spec import split_names
from benchmark.system.atomic import require_inside, write_files
from benchmark.system.digest import file_state
from benchmark.system.machine import BUNDLED
from benchmark.system.text import group_by_key, listed, read_json

Record = TypeVar("Record", bound=msgspec.Struct)
SUFFIXES = (*CURVE_FILES, ".txt", ".tsv", ".dat")  # names with such a suffix are files
USER_SORT_KEY = 1_000_000  # a user's papers come after the project's


class Series(Origin, frozen=True, kw_only=True, omit_defaults=True):
    """Points with the same origin; `source` "" means the paper itself."""

    settings: tuple[str, ...] = ()  # one per point, if the source names them
    points: tuple[tuple[float, float], ...]  # bpp, value

    def __post_init__(self) -> None:
        if self.settings and len(self.settings) != len(self.points):
            raise ValueError(f"{len(self.settings)} settings for {len(self.points)} points")


SERIES = ("system", "variant", "dataset", "metric")


class Paper(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Paper, or repository of results."""

    title: Text
    doi: str = ""
    licence: str = ""  # licence of the repository with the numbers
    place: Annotated[int, msgspec.Meta(ge=0)] = USER_SORT_KEY  # sort key of papers
    series: tuple[Series, ...]

    def published(self) -> Iterator[PublishedPoint]:
        """Yield the points of every series."""
        for series in self.series:
            fields = {name: getattr(series, name) for name in Origin.__struct_fields__}
            fields |= {"source": series.source or self.title, "doi": self.doi}
            settings = series.settings or ("",) * len(series.points)
            for (bpp, value), setting in zip(series.points, settings, strict=True):
                yield PublishedPoint(bpp=bpp, value=value, setting=setting, **fields)


def group_series(points: Iterable[PublishedPoint], title: str = "") -> tuple[Series, ...]:
    """Group a paper's points into series with equal origin, in the order of points."""

    def shared_fields(point: PublishedPoint) -> dict[str, Any]:
        fields = {name: getattr(point, name) for name in Origin.__struct_fields__}
        return {**fields, "source": "" if point.source == title else point.source}

    ordered_points = group_by_key(
        (tuple(getattr(point, name) for name in SERIES), point) for point in points
    )
    runs = (
        (fields, [*run])
        for group in ordered_points.values()
        for fields, run in groupby(group, shared_fields)
    )
    return tuple(
        Series(
            **fields,
            points=tuple((point.bpp, point.value) for point in run),
            settings=tuple(point.setting for point in run)
            if any(point.setting for point in run)
            else (),
        )
        for fields, run in runs
    )


def write_paper(paper: Paper, path: Path) -> None:
    """Write a paper's file with one line per series."""
    head = msgspec.to_builtins(paper)
    series = ",\n".join(f"  {_compact_json(curve)}" for curve in head.pop("series"))
    lines = [f" {json.dumps(name)}: {_compact_json(value)},\n" for name, value in head.items()]
    text = f'{{\n{"".join(lines)} "series": [\n{series}\n ]\n}}\n'
    write_files(path.parent, {path.name: text}, what="curve")


def _compact_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


def read_paper(path: Path) -> Paper:
    """Read a paper's file, if it changed; raise `StoreError` with the position of the error."""
    try:
        return _parse_paper(path, file_state(path))
    except (OSError, ValueError, StoreError) as error:
        raise StoreError(f"{path} cannot be read: {getattr(error, 'strerror', error)}") from error


@cache
def _parse_paper(path: Path, _state: str) -> Paper:
    paper = read_json(path, Paper)
    tuple(paper.published())  # every point is valid
    return paper


def read_papers(results: Path) -> list[Paper]:
    """Read the project's papers and a results folder's, which replace those with equal names."""
    folders = [root / "published" for root in (BUNDLED, results)]
    files = {path.name: path for folder in folders for path in folder.glob("*.json")}
    papers = ((name, read_paper(path)) for name, path in files.items())
    return [paper for _, paper in sorted(papers, key=lambda entry: (entry[1].place, entry[0]))]


def read_points(results: Path, doubtful: bool = False) -> tuple[PublishedPoint, ...]:
    """Read the points of the registry and of a results folder; raise `StoreError`."""
    points = (point for paper in read_papers(results) for point in paper.published())
    return tuple(point for point in points if doubtful or not point.doubt)


def chosen_points(
    results: Path, names: str, all_variants: bool = False
) -> tuple[PublishedPoint, ...]:
    """Return points of systems (main curves; all_variants: all curves) and of curve files."""
    from benchmark.published.curves import main_points

    requested_names = [name.replace("\\,", ",") for name in split_names(names)]
    files = [name for name in requested_names if Path(name).suffix in CURVE_FILES]
    systems = [name for name in requested_names if name and name not in files]
    file_points = [point for file in dict.fromkeys(files) for point in points_of_file(Path(file))]
    registry = read_points(results, doubtful=True) if systems else ()
    result: dict[PublishedPoint, None] = {}
    for name in systems:
        system_points = select(registry, [name])
        takes_variants = all_variants or name == ALL_SYSTEMS or ":" in name
        result |= dict.fromkeys(system_points if takes_variants else main_points(system_points))
    return (*result, *_make_names_unique(file_points, {point.slug for point in result}))


def note_missing_values(
    points: Sequence[PublishedPoint], metrics: Iterable[Metric], dataset: str, results: Path
) -> list[str]:
    """Return a sentence for each metric that no system has. results: folder with other systems."""
    from benchmark.published.curves import published_curves

    points = [
        point for point in points if point.dataset != ANY_DATASET
    ]  # without points of a user's file
    sentences = []
    for metric in metrics if points else ():
        if not published_curves(points, dataset, metric):
            name = metric.published or metric.column
            all_points = read_points(results, doubtful=True)
            systems_text = listed(list(dict.fromkeys(point.system for point in points)))
            reason = "no paper reports it"
            if any(point.metric == name for point in all_points):
                reason = f"{systems_text} has no published value on {dataset}"
            sentences.append(f"{metric.label}: {reason}")
    return sentences


def _make_names_unique(
    points: Sequence[PublishedPoint], used_slugs: set[str]
) -> list[PublishedPoint]:
    curves = dict.fromkeys((point.system, point.reference) for point in points)
    slugs = Counter([*used_slugs, *(slug(system) for system, _ in curves)])
    names: dict[tuple[str, str], str] = {}
    for system, file in curves:
        name = system if slugs[slug(system)] == 1 else f"{system} ({file})"
        for number in count(2):
            if slug(name) not in used_slugs:
                break
            name = f"{system} ({file}, {number})"
        names[system, file] = name
        used_slugs.add(slug(name))
    return [replace(point, system=names[point.system, point.reference]) for point in points]


def add_paper(results: Path, title: str, doi: str, points: Sequence[PublishedPoint]) -> Path:
    """Write a paper's points into a results folder; raise `UsageError` if the file exists."""
    name_parts = points[0].system, points[0].variant, points[0].dataset
    name = "-".join(dict.fromkeys(slug(word) for word in name_parts if word))
    path = results / "published" / f"{name}.json"
    if path.exists():
        raise UsageError(f"{path} already exists: remove it, or name another --variant")
    require_inside(results, path)
    write_paper(Paper(title=title, doi=doi, series=group_series(points, title)), path)
    return path


def is_file(name: str) -> bool:
    """Return whether a name stands for a curve file, not for a published system."""
    path = Path(name.partition("#")[0])
    return path.suffix.lower() in SUFFIXES or path.exists()


def read_curve(
    name: str,
    dataset: str,
    results: Path,
    *,
    only_file: bool = False,
    points: Sequence[PublishedPoint] | None = None,
) -> NamedCurve:
    """Read the curve of a file or of a published system on a dataset; raise `UsageError`.

    `mine.csv#ours` selects `ours` in a file with several curves. points: from `read_points`,
    including doubtful ones.
    """
    from benchmark.published.curves import main_points

    path, hash_mark, codec = name.partition("#")
    if only_file or is_file(name):
        curves = {curve.name: curve for curve in read_curves(Path(path))}
        if len(curves) > 1 and codec not in curves:
            names = ", ".join(f"{path}#{curve_name}" for curve_name in curves)
            raise UsageError(f"{path} has several curves: name one of {names}")
        if hash_mark and codec not in curves:
            raise UsageError(f"{path} has the curve {', '.join(curves)}, not {codec}")
        return curves[codec] if hash_mark else next(iter(curves.values()))
    series: dict[str, list[tuple[float, float]]] = {}
    variants: dict[str, set[tuple[str, ...]]] = {}
    system_points = select(points or read_points(results, doubtful=True), [name])
    for point in system_points if ":" in name else main_points(system_points):
        if point.dataset == dataset and point.kind == "point":
            origin = point.variant, point.protocol, point.source
            variants.setdefault(point.metric, set()).add(origin)
            series.setdefault(point.metric, []).append((point.bpp, point.value))
    if not series:
        raise UsageError(f"{name} has no published curve on {dataset}: name another --dataset")
    ambiguous_variants = {
        variant for origins in variants.values() if len(origins) > 1 for variant, *_ in origins
    }
    if ambiguous_variants:
        system = name.rpartition(":")[0] if name.count(":") > name.startswith(DOUBTFUL) else name
        texts = ", ".join(sorted(f"{system}:{variant}" for variant in ambiguous_variants))
        raise UsageError(f"{name} has several curves on {dataset}: name one of {texts}")
    result = {}
    for metric, metric_points in series.items():
        rates, values = zip(*sorted(metric_points), strict=True)
        result[metric] = rates, values
    return NamedCurve(name, result)
