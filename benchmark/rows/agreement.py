"""Agreement of two rows of a cell, as audits and merges of packs ask for it.

Two rows agree if both failed, or if their streams have equal length and their pixels are equal or
differ by rounding, as PSNR says. Between processors PSNR was measured to differ by up to 4.6e-5 dB
at equal streams and by 1.3e-4 dB where a symbol differs (docs/experiments/processors.md).
"""

import polars as pl
from polars import col

from benchmark.rows.versions import OK

# The largest differences in PSNR of rows that agree, with equal streams and without.
ROUNDING_DB, SYMBOL_DB = 1e-4, 1e-3


def agreeing(rows: pl.DataFrame, others: pl.DataFrame) -> pl.Series:
    """Mark the rows that agree with those of another table, one by one.

    Rows of equal pixels whose PSNR by one rule differs contradict each other.
    """

    def other(name: str) -> pl.Expr:
        return pl.lit(others[name])

    def same(name: str) -> pl.Expr:
        return col(name).eq_missing(other(name))

    # Of lossless images: infinite less infinite
    apart = (col("psnr_db") - other("psnr_db")).abs().fill_nan(None)
    limit = pl.when(same("stream_sha256")).then(ROUNDING_DB).otherwise(SYMBOL_DB)
    near = same("psnr_db_protocol") & (apart <= limit).fill_null(False)
    known = col("decoded_sha256").is_not_null() & col("psnr_db_protocol").is_not_null()
    pixels = same("decoded_sha256")
    contradicted = pixels & known & same("psnr_db_protocol") & (apart > ROUNDING_DB)
    alike = same("num_bytes") & (pixels | near) & ~contradicted.fill_null(False)
    there = other("status") == "ok"
    return rows.select(pl.when(OK & there).then(alike).otherwise(there == OK)).to_series()
