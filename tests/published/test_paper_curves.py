"""Which numbers stand for which system of the paper, and where each lies at one rate."""

import numpy as np
import pytest
from msgspec.structs import replace
from scipy.interpolate import Akima1DInterpolator

from benchmark.compare.curve import Curve, CurvePoint
from benchmark.compare.experiment import Experiment
from benchmark.compare.realism_sweep import measured_sweep, point_at_rate
from benchmark.published.curves import combine_parts
from benchmark.rows.edition import CATALOGUE, PUBLISHED_ONLY, label_of
from benchmark.rows.means import summarise
from benchmark.rows.store import Store
from benchmark.show.figures.texts import point_records
from benchmark.show.paper.crdr_figures import curves
from support.figures.published import (
    FID,
    KODAK,
    LPIPS,
    MS_SSIM,
    POINTS,
    PSNR,
    clic_plots,
    from_registry,
    kodak_rows,
    panel,
)
from support.rows.measured import row, table

HIGH = 99.0


def find_curve(curves, name):
    return {curve.name: curve for curve in curves}[name]


def test_every_system_has_a_title_and_a_label_of_its_own():
    assert len({edition.facts.title for edition in CATALOGUE}) == len(CATALOGUE)
    assert len({label_of(edition.spec) for edition in CATALOGUE}) == len(CATALOGUE)
    assert all(edition.facts.published for edition in PUBLISHED_ONLY)


def test_curves_are_the_points_of_the_csv_lowest_rate_first():
    panel_curves = panel(PSNR, "clic2020", None, HIGH)
    hific = find_curve(panel_curves, "HiFiC (published)")
    expected = from_registry("HiFiC", "", "clic2020", "psnr_db")
    assert [(s.bpp, s.value) for s in hific.points] == expected
    assert {s.images for s in hific.points} == {428}
    assert not hific.measured
    assert find_curve(panel_curves, "CRDR β=0 (published)").points[0].setting == "q=0"
    records = [r for r in point_records(panel_curves) if r["system"] == "HiFiC"]
    sources = [(s.bpp, s.value, s.source) for s in hific.points]
    assert [(r["bpp"], r["value"], r["source"]) for r in records] == sources


def test_a_rate_limit_cuts_curves_and_leaves_none_empty():
    panel_curves = panel(PSNR, "clic2020", None, 0.12)
    assert all(curve.points for curve in panel_curves)
    assert max(point.bpp for curve in panel_curves for point in curve.points) <= 0.12
    assert "HiFiC (published)" not in {curve.name for curve in panel_curves}  # begins at .129


def test_means_of_the_parts_together_are_what_another_source_has_of_the_whole():
    # read from a figure of another paper, which has a BPG point and a line of VTM of all 428 images
    ((bpp, value),) = from_registry("BPG", "version 0.9.8", "clic2020", "psnr_db")
    bpg = [p for p in POINTS if p.system == "BPG" and p.metric == "psnr_db"]
    merged = combine_parts([p for p in bpg if p.variant == "4:4:4 x265"], "clic2020")
    (near,) = [point for point in merged if abs(point.bpp - bpp) < 0.001]
    assert near.value == pytest.approx(value, abs=0.01)  # the reading error
    vtm = find_curve(panel(PSNR, "clic2020", None, HIGH), "VTM (published)")
    at_03 = dict(from_registry("VTM", "version 20.0", "clic2020", "psnr_db"))[0.3]
    (point,) = [point for point in vtm.points if abs(point.bpp - 0.3) < 0.001]
    assert point.value == pytest.approx(at_03, abs=0.04)  # its reading error
    assert point.note == "mean of professional and mobile, weighted 250:178"


def test_parts_that_do_not_match_give_nothing():
    vtm = [p for p in POINTS if (p.system, p.variant, p.metric) == ("VTM", "CompressAI", "psnr_db")]
    professional = [p for p in vtm if p.dataset == "clic2020:professional"]
    mobile = [p for p in vtm if p.dataset == "clic2020:mobile"]
    assert len(combine_parts(professional + mobile, "clic2020")) == len(mobile)
    assert combine_parts(professional + mobile[1:], "clic2020") == []
    assert combine_parts(professional, "clic2020") == []


def test_two_sources_of_one_point_are_one_point():
    curve = find_curve(panel(FID, "clic2020", None, HIGH), "DIRAC, 100 steps (published)")
    assert len(from_registry("DIRAC-100", "", "clic2020", "fid")) == 4
    assert [round(point.bpp, 3) for point in curve.points] == [0.088, 0.104, 0.147]
    assert {point.source for point in curve.points} == {"DC-VIC (IEEE Access 2024) Fig. 9"}


