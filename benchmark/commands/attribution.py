"""The images that move a metric most: a table on the terminal, all of them in a file."""

from typing import TYPE_CHECKING

from benchmark.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmark.analysis.attribution import Part
    from benchmark.analysis.stored import Stored
    from benchmark.figures.table import Table

SHOWN_IMAGES = 3  # of each setting


def print_attribution(metric: str, stored: "Stored") -> None:
    """Of one metric; `attribution_<column>.csv` goes beside the report."""
    from benchmark.analysis.attribution import attribution
    from benchmark.commands.output import print_table
    from benchmark.figures.table import csv_text
    from benchmark.protocol import protocol_of
    from benchmark.registry import metric_class
    from benchmark.system.atomic import write_files

    kind = metric_class(metric)
    protocol = protocol_of(metric)
    parts = attribution(stored.table, kind.column, protocol)
    if not parts:
        raise UsageError(
            f"{stored.name} has no {kind.label} of two images: `bench rescore --metrics {metric}`"
        )
    print()
    print_table(_table(parts, kind.label, protocol))
    file = f"attribution_{kind.column}.csv"
    write_files(stored.folder, {file: csv_text([part._asdict() for part in parts])})
    print(stored.folder / file)


def _table(parts: "Sequence[Part]", label: str, protocol: str) -> "Table":
    from benchmark.figures.table import Table

    rows, seen = [], dict[tuple[str, str], int]()
    for part in parts:
        point = (part.label, part.setting)
        seen[point] = seen.get(point, 0) + 1
        if seen[point] <= SHOWN_IMAGES:
            first = seen[point] == 1
            value = f"{part.value:.4f}" if first else ""
            rows.append(
                (*point, part.image, value, f"{part.without:.4f}", f"{part.influence:+.4f}")
            )
    return Table(
        ("codec", "setting", "image", label, "without the image", "influence"),
        tuple(rows),
        3,
        (
            f"The {SHOWN_IMAGES} images that move {label} most at each setting ({protocol}); "
            "values without an image are to first order.",
        ),
    )
