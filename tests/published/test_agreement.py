import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmark.errors import UsageError
from benchmark.published.points import PublishedPoint
from benchmark.rows.means import summarise
from benchmark.rows.store import Store
from support.figures.published import MS_SSIM, POINTS, PSNR
from support.rows.bundled_results import bundled_results
from support.rows.measured import row, table
from tools.published_agreement import (
    RULES,
    TOLERANCE_DB,
    Agreement,
    NotCompared,
    agreements,
    main,
)

ROOT = Path(__file__).parents[2]
SIDE = 20_000  # px, so that a byte is 2e-8 bpp

# CompressAI's results/image/8bit-decoded/kodak at the commit of the published points: the same
# networks as its usual table, their pictures rounded to 8 bits.
ROUNDED_BPP = (
    0.13129340277777776, 0.20889282226562503, 0.3198581271701389, 0.47835625542534727,
    0.6686876085069443, 0.9388258192274304, 1.2591722276475694, 1.6602240668402775,
)  # fmt: skip
ROUNDED_PSNR = (
    27.57799522082011, 29.191601514816284, 30.964398622512817, 32.82667779922485,
    34.50927464167277, 36.71643273035685, 38.542534033457436, 40.49336210886637,
)  # fmt: skip
ROUNDED_MS_SSIM = (
    0.9172840416431427, 0.9419818868239721, 0.960970920821031, 0.9747916981577873,
    0.9834806794921557, 0.9891728932658831, 0.9927823270360628, 0.9954107900460561,
)  # fmt: skip
# bpp, PSNR and MS-SSIM of `jpeg` on Kodak with libjpeg-turbo 3.2.0, quality 10 to 90.
TURBO = (
    (0.32658894856770837, 26.671820361330663, 0.8942427369975791),
    (0.6597925821940105, 30.491472872108314, 0.9631529345574518),
    (0.905520968967014, 32.17381570095742, 0.9768760047167618),
    (1.3676003350151908, 34.52213057457712, 0.9866362239940689),
    (2.3463228013780384, 38.033973341635495, 0.9932896230391508),
)


def rows_of(codec, bpp, psnr, ms_ssim=None, images=24, **columns):
    """Rows whose means are these."""
    size = {"width_px": SIDE, "height_px": SIDE}
    return [
        row(codec, place, f"{n}", num_bytes=round(rate * SIDE**2 / 8), psnr_db=psnr[place],
            ms_ssim=0.9 if ms_ssim is None else ms_ssim[place], **size, **columns)
        for place, rate in enumerate(bpp) for n in range(images)
    ]  # fmt: skip


def compared(rows, metrics=(PSNR,), points=POINTS):
    return agreements(summarise(table(rows)), points, "kodak", metrics)


def published_of(system, variant, metric):
    mine = [p for p in POINTS if (p.system, p.variant, p.dataset) == (system, variant, "kodak")]
    return zip(*sorted((p.bpp, p.value) for p in mine if p.metric == metric), strict=True)


HYPERPRIOR = {"variant": "model=bmshj2018-hyperprior"}
AUTHORS = {"codec_version": "checkpoint 0: 5000000 steps, Open Images, 1.1 million"}
WEBP = ("WebP", "Pillow 7.1.2", "psnr_db")


@pytest.mark.parametrize(
    ("shift", "verdict"),
    [(0, "agrees"), (0.9 * TOLERANCE_DB, "agrees"), (0.2, "differs"), (-0.2, "differs")],
)
def test_a_shift_is_measured_and_flagged_where_nothing_explains_it(shift, verdict):
    bpp, psnr = published_of(*WEBP)
    (result,) = compared(rows_of("webp", bpp[2:8], [value + shift for value in psnr[2:8]]))
    assert result[:4] == ("webp", "WebP (Pillow 7.1.2)", "psnr_db", 6)
    assert result.verdict == verdict
    assert (result.mean_db, result.largest_db) == pytest.approx((shift, shift), abs=1e-6)
    assert bool(result.why) == (verdict == "differs")


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
    assert (result.points, result.verdict) == (3, "agrees")
    assert (result.mean_db, result.largest_db) == pytest.approx((0.03, 0.03), abs=1e-6)
    (far,) = compared(rows_of("webp", [3, 4, 5, 6, 7], (25, 27, 29, 31, 33)), points=line)
    assert far == NotCompared("webp", "WebP (Pillow 7.1.2)", "psnr_db", "no rate in common")
    (few,) = compared(rows, points=line[:3])
    assert few.why == "3 published points are too few"
    first = rows[0]["image"]
    rows_less = [of | ({"psnr_db": None} if of["image"] == first else {}) for of in rows]
    assert compared(rows_less, points=line)[0].why == "ours are over other images"
    assert compared(rows, points=line[:4])[0].points == 2


