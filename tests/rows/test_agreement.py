"""Rows that were measured twice: whether they agree."""

import numpy as np
import pytest

from benchmark.rows.agreement import mark_agreeing
from support.rows.measured import failed, row, table


@pytest.mark.parametrize(
    ("change", "agreement"),
    [
        ({}, True),
        ({"decoded_sha256": "e", "psnr_db": 30 + 5e-5}, True),
        ({"decoded_sha256": "e", "stream_sha256": "t", "psnr_db": 30 - 5e-4}, True),
        ({"decoded_sha256": "e", "psnr_db": 30 + 2e-4}, False),
        ({"decoded_sha256": "e", "stream_sha256": "t", "psnr_db": 30 - 2e-3}, False),
        ({"decoded_sha256": "e", "psnr_db": None}, False),
        ({"decoded_sha256": "e", "psnr_db_protocol": "psnr/0"}, False),
        ({"num_bytes": 99}, False),
        ({"status": "failed"}, False),
    ],
)
def test_rows_agree_at_equal_length_if_pixels_are_equal_or_rounded(change, agreement):
    record = row("ours", 2, "a", psnr_db=30.0, stream_sha256="s", decoded_sha256="d", num_bytes=100)
    first_table, second_table = table([record]), table([record | change])
    assert mark_agreeing(first_table, second_table).to_list() == [agreement]
    assert mark_agreeing(second_table, first_table).to_list() == [agreement]


def test_lossless_rows_agree_with_each_other_and_so_do_failed_ones():
    endless = row("raw", 1, "a", psnr_db=np.inf, decoded_sha256="d")
    broken = failed("raw", 1, "a", "encode", "no")
    first_table, second_table = table([endless, broken, endless]), table([endless, broken, broken])
    assert mark_agreeing(first_table, second_table).to_list() == [True, True, False]
