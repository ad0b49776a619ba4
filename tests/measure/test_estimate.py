"""What cells are expected to take, and when a cluster would be done with them."""

import inspect
import json
import math
import random
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from baselines.crdr import SEARCH_STEPS
from benchmark.codec import CodecInfo, Setting
from benchmark.datasets.archive import CLIC2020_PIXELS, typical_sizes
from benchmark.datasets.dataset import ImageFile, Source
from benchmark.facts import facts_of
from benchmark.measure.cells import Cell, bundles, makespan
from benchmark.measure.estimate import CostModel, interpolated
from benchmark.measure.simulate import forecast, imagined_cells, simulate, typical_sources
from benchmark.registry import CODECS
from benchmark.spec import CodecSpec, codec_class, parse_codec
from support.bench.verbs import app
from support.rows.measured import row, table

INFO = CodecInfo("1", "call", "MIT", "ab" * 32, 1, "one call")
STEP = 0.3  # seconds per megapixel and step of a diffusion decoder
EIGHT_QPS = "vtm.qp=22,25,27,30,32,37,42,47"


def typical(codec, setting, device="cpu"):
    """Return the typical curve that a codec's class declares."""
    (curve,) = (
        point.seconds
        for point in facts_of(parse_codec(codec)).typical
        if (point.setting, point.device) == (setting, device)
    )
    return curve


def cell(codec="vtm", setting=("qp", 32), pixels=1_000_000, device="cpu"):
    source = Source(ImageFile("a", Path("a")), "a" * 64, pixels, 1, False)
    info = replace(INFO, device=device)
    return Cell(parse_codec(codec), info, Setting(*setting), "kodak", source)


def timed(codec, setting, seconds, megapixels=1.0, **more):
    name, value = setting
    return row(
        codec, value, "x", setting_name=name, encode_seconds=seconds, decode_seconds=0.0,
        width_px=int(megapixels * 1e6), height_px=1, **more,
    )  # fmt: skip


def seconds(rows, *what, **more):
    return CostModel(table(rows)).seconds(cell(*what, **more))


def test_a_setting_that_was_measured_counts_all_its_seconds_over_all_its_pixels():
    rows = [timed("vtm", ("qp", 32), 100.0, 1.0), timed("vtm", ("qp", 32), 500.0, 2.0)]
    assert seconds(rows, pixels=3_000_000) == pytest.approx(600.0, rel=1e-12)


def test_a_machine_that_is_twice_as_fast_is_so_at_settings_that_were_not_measured():
    prior = dict(typical("vtm", "qp"))
    rows = [timed("vtm", ("qp", qp), prior[qp] / 2) for qp in (27, 42)]
    assert seconds(rows, setting=("qp", 22)) == pytest.approx(prior[22] / 2, rel=1e-12)
    assert seconds(rows, setting=("qp", 47)) == pytest.approx(prior[47] / 2, rel=1e-12)


def test_between_settings_of_a_codec_without_a_typical_time_the_logarithm_is_interpolated():
    rows = [timed("mine", ("level", 2), 4.0), timed("mine", ("level", 6), 64.0)]
    model = CostModel(table(rows))
    mine = cell()._replace(codec=cell().codec._replace(name="mine"))
    result = [model.seconds(mine._replace(setting=Setting("level", at))) for at in (2, 4, 6, 9)]
    assert result == pytest.approx([4, 16, 64, 64], rel=1e-12)


def test_another_variant_stands_in_for_one_that_was_never_measured():
    rows = [timed("jpeg", ("quality", 50), 3.0)]
    assert seconds(rows, "jpeg:optimize=1", ("quality", 50)) == pytest.approx(3.0, rel=1e-12)
    own = [*rows, timed("jpeg", ("quality", 50), 5.0, variant="optimize=1")]
    assert seconds(own, "jpeg:optimize=1", ("quality", 50)) == pytest.approx(5.0, rel=1e-12)


def test_times_of_a_gpu_say_nothing_of_a_cpu():
    rows = [timed("ours", ("q", 2), 1000.0, device="cuda")]
    model = CostModel(table(rows))
    on_cpu, on_gpu = cell("ours", ("q", 2)), cell("ours", ("q", 2), device="cuda")
    assert model.seconds(on_gpu) == pytest.approx(1000.0, rel=1e-12)
    expected = interpolated(typical("ours", "q"), 2)
    assert model.seconds(on_cpu) == pytest.approx(expected, rel=1e-12)
    assert (model.basis(on_gpu), model.basis(on_cpu)) == ("measured", "typical")


def test_nothing_is_said_of_a_codec_that_nobody_measured():
    mine = cell()._replace(codec=cell().codec._replace(name="mine"))
    model = CostModel(table([]))
    assert (model.seconds(mine), model.basis(mine)) == (None, "unknown")


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
    for effort, of_effort in enumerate(SEARCH_STEPS):
        result = seconds([], f"ours:beta=0:effort={effort}", ("q", 0))
        assert result == pytest.approx(one_pass + of_effort * 0.9, rel=1e-12)
    rows = [timed("ours", ("q", 0), 3.0, variant="beta=0:effort=1")]
    assert seconds(rows, "ours:beta=3.84:effort=1", ("q", 0)) == pytest.approx(3.0)
    assert seconds(rows, "ours:beta=0", ("q", 0)) == one_pass


