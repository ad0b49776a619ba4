"""Curves over generations, against means that are written down."""

import pytest

from benchmark.codec import Setting
from benchmark.compare.pictures import GenerationCurve, generation_curves, nearest_to
from support.rows.measured import failed, row, table


def chain(codec, image, values, **columns):
    """Rows of one picture coded again and again: PSNR and, half of it, bits per pixel."""
    return [
        row(codec, 5, image, generation=number if number > 1 else None, psnr_db=value,
            num_bytes=500 * value, cell=f"{codec}{image}{number}{columns}", **columns)
        for number, value in enumerate(values, 1)
    ]  # fmt: skip


def test_a_curve_is_of_images_with_every_generation_in_the_build_that_was_finished_last():
    old = {"fingerprint": "old", "finished_utc": "2026"}
    rows = [
        *chain("jpeg", "a", (30, 20, 10)),
        *chain("jpeg", "b", (40, 36, 32)),
        *chain("jpeg", "c", (50, 46)),
        failed("jpeg", 5, "c", "encode", "no") | {"generation": 3},
        *chain("jpeg", "a", (9, 8, 7), **old),
        *chain("webp", "a", (9,)),
        *chain("avif", "a", (9, 8)),
        *chain("avif", "b", (9, 8))[1:],
        *chain("vtm", "a", (9, 8))[1:],
    ]
    rows[2]["finished_utc"] = "2027"  # of the last generation, alone
    rows[4]["lpips_alex"] = None
    result = {
        curve.label: curve for curve in generation_curves(table(rows), ["psnr_db", "lpips_alex"])
    }
    assert result == {
        "jpeg": GenerationCurve(
            "jpeg", Setting("quality", 5), 2, pytest.approx((17.5, 14, 10.5)),
            {"psnr_db": (35, 28, 21)},
        ),
        "avif": GenerationCurve(
            "avif", Setting("quality", 5), 1, (4.5, 4),
            {"psnr_db": (9, 8), "lpips_alex": pytest.approx((1 / 7, 1 / 7))},
        ),
    }  # fmt: skip


def test_the_curve_of_a_codec_is_that_nearest_to_the_rate():
    few, many = (
        GenerationCurve("jpeg", Setting("quality", quality), 1, (bpp, 9.0), {})
        for quality, bpp in ((10, 0.2), (50, 0.8))
    )
    other = few._replace(label="webp")
    assert [nearest_to([few, many, other], bpp) for bpp in (0.3, 0.6)] == [
        [few, other], [many, other],
    ]  # fmt: skip
