"""Facts about the photographs that rows are of: their sizes, and which were coded lossily."""

from typing import NamedTuple

import pyarrow as pa

WIDE_SPREAD = 16  # from this ratio of pixels on, the sizes of a set are said to be spread


class Size(NamedTuple):
    """A photograph and its size."""

    image: str
    width_px: int
    height_px: int

    @property
    def pixels(self) -> int:
        """Width times height."""
        return self.width_px * self.height_px


class SourceFacts(NamedTuple):
    """Facts about the distinct photographs of a table of rows."""

    images: int
    lossy: int  # of them, those whose files are lossily coded, so that they show artefacts
    smallest: Size
    largest: Size

    @property
    def spread(self) -> float:
        """Pixels of the largest photograph over those of the smallest."""
        return self.largest.pixels / max(self.smallest.pixels, 1)


def source_facts(table: pa.Table) -> SourceFacts | None:
    """Return the facts about the photographs of a table of rows; None for no rows."""
    names = ("image_sha256", "image", "width_px", "height_px", "source_lossy")
    rows = table.select(names).group_by(names, use_threads=False).aggregate([]).to_pylist()
    first = {row["image_sha256"]: row for row in reversed(rows)}
    if not first:
        return None
    sizes = [Size(one["image"], one["width_px"], one["height_px"]) for one in first.values()]
    sizes.sort(key=lambda one: (one.pixels, one.image))
    lossy = sum(bool(one["source_lossy"]) for one in first.values())
    return SourceFacts(len(sizes), lossy, sizes[0], sizes[-1])