def test_a_drawing_that_was_measured_says_nothing_of_one_in_more_steps():
    level = ("level", 1)
    rows = [timed("dirac", level, 3.0, variant="steps=1")]
    assert seconds(rows, "dirac:seed=5:steps=1", level) == pytest.approx(3.0)
    assert seconds(rows, "dirac:steps=100", level) == seconds([], "dirac:steps=100", level)


def test_typical_times_are_of_codecs_and_settings_that_exist_with_rising_values():
    declared = [
        (codec, point.setting, point.seconds)
        for codec in CODECS
        for point in facts_of(CodecSpec(codec, ())).typical
        if point.setting
    ]
    assert len(declared) > 20
    for codec, name, curve in declared:
        if codec not in (
            "compressai",
            "ivr",
            "msillm",
            "dirac",
            "hfd",
        ):  # whose sweeps depend on the weights
            made = codec_class(parse_codec(codec))
            rate_points = [Setting("level", one) for one in getattr(made, "levels", ())]
            replaced = inspect.signature(made).parameters  # an option may be the only setting
            sweep = {setting.name for setting in getattr(made, "sweep", rate_points)}
            assert name in sweep | set(replaced)
        values = [value for value, _ in curve]
        assert values == sorted(set(values))
        assert all(rate > 0 for _, rate in curve)


def test_a_curve_goes_through_its_points_and_a_time_of_zero_does_no_harm():
    curve = ((1, 2.0), (3, 8.0), (4, 1.0))
    assert [interpolated(curve, at) for at, _ in curve] == pytest.approx([2, 8, 1])
    assert interpolated(((1, 0.0), (2, 5.0)), 1.5) == 5.0


@cache
def clic_and_vtm():
    points = {("vtm", "qp"): tuple(map(float, EIGHT_QPS.partition("=")[2].split(",")))}
    return imagined_cells(["vtm"], points, "clic2020", typical_sources("clic2020", None))


def test_the_imagined_test_set_of_clic_has_its_pictures_and_about_its_pixels():
    parts = [typical_sizes(f"clic2020:{part}") for part in ("mobile", "professional")]
    assert [len(part) for part in parts] == [178, 250]
    assert len(typical_sizes("clic2020")) == 428
    pixels = sum(width * height for width, height in typical_sizes("clic2020"))
    assert pixels == pytest.approx(CLIC2020_PIXELS, rel=0.02)
    assert len(clic_and_vtm()) == 428 * 8


@pytest.mark.parametrize("workers", [8, 64, 256])
def test_clic_through_vtm_is_within_5_percent_of_the_ideal(workers):
    result = simulate(clic_and_vtm(), CostModel(table([])).seconds, workers)
    assert result.seconds <= 1.05 * result.ideal


@pytest.mark.parametrize("workers", [8, 256])
def test_it_still_is_where_every_cell_takes_up_to_twice_or_half_what_was_expected(workers):
    draw, model = random.Random(3), CostModel(table([]))
    factor: dict[str, float] = {}

    def actual(one: Cell) -> float:
        key = f"{one.source.sha256} {one.setting}"
        return (model.seconds(one) or 0) * factor.setdefault(key, 2 ** draw.uniform(-1, 1))

    order = bundles(clic_and_vtm(), model.seconds, workers)
    result = makespan([math.fsum(map(actual, bundle)) for bundle in order], workers)
    assert result.seconds <= 1.05 * result.ideal


def test_a_simulation_of_cells_that_nothing_is_known_of_says_how_many():
    known, unknown = cell(), cell()._replace(codec=cell().codec._replace(name="mine"))
    result = forecast([known, unknown, known], CostModel(table([])), 1, 2)
    assert (result.workers, result.cells_without_estimate, result.cells_by_typical_times) == (
        2,
        1,
        2,
    )
    assert result.ideal_seconds == pytest.approx(113.0, rel=1e-12)


def test_bench_plan_simulates_without_dataset_or_program(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    words = ["plan", "--codecs", "vtm", "--dataset", "clic2020", "--points", EIGHT_QPS, "--json"]
    words += ["--results", str(tmp_path), "--data-dir", str(tmp_path)]
    done = CliRunner().invoke(app, [*words, "--nodes", "16", "--workers-per-node", "4"])
    facts = json.loads(done.stdout)
    expected = simulate(clic_and_vtm(), CostModel(table([])).seconds, 64)
    assert (facts["cells"], facts["cluster"]["workers"]) == (3424, 64)
    assert math.isclose(facts["cluster"]["seconds"], expected.seconds)
    assert facts["cluster"]["cells_by_typical_times"] == 3424


def test_bench_plan_of_a_dataset_that_is_here_simulates_what_is_to_do(tmp_path):
    words = ["plan", "--codecs", "raw", "--dataset", "sample", "--jobs", "2", "--json"]
    words += ["--results", str(tmp_path)]
    done = CliRunner().invoke(app, [*words, "--nodes", "2"])
    facts = json.loads(done.stdout)
    assert facts["cluster"]["ideal_seconds"] == pytest.approx(facts["coding_seconds"], rel=1e-12)
    assert facts["cluster"]["workers"] == 2
    assert "cluster" not in json.loads(CliRunner().invoke(app, words).stdout)
