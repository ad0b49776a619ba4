"""The csv of published numbers in; typed points, and curves that may meet in a panel, out. Pure.

`results/published/points.csv` is made by `tools/import_published.py`; docs/protocol.md defines its
protocol ids.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from io import StringIO
from typing import Any, Literal, NamedTuple, cast, get_args

from benchmark.errors import StoreError, UnknownName, UsageError

How = Literal["author_csv", "table", "digitised"]  # authors' file, a paper's table, a figure
# point: of a rate curve; sample: off a drawn line, at a rate of the reader's choice; step: of a
# walk through realism at one rate, so no part of a rate curve
Kind = Literal["point", "sample", "step"]

# Images of the datasets that published means are over, by the names that results have.
IMAGES = {"kodak": 24, "clic2020": 428, "clic2020:professional": 250, "clic2020:mobile": 178}
# Columns of ours that published numbers have under another name: which patches, says the protocol.
NAMES = {"fid256": "fid", "kid256": "kid"}
EVERYTHING = "all"
# What of it our own codecs make, by the label that rows of theirs have.
COUNTERPARTS = {
    ("CRDR", "beta=0"): "ours:beta=0",
    ("CRDR", "beta=3.84"): "ours:beta=3.84",
    ("JPEG", "Pillow 7.1.2"): "jpeg",
    ("WebP", "Pillow 7.1.2"): "webp",
    ("VTM", "CompressAI"): "vtm",
    ("Hyperprior", "CompressAI mse"): "hyperprior",
    ("Hyperprior", "CompressAI ms-ssim"): "compressai:metric=ms-ssim:model=bmshj2018-hyperprior",
    ("MeanScaleHyperprior", "CompressAI mse"): "compressai:model=mbt2018-mean",
    ("JointAutoregressive", "CompressAI mse"): "compressai:model=mbt2018",
    ("Cheng2020-anchor", "CompressAI mse"): "compressai:model=cheng2020-anchor",
    ("Cheng2020-attn", "CompressAI mse"): "compressai:model=cheng2020-attn",
}


@dataclass(frozen=True, slots=True)
class PublishedPoint:
    """One number of one system, as its source has it; the field names are the csv's columns."""

    system: str  # "Multi-Realism"
    variant: str  # "beta=2.56"; empty where the system comes in one
    setting: str  # which point of the variant, where the source says so: "q=0.25"
    kind: Kind
    dataset: str  # as results are called; other images have other names: "clic2020-diffeic"
    bpp: float
    metric: str  # column of ours where there is one: "psnr_db"
    value: float
    protocol: str
    rate_protocol: str
    how: How
    value_error: float | None  # reading error of digitised numbers, up and down
    bpp_error: float | None
    note: str
    source: str  # title
    reference: str  # repository, file and commit

    @property
    def slug(self) -> str:
        """The system as the command line takes it."""
        return slug(self.system)


class PublishedCurve(NamedTuple):
    """Points of one variant under one metric and protocol, from one source, lowest rate first."""

    system: str
    variant: str
    protocol: str
    kind: Kind
    how: How
    source: str
    points: tuple[PublishedPoint, ...]

    @property
    def name(self) -> str:
        """What legends call it."""
        return curve_name(self.system, self.variant)


class Panel(NamedTuple):
    """What may be drawn beside each other, and what is left out since its rules are others."""

    drawn: tuple[PublishedCurve, ...]
    refused: tuple[PublishedCurve, ...]


