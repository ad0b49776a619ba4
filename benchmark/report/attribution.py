"""Attribution of a metric's value to images: a table of the largest parts, all of them as csv."""

from collections.abc import Sequence

from benchmark.analysis.reduce import ImageInfluence, attribution
from benchmark.analysis.stored import DatasetResults
from benchmark.errors import UsageError
from benchmark.figures.table import Table, csv_text
from benchmark.protocol import protocol_of
from benchmark.registry import metric_class

SHOWN_IMAGES = 3  # of each setting


def attribution_files(metric: str, stored: DatasetResults) -> tuple[Table, dict[str, str]]:
    """Return the largest parts, and all of them as a file `attribution_<column>.csv`.

    Raises `UsageError` where no point has values of two images.
    """
    kind = metric_class(metric)
    protocol = protocol_of(metric)
    parts = attribution(stored.table, kind.column, protocol)
    if not parts:
        raise UsageError(
            f"{stored.name} has no {kind.label} of two images: `bench rescore --metrics {metric}`"
        )
    text = csv_text([part._asdict() for part in parts])
    return _table(parts, kind.label, protocol), {f"attribution_{kind.column}.csv": text}


def _table(parts: Sequence[ImageInfluence], label: str, protocol: str) -> Table:
    rows, seen = [], dict[tuple[str, str], int]()
    for part in parts:
        point = (part.label, part.setting)
        seen[point] = seen.get(point, 0) + 1
        if seen[point] <= SHOWN_IMAGES:
            value = f"{part.value:.4f}" if seen[point] == 1 else ""
            rows.append(
                (*point, part.image, value, f"{part.without:.4f}", f"{part.influence:+.4f}")
            )
    note = (
        f"The {SHOWN_IMAGES} images that move {label} most at each setting ({protocol}); "
        "values without an image are to first order."
    )
    headers = ("codec", "setting", "image", label, "without the image", "influence")
    return Table(headers, tuple(rows), 3, (note,))
