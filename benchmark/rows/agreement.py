"""Agreement of two rows of a cell, for audits and merges.

Rows agree if both failed, or if their streams have equal length and their pixels are equal or
differ by rounding, judged by PSNR. Between processors PSNR was measured to differ by up to 4.6e-5
dB with equal streams and by 1.3e-4 dB where a symbol differs (docs/experiments/processors.md).
"""

import polars as pl
from polars import col

from benchmark.rows.versions import OK

# Maximum PSNR differences of rows that agree: if streams are equal, and if they differ.
ROUNDING_DB, SYMBOL_DB = 1e-4, 1e-3


def mark_agreeing(rows: pl.DataFrame, counterparts: pl.DataFrame) -> pl.Series:
    """Mark the rows that agree with their counterparts, row by row.

    Rows with equal pixels but different PSNR under the same protocol contradict each other.
    """

    def counterpart(name: str) -> pl.Expr:
        return pl.lit(counterparts[name])

    def equals(name: str) -> pl.Expr:
        return col(name).eq_missing(counterpart(name))

    # NaN if both are lossless: infinity minus infinity
    difference_db = (col("psnr_db") - counterpart("psnr_db")).abs().fill_nan(None)
    max_difference_db = pl.when(equals("stream_sha256")).then(ROUNDING_DB).otherwise(SYMBOL_DB)
    near_pixels = equals("psnr_db_protocol") & (difference_db <= max_difference_db).fill_null(False)
    comparable = col("decoded_sha256").is_not_null() & col("psnr_db_protocol").is_not_null()
    equal_pixels = equals("decoded_sha256")
    is_contradicted = (
        equal_pixels & comparable & equals("psnr_db_protocol") & (difference_db > ROUNDING_DB)
    )
    agrees = equals("num_bytes") & (equal_pixels | near_pixels) & ~is_contradicted.fill_null(False)
    counterpart_ok = counterpart("status") == "ok"
    return rows.select(
        pl.when(OK & counterpart_ok).then(agrees).otherwise(counterpart_ok == OK)
    ).to_series()