def slug(text: str) -> str:
    """Small letters, digits and hyphens.

    >>> slug("Multi-Realism"), slug("Wei et al.")
    ('multi-realism', 'wei-et-al')
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def curve_name(system: str, variant: str) -> str:
    """System and variant in one.

    >>> curve_name("CRDR", "beta=0"), curve_name("JPEG", "Pillow 7.1.2"), curve_name("HFD", "")
    ('CRDR beta=0', 'JPEG (Pillow 7.1.2)', 'HFD')
    """
    if not variant:
        return system
    return f"{system} {variant}" if "=" in variant else f"{system} ({variant})"


def parse(text: str) -> tuple[PublishedPoint, ...]:
    """Every row of the csv, in its order.

    Raises `StoreError` for other columns, and for a row without number, source or reference.
    """
    reader = csv.DictReader(StringIO(text, newline=""))
    expected = [field.name for field in fields(PublishedPoint)]
    if reader.fieldnames != expected:
        raise StoreError(f"the published points have other columns than {', '.join(expected)}")
    points = []
    for row in reader:
        try:
            points.append(_point(row))
        except (ValueError, TypeError) as error:
            raise StoreError(f"line {reader.line_num} of the published points: {error}") from error
    return tuple(points)


def _point(row: dict[str, Any]) -> PublishedPoint:
    numbers = {name: float(row[name]) for name in ("bpp", "value")}
    errors = {
        name: float(row[name]) if row[name] else None for name in ("value_error", "bpp_error")
    }
    for name in ("system", "dataset", "metric", "protocol", "rate_protocol", "source", "reference"):
        if not row[name]:
            raise ValueError(f"no {name}")
    for name, known in (("how", How), ("kind", Kind)):
        if row[name] not in get_args(known):
            raise ValueError(f"{name} is {row[name]!r}, not one of {', '.join(get_args(known))}")
    return PublishedPoint(**cast(Any, {**row, **numbers, **errors}))


def select(points: Sequence[PublishedPoint], names: Iterable[str]) -> tuple[PublishedPoint, ...]:
    """Those of the named systems, `system` or `system:variant`; "all" is everything.

    Raises `UnknownName` for a name that nothing answers to.
    """
    known: dict[str, list[PublishedPoint]] = {}
    for point in points:
        known.setdefault(point.slug, []).append(point)
        known.setdefault(f"{point.slug}:{point.variant}", []).append(point)
    found: dict[PublishedPoint, None] = {}
    for name in names:
        if name == EVERYTHING:
            return tuple(points)
        system, colon, variant = name.partition(":")
        key = f"{slug(system)}:{variant}" if colon else slug(system)
        if key not in known:
            variants = [one for one in known if one.startswith(f"{slug(system)}:")]
            raise UnknownName(
                "published system", name, variants if colon and variants else _systems(points)
            )
        found |= dict.fromkeys(known[key])
    return tuple(found)


def _systems(points: Iterable[PublishedPoint]) -> list[str]:
    return sorted({point.slug for point in points})


def published_curves(
    points: Iterable[PublishedPoint], dataset: str, column: str
) -> list[PublishedCurve]:
    """Rate curves of a dataset under a metric (column of ours), as the csv orders them."""
    found: dict[PublishedCurve, list[PublishedPoint]] = {}
    for p in points:
        if p.dataset == dataset and p.metric == NAMES.get(column, column) and p.kind != "step":
            curve = PublishedCurve(p.system, p.variant, p.protocol, p.kind, p.how, p.source, ())
            found.setdefault(curve, []).append(p)
    return [
        curve._replace(points=tuple(sorted(group, key=lambda point: point.bpp)))
        for curve, group in found.items()
    ]


def panel(curves: Sequence[PublishedCurve], protocol: str | None, mix: bool = False) -> Panel:
    """The curves under the panel's protocol, that of its measured rows, or all where mixed.

    Where nothing is measured, `protocol` is None: then it is that of the first curve.
    """
    if mix or not curves:
        return Panel(tuple(curves), ())
    wanted = curves[0].protocol if protocol is None else protocol
    return Panel(
        tuple(curve for curve in curves if curve.protocol == wanted),
        tuple(curve for curve in curves if curve.protocol != wanted),
    )


def refuse_mixture(panels: Mapping[str, Panel], protocols: Mapping[str, str]) -> None:
    """Raises `UsageError` where a system can be drawn in no panel but by mixing protocols.

    `panels` and the `protocols` of their measured rows are by metric column.
    """
    drawn = {curve.system for panel in panels.values() for curve in panel.drawn}
    for column, found in panels.items():
        for curve in found.refused:
            if curve.system not in drawn:
                raise UsageError(
                    f"{curve.name} cannot stand beside these results: its {column} is by "
                    f"{curve.protocol}, theirs by {protocols.get(column, 'another rule')}; "
                    "--mix-protocols draws both, and the figure says so."
                )


def left_out(
    points: Iterable[PublishedPoint], panels: Mapping[str, Panel], dataset: str
) -> list[str]:
    """A sentence for each metric column and protocol that is left out, and on systems without any.

    `points` are those asked for.
    """
    found: dict[tuple[str, str], dict[str, None]] = {}
    for column, one in panels.items():
        for curve in one.refused:
            found.setdefault((column, curve.protocol), {})[curve.name] = None
    there = {curve.system for one in panels.values() for curve in (*one.drawn, *one.refused)}
    absent = dict.fromkeys(point.system for point in points if point.system not in there)
    return [
        f"not drawn: published {column} of {', '.join(names)}: {protocol} is another rule than "
        "that of the measured rows (--mix-protocols draws them)"
        for (column, protocol), names in found.items()
    ] + [f"nothing published on {dataset} in these metrics: {', '.join(absent)}"] * bool(absent)


def check_same_images(dataset: str, images: int, average: str) -> None:
    """Raises `UsageError` where measured means are over other images or averages than published."""
    if IMAGES.get(dataset, images) != images:
        raise UsageError(
            f"published means over {dataset} are of {IMAGES[dataset]} images, these results are of "
            f"{images}: they cannot stand beside each other."
        )
    if average != "per_image":
        raise UsageError("published rates are means of each image's bpp: leave out --pooled.")


def inventory(points: Iterable[PublishedPoint]) -> list[tuple[str, ...]]:
    """System, variant, dataset, metric, protocol, how and count of points, in this order."""
    counts = Counter((p.system, p.variant, p.dataset, p.metric, p.protocol, p.how) for p in points)
    ordered = sorted(counts, key=lambda key: (key[0].lower(), *key))
    return [(*key, str(counts[key])) for key in ordered]