def test_rounding_costs_ms_ssim_what_it_does_in_tables_of_both():
    ((_, low, high),) = (
        rule(np.array(0.99))
        for rules, rule in RULES.items()
        if rules[0] == "ms-ssim-rgb-unrounded/1"
    )
    assert (float(low), high) == (pytest.approx(10 * math.log10(0.01 / 0.01012)), 0)


def test_rounding_explains_what_compressai_found_between_its_own_two_tables():
    rows = rows_of("compressai", ROUNDED_BPP, ROUNDED_PSNR, ROUNDED_MS_SSIM, **HYPERPRIOR)
    psnr, ms_ssim = compared(rows, (PSNR, MS_SSIM))
    assert psnr.label == ms_ssim.label == "hyperprior"
    assert psnr.largest_db == pytest.approx(40.49336 - 40.55687, abs=1e-4)
    assert psnr.verdict == ms_ssim.verdict == "explained"
    for shift in (-0.15, 0.15):
        moved = [value + shift for value in ROUNDED_PSNR]
        (result,) = compared(rows_of("compressai", ROUNDED_BPP, moved, **HYPERPRIOR))
        assert result.verdict == "differs"


def test_jpeg_is_explained_by_the_library_and_not_beyond_it():
    bpp, psnr, ms_ssim = zip(*TURBO, strict=True)
    result = compared(rows_of("jpeg", bpp, psnr, ms_ssim), (PSNR, MS_SSIM))
    assert [judgement.verdict for judgement in result] == ["explained", "explained"]
    assert all("libjpeg 9d" in reason.why for reason in result)
    assert 0.09 < result[0].mean_db < 0.13
    (worse,) = compared(rows_of("jpeg", bpp, [value - 0.25 for value in psnr]))
    assert worse.verdict == "differs"


@pytest.mark.parametrize(
    ("metric", "shift_db", "verdicts"),
    [
        (PSNR, 0, {"agrees", "explained"}),
        (MS_SSIM, 0, {"agrees", "explained"}),
        (PSNR, 0.2, {"differs"}),
        (PSNR, -0.1, {"differs"}),
    ],
)
def test_ms_illm_is_explained_by_what_its_authors_count_and_not_beyond_it(
    metric, shift_db, verdicts
):
    bpp, psnr = published_of("MS-ILLM", "", "psnr_db")
    _, ms_ssim = published_of("MS-ILLM", "", "ms_ssim")
    pickled, header = 124, 10  # bytes; the first by the package's own pickle_size_of
    rates = [rate - 8 * (pickled - header) / (768 * 512) for rate in bpp]
    result = compared(rows_of("msillm", rates, [one + shift_db for one in psnr], ms_ssim), [metric])
    (theirs,) = (one for one in result if one.published == "MS-ILLM")
    assert theirs.points == len(bpp) - 1  # the lowest rate is below the published ones
    assert theirs.verdict in verdicts
    assert theirs.largest_db > 0.05 or shift_db, "the cause is needed"
    assert (theirs.verdict == "explained") == ("pickle" in theirs.why and shift_db == 0)


# bpp, PSNR and MS-SSIM of VTM 23.13 on Kodak, QP 42 to 22: the bundled rows.
VTM = (
    (0.11230977376302086, 28.505941317170866, 0.9181206714459876),
    (0.24609205457899305, 31.234316522920537, 0.9567465358497441),
    (0.49055904812282985, 34.29927759754521, 0.9784036962160133),
    (0.8744642469618055, 37.45259686317686, 0.9888963312843853),
    (1.4314151340060761, 40.44984369964782, 0.9938944113889764),
)


