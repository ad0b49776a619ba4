"""Means by generation: of pictures that a codec coded again and again, from stored rows."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

import polars as pl

from benchmark.codec import Setting
from benchmark.rows.systems import label_of

BUILD = ("codec", "variant", "setting_name", "setting_value", "fingerprint", "revision")
COLUMNS = (*BUILD, "image_sha256", "generation", "status", "bpp", "finished_utc")


class GenerationCurve(NamedTuple):
    """A codec variant at a setting: means over the images that have every generation."""

    label: str
    setting: Setting
    images: int
    bpp: tuple[float, ...]  # by generation, from the first on
    means: Mapping[str, tuple[float, ...]]  # by metric column; those with a value in every row


def generation_curves(table: pl.DataFrame, columns: Sequence[str]) -> list[GenerationCurve]:
    """Return the curves of rows (the first generation's too); of several builds, the newest."""
    builds: dict[tuple[Any, ...], dict[str, dict[int, Any]]]
    builds = defaultdict(lambda: defaultdict(dict))
    for row in table.select([*COLUMNS, *columns]).rows(named=True):
        if row["status"] == "ok":
            build = tuple(row[name] for name in BUILD)
            builds[build][row["image_sha256"]][row["generation"] or 1] = row
    newest: dict[tuple[Any, ...], tuple[str, GenerationCurve]] = {}
    for build, images in builds.items():
        most = max(number for of_image in images.values() for number in of_image)
        whole = [of for of in images.values() if of.keys() == set(range(1, most + 1))]
        if most == 1 or not whole:
            continue
        by_number = [[of[number] for of in whole] for number in range(1, most + 1)]
        curve = GenerationCurve(
            label_of(*build[:2]),
            Setting(*build[2:4]),
            len(whole),
            tuple(fmean(row["bpp"] for row in of) for of in by_number),
            {
                column: tuple(fmean(row[column] for row in of) for of in by_number)
                for column in columns
                if all(row[column] is not None for of in by_number for row in of)
            },
        )
        last = max(str(row["finished_utc"]) for row in by_number[-1])
        newest[build[:4]] = max(newest.get(build[:4], ("", curve)), (last, curve))
    return [curve for _, curve in newest.values()]


def nearest_to(curves: Iterable[GenerationCurve], bpp: float) -> list[GenerationCurve]:
    """Return the curve of each codec whose first generation is nearest to a rate."""
    by_label: dict[str, list[GenerationCurve]] = defaultdict(list)
    for curve in curves:
        by_label[curve.label].append(curve)
    return [
        min(of_label, key=lambda curve: abs(math.log(curve.bpp[0] / bpp)))
        for of_label in by_label.values()
    ]
