import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmark.errors import UsageError
from benchmark.published.points import PublishedPoint
from benchmark.rows.means import summarise
from benchmark.rows.store import Store
from support.figures.published import POINTS, PSNR
from support.rows.bundled_results import bundled_results
from support.rows.measured import change_rows, row, table
from tools.published_agreement import TOLERANCE_DB, NotCompared, agreements, main

ROOT = Path(__file__).parents[2]
SIDE = 20_000  # px, so that a byte is 2e-8 bpp


def rows_of(codec, bpp, psnr, ms_ssim=None, images=24, **columns):
    size = {"width_px": SIDE, "height_px": SIDE}
    return [
        row(codec, place, f"{n}", num_bytes=round(rate * SIDE**2 / 8), psnr_db=psnr[place],
            ms_ssim=0.9 if ms_ssim is None else ms_ssim[place], **size, **columns)
        for place, rate in enumerate(bpp) for n in range(images)
    ]  # fmt: skip


def compared(rows, metrics=(PSNR,), points=POINTS):
    return agreements(summarise(table(rows)), points, "kodak", metrics)


def published_of(system, variant, metric):
    points = [p for p in POINTS if (p.system, p.variant, p.dataset) == (system, variant, "kodak")]
    return zip(*sorted((p.bpp, p.value) for p in points if p.metric == metric), strict=True)


WEBP = ("WebP", "Pillow 7.1.2", "psnr_db")


@pytest.mark.parametrize(("shift", "verdict"), [
    (0, "agrees"), (0.9 * TOLERANCE_DB, "agrees"), (0.2, "differs"), (-0.2, "differs"),
])  # fmt: skip
def test_a_shift_is_measured_and_flagged_where_nothing_explains_it(shift, verdict):
    bpp, psnr = published_of(*WEBP)
    (result,) = compared(rows_of("webp", bpp[2:8], [value + shift for value in psnr[2:8]]))
    assert result[:4] == ("webp", "WebP (Pillow 7.1.2)", "psnr_db", 6)
    assert result.verdict == verdict
    assert (result.mean_db, result.largest_db) == pytest.approx((shift, shift), abs=1e-6)
    assert bool(result.reason) == (verdict == "differs")


def test_curves_meet_at_equal_rate_on_the_axis_that_figures_have():
    """A published line, straight over the logarithm of the rate; ours lies .03 dB above it."""
    line = [
        PublishedPoint(
            system="WebP", variant="Pillow 7.1.2", kind="point", dataset="kodak", bpp=10**x,
            metric="psnr_db", value=30 + 5 * x, protocol="psnr-rgb8/1", rate_protocol="coding/1",
            how="author_csv", source="s", reference="r",
        )
        for x in np.linspace(-1, 0, 6)
    ]  # fmt: skip
    rates = [10**x for x in (-1.2, -0.83, -0.5, -0.11, 0.2)]
    rows = rows_of("webp", rates, [30.03 + 5 * math.log10(rate) for rate in rates])
    (result,) = compared(rows, points=line)
    assert (result.num_points, result.verdict) == (3, "agrees")
    assert (result.mean_db, result.largest_db) == pytest.approx((0.03, 0.03), abs=1e-6)
    (far,) = compared(rows_of("webp", [3, 4, 5, 6, 7], (25, 27, 29, 31, 33)), points=line)
    reason = "no measured rate is in the range of the published curve"
    assert far == NotCompared("webp", "WebP (Pillow 7.1.2)", "psnr_db", reason)
    (few,) = compared(rows, points=line[:3])
    assert few.reason == "3 published points are too few"
    rows_less = change_rows(rows, {"image": rows[0]["image"]}, psnr_db=None)
    assert "over different images" in compared(rows_less, points=line)[0].reason
    assert compared(rows, points=line[:4])[0].num_points == 2


def test_the_bundled_rows_of_a_fresh_clone_pass(tmp_path, capsys):
    def measured_here(folder, names):
        return [name for name in names if folder.endswith("per_image") and "shipped" not in name]

    for name in ("kodak", "published"):
        shutil.copytree(bundled_results() / name, tmp_path / name, ignore=measured_here)
    assert main(["--results", str(tmp_path)]) == 0
    assert "explained: vtm, ms_ssim, kodak: published with VTM 9.1" in capsys.readouterr().out


def test_the_command_shows_verdicts_and_fails_where_one_is_flagged(tmp_path, capsys):
    bpp, psnr = published_of(*WEBP)
    Store(tmp_path / "kodak").append(rows_of("webp", bpp[2:8], psnr[2:8]))
    assert main(["--results", str(tmp_path), "--dataset", "kodak"]) == 1  # these MS-SSIMs are .9
    output = capsys.readouterr().out
    lines = [line.split()[:8] for line in output.splitlines()]
    assert ["kodak", "webp", "WebP", "(Pillow", "7.1.2)", "psnr_db", "agrees", "6"] in lines
    assert any(line[5:7] == ["ms_ssim", "differs"] for line in lines)
    assert "differs: webp, ms_ssim, kodak" in output


def test_without_whole_sets_nothing_is_compared(tmp_path, capsys):
    Store(tmp_path / "kodak").append(rows_of("webp", (0.3, 0.5), (29, 31), images=4))
    assert main(["--results", str(tmp_path)]) == 0
    assert "4 of its 24" in capsys.readouterr().out
    (tmp_path / "kodak").rename(tmp_path / "sample")
    with pytest.raises(UsageError, match=str(tmp_path)):
        main(["--results", str(tmp_path)])