@pytest.mark.parametrize("metric", [PSNR, MS_SSIM, LPIPS, FID])
@pytest.mark.parametrize("dataset", ["clic2020", "kodak"])
def test_only_rules_that_are_named_meet(metric, dataset):
    assert {curve.protocol for curve in panel(metric, dataset, None, HIGH)} <= {*metric.meets}
    assert not [rule for rule in metric.meets if "diffeic" in rule or "stablecodec" in rule]


def test_measured_rows_take_the_place_of_published_ones_but_not_of_our_methods():
    measured_rows = [*kodak_rows("jpeg"), *kodak_rows("elic")]
    measured_rows += kodak_rows("ours", variant="beta=3.84")
    panel_curves = panel(PSNR, "kodak", summarise(table(measured_rows)), HIGH)
    (jpeg,) = [curve for curve in panel_curves if curve.title == "JPEG"]
    assert jpeg.measured
    ours = [curve for curve in panel_curves if curve.title == "CRDR β=3.84"]
    names = [(curve.measured, curve.name) for curve in ours]
    assert names == [(False, "CRDR β=3.84 (published)"), (True, "CRDR β=3.84")]
    # A network trained here never stands for the published one.
    assert [curve.measured for curve in panel_curves if curve.title == "ELIC"] == [False]
    values = [20 + q / 5 + len("kodim01") / 7 for q in (1, 2, 3, 4)]
    assert [point.value for point in jpeg.points] == pytest.approx(values)
    assert {(point.how, point.protocol) for point in jpeg.points} == {("measured", "psnr-rgb8/1")}


def test_part_of_the_images_is_left_out_with_a_sentence(tmp_path):
    for images, name, sentences in ((KODAK, "JPEG", 0), (KODAK[:4], "JPEG (published)", 1)):
        measured_rows = kodak_rows("jpeg", images)
        assert name in {c.name for c in panel(PSNR, "kodak", summarise(table(measured_rows)), HIGH)}
        Store(tmp_path / name / "kodak").append(measured_rows)
        figure = curves(Experiment(tmp_path / name), "curves", "kodak", ("psnr",))
        parts = [text for text in figure.sentences if text.endswith(": 4 of 24 images")]
        assert len(parts) == sentences


def curve_of(*places):
    points = [CurvePoint(*place, "", "table", 24, "rule", "", "a paper") for place in places]
    return Curve(PSNR, CATALOGUE[0], "Any", tuple(points))


@pytest.mark.parametrize(("places", "bpp", "expected"), [
    ([(0.1, 30.0), (0.2, 32.0)], 0.1 * 2**0.5, (31.0, 0.1 * 2**0.5, "interpolated")),
    ([(0.1, 30.0), (0.2, 32.0)], 0.103, (30 + 2 * np.log2(1.03), 0.103, "interpolated")),
    ([(0.1, 30.0), (0.29, 34.0)], 0.029**0.5, (32.0, 0.029**0.5, "interpolated")),
    ([(0.1, 30.0), (0.4, 34.0)], 0.2, None),  # too wide a gap
    ([(0.1, 30.0), (0.2, 31.0)], 0.21, None),
    ([(0.1, 30.0)], 0.12, None),
    ([(0.1, 30.0)], 0.1015, (30.0, 0.1, "point")),
])  # fmt: skip
def test_a_value_at_a_rate_is_on_the_straight_line_over_its_logarithm(places, bpp, expected):
    result = point_at_rate(curve_of(*places), bpp, log_values=False)
    assert (result is None) is (expected is None)
    if expected:
        value, *place = expected
        assert (result.value, result.bpp, result.how) == (pytest.approx(value), *place)


def test_a_value_at_a_rate_is_on_akimas_curve_through_all_points():
    rates, values = (0.1, 0.18, 0.3, 0.5, 0.8), (30.0, 33.0, 34.5, 37.0, 38.0)
    result = point_at_rate(curve_of(*zip(rates, values, strict=True)), 0.4, log_values=False)
    expected = float(Akima1DInterpolator(np.log(rates), values)(np.log(0.4)))
    assert result.value == pytest.approx(expected, abs=1e-9)
    assert abs(expected - np.interp(np.log(0.4), np.log(rates), values)) > 0.01


