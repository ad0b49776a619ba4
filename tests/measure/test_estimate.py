"""Expected seconds of cells."""

import inspect
from types import SimpleNamespace

import pytest

from baselines.crdr import SEARCH_STEPS
from benchmark.codec import Setting
from benchmark.facts import facts_of
from benchmark.measure.estimate import CostModel, estimate, interpolate
from benchmark.registry import CODECS
from benchmark.spec import CodecSpec, codec_class, parse_codec
from support.codecs.files import cell_of
from support.rows.measured import row, table

STEP = 0.43  # seconds per megapixel and step of a diffusion decoder


def typical(codec, setting, device="cpu"):
    points = facts_of(parse_codec(codec)).typical
    (curve,) = (p.seconds for p in points if (p.setting, p.device) == (setting, device))
    return curve


def cell(codec="vtm", setting=("qp", 32), pixels=1_000_000, device="cpu"):
    name, value = setting
    return cell_of(codec, value, name, pixels, device=device)


def timed_row(codec, setting, seconds, megapixels=1.0, **columns):
    name, value = setting
    sides = {"width_px": int(megapixels * 1e6), "height_px": 1}
    return row(
        codec, value, "x", setting_name=name, encode_seconds=0.75 * seconds,
        decode_seconds=0.25 * seconds, **{**sides, **columns},
    )  # fmt: skip


def seconds(rows, *codec_and_setting, **options):
    return CostModel(table(rows)).seconds(cell(*codec_and_setting, **options))


def test_a_setting_that_was_measured_counts_all_its_seconds_over_all_its_pixels():
    rows = [timed_row("vtm", ("qp", 32), 100.0, 1.0), timed_row("vtm", ("qp", 32), 500.0, 2.0)]
    rows += [timed_row("vtm", ("qp", 32), 9999.0, recorded=True)]
    assert seconds(rows, pixels=3_000_000) == pytest.approx(600.0, rel=1e-12)
    model, vtm = CostModel(table(rows)), cell()
    packed = vtm._replace(pack="a pack")
    assert (model.seconds(packed), model.basis(packed)) == (0.0, "measured")
    assert model.seconds(SimpleNamespace(row={"decode_seconds": 7.0})) == 7.0
    user_cell = vtm._replace(codec=vtm.codec._replace(name="mine"))
    jpeg = cell("jpeg", ("quality", 5))
    expected = model.seconds(vtm) + model.seconds(jpeg)
    assert estimate([vtm, user_cell, jpeg], model) == (pytest.approx(expected), 1, 1)
    rows = [timed_row("vtm", ("qp", 32), 100.0, width_px=1 << 53, height_px=1 << 53)]
    assert seconds(rows) == pytest.approx(100.0 * 1e6 / 2**106, rel=1e-12)


def test_a_machine_twice_as_fast_is_twice_as_fast_at_other_settings():
    prior = dict(typical("vtm", "qp"))
    rows = [timed_row("vtm", ("qp", qp), prior[qp] / 2) for qp in (27, 42)]
    for qp in (22, 47):
        assert seconds(rows, setting=("qp", qp)) == pytest.approx(prior[qp] / 2, rel=1e-12)


def test_between_settings_of_a_codec_without_a_typical_time_the_logarithm_is_interpolated():
    rows = [timed_row("mine", ("level", 2), 4.0), timed_row("mine", ("level", 6), 64.0)]
    model = CostModel(table(rows))
    user_cell = cell()._replace(codec=cell().codec._replace(name="mine"))
    for level, expected in ((2, 4), (4, 16), (6, 64), (9, 64)):
        level_cell = user_cell._replace(setting=Setting("level", level))
        assert model.seconds(level_cell) == pytest.approx(expected, rel=1e-12)


def test_another_variant_stands_in_for_one_that_was_never_measured_unless_its_work_differs():
    rows = [timed_row("jpeg", ("quality", 50), 3.0)]
    assert seconds(rows, "jpeg:optimize=1", ("quality", 50)) == pytest.approx(3.0, rel=1e-12)
    variant_rows = [*rows, timed_row("jpeg", ("quality", 50), 5.0, variant="optimize=1")]
    result = seconds(variant_rows, "jpeg:optimize=1", ("quality", 50))
    assert result == pytest.approx(5.0, rel=1e-12)
    # A measured drawing predicts nothing for one with more steps.
    level = ("level", 1)
    rows = [timed_row("dirac", level, 3.0, variant="steps=1")]
    assert seconds(rows, "dirac:seed=5:steps=1", level) == pytest.approx(3.0)
    assert seconds(rows, "dirac:steps=100", level) == seconds([], "dirac:steps=100", level)


