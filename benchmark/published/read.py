"""Published points of a results folder, and those that may be drawn over measured curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import StoreError

if TYPE_CHECKING:
    from benchmark.analysis.rate_distortion import Measure
    from benchmark.analysis.summarise import Summary
    from benchmark.published.points import Panel, PublishedPoint

SHIPPED = Path(__file__).parents[2] / "results" / "published" / "points.csv"


def read_points(results: Path) -> "tuple[PublishedPoint, ...]":
    """The published points among these results, else those of the project.

    Raises `StoreError` where neither can be read.
    """
    from benchmark.published.points import parse

    path = results / "published" / "points.csv"
    path = path if path.exists() else SHIPPED
    try:
        return parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from error


def chosen_points(results: Path, names: str) -> "tuple[PublishedPoint, ...]":
    """Those of the systems named by `--published`, comma-separated."""
    from benchmark.published.points import select
    from benchmark.registry import split_unescaped

    if not names:
        return ()
    asked = [name.strip().replace("\\,", ",") for name in split_unescaped(names, ",")]
    return select(read_points(results), asked)


def panels_of(
    points: "Sequence[PublishedPoint]",
    summary: "Summary",
    measures: "Sequence[Measure]",
    dataset: str,
    mix: bool,
) -> "Mapping[str, Panel]":
    """What may be drawn over each measure; `UsageError` for other images or a mixture."""
    from benchmark.published.points import (
        check_same_images,
        panel,
        published_curves,
        refuse_mixture,
    )

    panels = {
        measure.column: panel(
            published_curves(points, dataset, measure.column),
            summary.protocols[measure.column],
            mix,
        )
        for measure in measures
        if summary.values_of(measure.column)
    }
    if any(one.drawn or one.refused for one in panels.values()):
        check_same_images(dataset, summary.images, summary.average)
    refuse_mixture(panels, summary.protocols)
    return panels