def test_a_value_that_falls_by_decades_is_interpolated_by_its_logarithm():
    points = (0.1, 8.0), (0.15, -1.0), (0.2, 2.0)
    result = point_at_rate(curve_of(*points), 0.1 * 2**0.5, log_values=True)
    assert result.value == pytest.approx(4.0)
    assert (result.protocol, result.source) == ("rule", "a paper")


def of_betas(*betas):
    """Kodak at 1.28 and 2.56 bpp, with two PSNRs and LPIPS for each of three beta."""
    result = []
    for beta, psnr, lpips in ((0, 31.0, 0.16), (1.28, 30.5, 0.08), (3.84, 30.0, 0.02)):
        result += [
            row("ours", q, image, variant=f"beta={beta:g}", setting_name="q",
                num_bytes=1280 * 2**q, psnr_db=psnr + 4 * q, lpips_alex=lpips / 4**q)
            for q in (0, 1) for image in KODAK if beta in betas
        ]  # fmt: skip
    return result


def sweep_of(measured_rows, bpp=2.56, realism=LPIPS):
    return measured_sweep(summarise(table(measured_rows)), PSNR, realism, bpp)


def distortions(sweep):
    return [step.distortion.value for step in sweep.steps]


def test_the_realism_sweep_of_beta_is_what_hand_made_rows_say():
    measured_rows = of_betas(3.84, 0, 1.28)
    sweep = sweep_of(measured_rows, 1.28 * 2**0.5)
    assert sweep.curve.measured
    assert [step.setting for step in sweep.steps] == ["β=0", "β=1.28", "β=3.84"]
    # halfway in the logarithm of the rate: the mean of PSNRs, the geometric mean of LPIPS
    assert distortions(sweep) == pytest.approx([33.0, 32.5, 32.0])
    assert [s.realism.value for s in sweep.steps] == pytest.approx([0.08, 0.04, 0.01])
    assert distortions(sweep_of(measured_rows)) == pytest.approx([35.0, 34.5, 34.0])
    assert sweep_of(measured_rows, 9.0) is None
    assert sweep_of(measured_rows, realism=FID) is None


def test_rows_of_another_checkpoint_or_method_do_not_mix_into_a_realism_sweep():
    measured_rows = of_betas(0, 3.84)
    other_checkpoint = [
        row | {"variant": row["variant"] + ":checkpoint=b.safetensors", "cell": row["cell"] + "b",
               "psnr_db": 50.0}
        for row in of_betas(0, 1.28, 3.84)
    ]  # fmt: skip
    assert distortions(sweep_of(measured_rows + other_checkpoint)) == pytest.approx([35.0, 34.0])
    assert distortions(sweep_of(other_checkpoint)) == pytest.approx([50.0] * 3)
    method = [record | {"codec": "multirealism", "cell": record["cell"] + "m", "psnr_db": 50.0,
                     "fingerprint": "f" * 64} for record in measured_rows]  # fmt: skip
    sweep = sweep_of(measured_rows + method)
    assert distortions(sweep) == pytest.approx([35.0, 34.0])
    assert not sweep.absence_notes


def test_published_variants_of_a_system_are_steps_from_the_least_realistic_to_the_most():
    first, second = clic_plots((0.093, 0.323))
    result = {sweep.curve.title: sweep for sweep in first.sweeps}
    assert [step.setting for step in result["Multi-Realism"].steps] == ["β=0", "β=2.56"]
    crdr = result["CRDR"]
    assert [step.setting for step in crdr.steps] == ["β=0", "β=3.84"]
    realism = crdr.steps[1].realism
    # its q=.25 has 5.21 at .0918 bpp, one percent less, and falls with the rate
    assert (realism.value, realism.bpp) == (pytest.approx(5.157, abs=0.001), 0.093)
    assert realism.protocol == "fid256-truncated/pytorch-fid-0.3.0"
    wider = {sweep.curve.title: sweep for sweep in second.sweeps}
    assert [step.setting for step in wider["Multi-Realism"].steps] == ["β=0", "β=2.56"]
    assert "DC-VIC" not in wider  # ends at .137 bpp


def test_a_system_without_points_has_no_curve():
    points = tuple(replace(p, dataset="elsewhere") if p.system == "HFD" else p for p in POINTS)
    names = {curve.name for curve in panel(PSNR, "clic2020", None, HIGH, points)}
    assert "HFD (published)" not in names
    assert "HiFiC (published)" in names