def test_times_on_a_gpu_predict_nothing_for_a_cpu():
    model = CostModel(table([timed_row("ours", ("q", 2), 1000.0, device="cuda")]))
    on_cpu, on_gpu = cell("ours", ("q", 2)), cell("ours", ("q", 2), device="cuda")
    assert model.seconds(on_gpu) == pytest.approx(1000.0, rel=1e-12)
    assert model.seconds(on_cpu) == pytest.approx(interpolate(typical("ours", "q"), 2), rel=1e-12)
    assert (model.basis(on_gpu), model.basis(on_cpu)) == ("measured", "typical")


def test_a_codec_that_was_never_measured_has_no_estimate():
    user_cell = cell()._replace(codec=cell().codec._replace(name="mine"))
    model = CostModel(table([]))
    for unknown in (user_cell, cell(device="cuda"), cell(setting=("rate", 32))):
        assert (model.seconds(unknown), model.basis(unknown)) == (None, "unknown")


def test_a_decoder_that_draws_takes_its_bases_time_and_that_of_every_step():
    (_, base), *_ = typical("elic", "level")
    level = ("level", 1)
    for steps in (1, 100):
        result = seconds([], f"dirac:steps={steps}", level)
        assert result == pytest.approx(base + steps * STEP, rel=1e-12)
    assert seconds([], "hfd", level) == pytest.approx(base + 20 * STEP)
    at_30 = seconds([], "dirac:base=vtm:steps=2", ("qp", 32))
    assert at_30 == pytest.approx(dict(typical("vtm", "qp"))[32] + 2 * STEP)


def test_an_encoder_that_searches_takes_the_time_of_every_step():
    one_pass = seconds([], "ours", ("q", 0))
    for effort, effort_seconds in enumerate(SEARCH_STEPS):
        result = seconds([], f"ours:beta=0:effort={effort}", ("q", 0))
        assert result == pytest.approx(one_pass + effort_seconds * 1.0, rel=1e-12)
    rows = [timed_row("ours", ("q", 0), 3.0, variant="beta=0:effort=1")]
    assert seconds(rows, "ours:beta=3.84:effort=1", ("q", 0)) == pytest.approx(3.0)
    assert seconds(rows, "ours:beta=0", ("q", 0)) == pytest.approx(one_pass)


def test_typical_times_are_of_codecs_and_settings_that_exist_with_rising_values():
    points = [(c, point) for c in CODECS for point in facts_of(CodecSpec(c, ())).typical]
    declared = [(codec, p.setting, p.seconds) for codec, p in points if p.setting]
    assert len(declared) > 20
    weight_dependent = "compressai", "ivr", "dirac", "hfd"  # their sweeps depend on weights
    for codec, name, curve in declared:
        if codec not in weight_dependent:
            contender = codec_class(parse_codec(codec))
            rate_points = [Setting("level", level) for level in getattr(contender, "levels", ())]
            replaced = inspect.signature(contender).parameters  # an option may be the only setting
            sweep = {setting.name for setting in getattr(contender, "sweep", rate_points)}
            assert name in sweep | set(replaced)
        values = [value for value, _ in curve]
        assert values == sorted(set(values))
        assert all(rate > 0 for _, rate in curve)


def test_a_curve_goes_through_its_points_and_a_time_of_zero_does_no_harm():
    curve = ((1, 2.0), (3, 8.0), (4, 1.0))
    assert [interpolate(curve, value) for value, _ in curve] == pytest.approx([2, 8, 1])
    assert (interpolate(curve, 0), interpolate(curve, 9)) == pytest.approx((2, 1))
    assert interpolate(((1, 4.0), (2, 1.0)), 1.5) == pytest.approx(2.0)
    assert interpolate(((1, 0.0), (2, 5.0), (3, 0.0)), 1.5) == pytest.approx(5)
    assert interpolate(((1, 0.0),), 1) == 0
