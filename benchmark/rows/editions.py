"""The edition of a codec variant that is shown: one rule, for every verb, figure, page and call.

An edition is a codec variant of one build, measured here or bundled; rows of two are never joined.
Yours is shown where it has every image that is compared, else the bundled one. What is compared are
the images of the variants that only you have; without such a variant, all. Of several builds it is
that with most images at a setting, of equals the newest; failed images count, so that a failure
does not bring an older build back. Beside what you measured, bundled rows are of the same images.
"""

import polars as pl
from polars import col

from benchmark.rows.versions import BUILD, VARIANT

EDITION = (*VARIANT, *BUILD, "bundled")


def editions(points: pl.DataFrame) -> pl.DataFrame:
    """Return a row per edition: EDITION, `age` in its variant (0: the newest), `of`, `shown`.

    points: a row per edition and setting, with EDITION, `image` (a list of numbers) and `recency`,
    that of the latest row. `of` are the images of an edition.
    """
    every = points.group_by(EDITION).agg(
        of=col("image").explode().unique(),
        most=col("image").list.len().max(),
        recency=col("recency").max(),
    )
    every = every.sort("recency", *BUILD, descending=[True, False, False])
    best = col("most").rank("ordinal", descending=True).over(*VARIANT, "bundled") == 1
    first = every.filter(best)
    own, bundled = first.filter(~col("bundled")), first.filter("bundled")
    compared = own.join(bundled, on=VARIANT, how="anti")["of"].explode().unique()
    both = own.join(bundled.select(*VARIANT, there="of"), on=VARIANT)
    there = col("there")
    if compared.len():
        there = there.list.set_intersection(pl.lit(compared).implode())
    behind = both.filter(there.list.set_difference("of").list.len() > 0)
    shown = pl.concat(
        [
            own.join(behind, on=VARIANT, how="anti"),
            bundled.join(own, on=VARIANT, how="anti"),
            bundled.join(behind, on=VARIANT, how="semi"),
        ]
    )
    shown = shown.select(*EDITION, shown=pl.lit(True))
    marked = every.join(shown, on=EDITION, how="left", nulls_equal=True, maintain_order="left")
    return marked.with_columns(
        col("shown").fill_null(False), age=pl.int_range(pl.len()).over(VARIANT)
    ).drop("most")
