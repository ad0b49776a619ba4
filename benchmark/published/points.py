"""Published points, which registry.py reads, and their selection (protocols: docs/protocol.md)."""

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from benchmark.errors import UnknownName, UsageError
from benchmark.published.curve_file import read_curves
from benchmark.registry import DATASETS, UNSTATED
from benchmark.rows.edition import add_remark
from benchmark.system.text import GREEK, group_by_key, listed, utf8

# Source of numbers, in this order: an author's csv, a paper's table, a digitised figure; an
# author's json, README, script or posts; the file with another paper's plot
SourceKind = Literal[
    "author_csv", "table", "digitised",
    "author_json", "author_table", "author_script", "author_thread", "other_paper_plot_file",
]  # fmt: skip
# point: lies on a rate curve; sample: read from a plotted line at a chosen rate; step: lies on a
# realism sweep at one rate, not on a rate curve
Kind = Literal["point", "sample", "step"]
Text = Annotated[str, msgspec.Meta(min_length=1)]
PUBLISHED_METRIC_NAMES = {"fid256": "fid", "kid256": "kid"}
DOUBTFUL = "doubtful:"  # prefix of a name whose doubtful points are included
ANY_DATASET = "any"  # dataset of points in a user's file
ALL_SYSTEMS = "all"  # selects every system


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Facts shared by the points that one source gives for a system and a metric."""

    system: Text  # "Multi-Realism"
    variant: str = ""  # "beta=2.56"; "" for a system without variants
    dataset: Text  # registered name; a different name for different images: "clic2020-diffeic"
    metric: Text  # the column, if the metric is registered: "psnr_db"
    protocol: Text
    rate_protocol: Text
    how: SourceKind
    kind: Kind = "point"
    value_error: float | None = None  # reading error (±) of digitised numbers
    bpp_error: float | None = None
    note: str = ""
    source: str = ""  # title
    reference: Text  # repository, file and commit
    rule: str = ""  # how the source computed the values, in its words
    doubt: str = ""  # why the points are excluded by default


class PublishedPoint(Origin, frozen=True, kw_only=True):
    """Value of a system at a rate, as its source states it."""

    bpp: float
    value: float
    setting: str = ""  # codec setting, if the source names it: "q=0.25"
    doi: str = ""

    def __post_init__(self) -> None:
        if not (0 < self.bpp < math.inf and math.isfinite(self.value)):
            raise ValueError(f"invalid point: {self.bpp} bpp, {self.metric} {self.value}")

    @property
    def slug(self) -> str:
        """Name of the system on the command line."""
        return slug(self.system)


def slug(text: str) -> str:
    """Return a text in lower-case letters of any script, digits and hyphens, or else a digest.

    >>> slug("Multi-Realism"), slug("Wei et al."), slug("MLIC++"), slug("变分"), slug("?!")
    ('multi-realism', 'wei-et-al', 'mlic-plus-plus', '变分', '545f940d')
    """
    spelled_out = unicodedata.normalize("NFC", text.lower()).replace("+", "-plus")
    return re.sub(r"[\W_]+", "-", spelled_out).strip("-") or sha256(utf8(text)).hexdigest()[:8]


def curve_name(system: str, variant: str) -> str:
    """Return the name of a published variant in legends.

    >>> curve_name("CRDR", "beta=0"), curve_name("JPEG", "Pillow 7.1.2"), curve_name("HFD", "")
    ('CRDR β=0', 'JPEG (Pillow 7.1.2)', 'HFD')
    """
    if choice := realism_choice(variant):
        return f"{system} {choice}"
    return f"{system} ({_use_greek_letters(variant)})" if variant else system


def realism_choice(variant: str) -> str:
    """Return the choice of realism that a published variant names, or "".

    >>> realism_choice("beta=0"), realism_choice("Pillow 7.1.2")
    ('β=0', '')
    """
    return _use_greek_letters(variant) if "=" in variant else ""


def _use_greek_letters(variant: str) -> str:
    for word, letter in GREEK.items():
        variant = re.sub(rf"\b{word}\b", letter, variant)
    return variant


def points_of_file(path: Path) -> list[PublishedPoint]:
    """Read points, without dataset and protocols; raise `UsageError` for an invalid file."""
    return [
        PublishedPoint(
            system=curve.name, kind="point", dataset=ANY_DATASET, bpp=bpp, value=value,
            metric=PUBLISHED_METRIC_NAMES.get(column, column), protocol=UNSTATED,
            rate_protocol=UNSTATED, how="author_csv", source=path.name, reference=str(path),
        )
        for curve in read_curves(path)
        for column, (rates, values) in curve.series.items()
        for bpp, value in zip(rates, values, strict=True)
    ]  # fmt: skip


def refers_to(name: str, system: str, variant: str) -> bool:
    """Return whether a typed name, `system` or `system:variant`, refers to a published curve."""
    typed_system, _, typed_variant = name.partition(":")
    return slug(typed_system) == slug(system) and typed_variant in ("", variant)


def select(points: Sequence[PublishedPoint], names: Iterable[str]) -> tuple[PublishedPoint, ...]:
    """Select systems' points by `system`, `system:variant`, a curve's title or "all".

    Doubtful points need the prefix `doubtful:`. Raises `UnknownName`, and `UsageError` for a name
    whose points are all doubtful.
    """
    curves = dict.fromkeys((point.system, point.variant) for point in points)
    names_by_curve = {
        (system, variant): (slug(system), f"{slug(system)}:{variant}") for system, variant in curves
    }
    groups = group_by_key(
        (key, point)
        for point in points
        for key in (ALL_SYSTEMS, *names_by_curve[point.system, point.variant])
    )
    titles = {
        add_remark(curve_name(*curve), remark): curve_key
        for curve, (_, curve_key) in names_by_curve.items()
        for remark in ("", "published")
    }
    result: dict[PublishedPoint, None] = {}
    for name in names:
        text = name.removeprefix(DOUBTFUL)
        system, colon, variant = text.partition(":")
        key = f"{slug(system)}:{variant}" if colon else slug(system)
        key = key if key in groups else titles.get(text, key)
        if key not in groups:
            variants = [
                candidate for candidate in groups if candidate.startswith(f"{slug(system)}:")
            ]
            systems = sorted({point.slug for point in points})
            raise UnknownName("published system", name, variants if colon and variants else systems)
        selected_points = [point for point in groups[key] if not point.doubt or text != name]
        if not selected_points:
            reason = groups[key][0].doubt
            raise UsageError(
                f"the published points of {name} are doubtful ({reason}): to use them, write "
                f"{DOUBTFUL}{name}"
            )
        result |= dict.fromkeys(selected_points)
    return tuple(result)


CURVE_COLUMNS = ("system", "variant", "dataset", "pictures", "metric", "protocol", "how")


def inventory(points: Iterable[PublishedPoint]) -> list[dict[str, Any]]:
    """Return one record per curve: fields of CURVE_COLUMNS, range of rates, number of points.

    `pictures`: how they differ from the dataset's pictures; `how` marks doubtful points.
    """
    rates = group_by_key(
        (
            (
                *(p.system, p.variant, p.dataset, parent_dataset(p.dataset)[1]),
                *(p.metric, p.protocol, f"{p.how}, doubtful" if p.doubt else p.how),
            ),
            p.bpp,
        )
        for p in points
    )
    ordered_keys = sorted(rates, key=lambda key: (key[0].lower(), *key))
    return [
        dict(zip(CURVE_COLUMNS, key, strict=True))
        | {"lowest_bpp": min(rates[key]), "highest_bpp": max(rates[key]), "points": len(rates[key])}
        for key in ordered_keys
    ]


def parent_dataset(name: str) -> tuple[str, str]:
    """Return the dataset from which pictures come, and how they differ from the whole set.

    >>> parent_dataset("clic2020-diffeic"), parent_dataset("clic2020:mobile")
    (('clic2020', 'different images: diffeic'), ('clic2020', 'mobile alone'))
    """
    dataset_name, _, part = name.partition(":")
    if part:
        return dataset_name, f"{part} alone"
    parents = [dataset for dataset in DATASETS if name.startswith(f"{dataset}-")]
    if name in DATASETS or not parents:
        return name, ""
    parent = max(parents, key=len)
    return parent, f"different images: {name.removeprefix(f'{parent}-')}"


def overview(points: Iterable[PublishedPoint]) -> Iterator[dict[str, Any]]:
    """Yield one record per system: its datasets, and counts."""
    systems = group_by_key((point.system, point) for point in points)
    for system, system_points in sorted(systems.items(), key=lambda item: item[0].lower()):
        variants, metrics = (
            len({p.variant for p in system_points}),
            len({p.metric for p in system_points}),
        )
        datasets = sorted({re.split("[-:]", p.dataset)[0] for p in system_points})
        yield {
            "system": system,
            "datasets": listed(datasets),
            "variants": variants,
            "metrics": metrics,
            "doubtful": sum(bool(p.doubt) for p in system_points),
            "points": len(system_points),
        }