@pytest.mark.parametrize(
    ("psnr_shift", "ms_ssim_db", "version", "verdicts"),
    [
        (0, 0, "VTM 23.13", ["agrees", "explained"]),
        (0, 0.04, "VTM 23.13", ["agrees", "differs"]),  # .105 dB, more than 2 % of the bits
        (0, -0.12, "VTM 23.13", ["agrees", "differs"]),  # worse than VTM 9.1
        (-0.5, 0, "VTM 23.13", ["differs", "differs"]),  # a truncating conversion
        (0, 0, "VTM 9.1", ["agrees", "differs"]),
    ],
)
def test_a_newer_vtm_explains_ms_ssim_where_psnr_agrees(psnr_shift, ms_ssim_db, version, verdicts):
    bpp, psnr, ms_ssim = zip(*VTM, strict=True)
    moved = [1 - (1 - value) * 10 ** (-ms_ssim_db / 10) for value in ms_ssim]
    rows = rows_of("vtm", bpp, [one + psnr_shift for one in psnr], moved, codec_version=version)
    result = compared(rows, (MS_SSIM, PSNR))
    assert [judgement.verdict for judgement in result] == verdicts
    if verdicts == ["agrees", "explained"]:
        assert result[1].largest_db == pytest.approx(0.065, abs=2e-3)
        assert "VTM 9.1" in result[1].why


def test_other_weights_and_caveats_are_not_compared():
    (ours,) = compared(rows_of("ours", (0.1, 0.2), (28, 29), variant="beta=3.84"))
    assert ours.why == "ours are other weights"
    bpp, psnr = published_of("CRDR", "beta=3.84", "psnr_db")
    (result,) = compared(rows_of("ours", bpp[::4], psnr[::4], variant="beta=3.84", **AUTHORS))
    assert result.verdict == "agrees"
    rows = rows_of("compressai", (0.2, 0.4), (28, 29), caveat="random weights", **HYPERPRIOR)
    assert [reason.why for reason in compared(rows)] == ["ours are random weights"]
    trained = {"variant": "model=bmshj2018-hyperprior:weights=matched"}
    assert compared(rows_of("compressai", (0.2, 0.4), (28, 29), **trained)) == []


def test_truncation_explains_the_authors_numbers():
    bpp, psnr = published_of("CRDR", "beta=0", "psnr_db")
    mse = [255**2 / 10 ** (value / 10) - 1 / 4 for value in psnr]
    rounded = [10 * math.log10(255**2 / value) for value in mse]
    (result,) = compared(rows_of("ours", bpp, rounded, variant="beta=0", **AUTHORS))
    assert isinstance(result, Agreement)
    assert (result.verdict, result.why) == (
        "explained",
        "published of pictures truncated to 8 bits",
    )


def test_a_dataset_of_no_published_means_is_named_in_place_of_those_that_have_them():
    with pytest.raises(UsageError, match="published means of sample: name another"):
        main(["--results", str(bundled_results()), "--dataset", "sample"])


def test_the_bundled_rows_of_a_fresh_clone_pass(tmp_path, capsys):
    for name in ("kodak", "published"):
        shutil.copytree(
            bundled_results() / name, tmp_path / name, ignore=lambda folder, names: [
                one for one in names if folder.endswith("per_image") and "shipped" not in one
            ]
        )  # fmt: skip
    assert main(["--results", str(tmp_path)]) == 0
    assert "explained: vtm, ms_ssim, kodak: published with VTM 9.1" in capsys.readouterr().out


def test_the_command_shows_verdicts_and_fails_where_one_is_flagged(tmp_path, capsys):
    bpp, psnr = published_of(*WEBP)
    Store(tmp_path / "kodak").append(rows_of("webp", bpp[2:8], psnr[2:8]))
    failed = main(["--results", str(tmp_path), "--dataset", "kodak"])
    assert failed == 1  # these MS-SSIMs are .9
    shown = capsys.readouterr().out
    lines = [line.split()[:8] for line in shown.splitlines()]
    assert ["kodak", "webp", "WebP", "(Pillow", "7.1.2)", "psnr_db", "agrees", "6"] in lines
    assert any(line[5:7] == ["ms_ssim", "differs"] for line in lines)
    assert "differs: webp, ms_ssim, kodak" in shown


def test_without_whole_sets_nothing_is_compared(tmp_path, capsys):
    Store(tmp_path / "kodak").append(rows_of("webp", (0.3, 0.5), (29, 31), images=4))
    assert main(["--results", str(tmp_path)]) == 0
    assert "4 of its 24" in capsys.readouterr().out
    (tmp_path / "kodak").rename(tmp_path / "sample")
    with pytest.raises(UsageError, match="nothing to compare"):
        main(["--results", str(tmp_path)])
