"""`--target`: a codec's setting by search, from what is stored and in few further cells."""

import math

import numpy as np
import pytest

from benchmark.api.codec import run
from benchmark.codec import Between, CodecInfo, OneOf, Setting
from benchmark.compare.rank import parse_target
from benchmark.compare.target import Search
from benchmark.errors import UsageError
from benchmark.measure.cells import Contender
from benchmark.spec import CodecSpec
from support.bench.command import bench

INFO = CodecInfo("1", "", "MIT", "0", 1, "")


def search(target, measure, sweep, accepts=None):
    """Carry out a search with a function in place of a codec; return it with what it tried."""
    settings = tuple(Setting("q", value) for value in sweep)
    made = Search(
        Contender(CodecSpec("a", ()), INFO, settings, accepts=accepts), parse_target(target)
    )
    rounds = 0
    while values := made.next():
        made.known |= {value: measure(value) for value in values}
        rounds += 1
        assert rounds < 40
    return made


def rate(q):
    return 0.02 * math.exp(q / 20)


@pytest.mark.parametrize("wanted", [0.03, 0.3, 1.7, 2.9])
@pytest.mark.parametrize("falling", [False, True])
def test_a_real_setting_is_met_in_few_steps_inside_the_sweep_and_beyond_it(wanted, falling):
    def measure(q):
        return rate(100 - q if falling else q)

    made = search(f"bpp={wanted}", measure, (20, 40, 60), Between("q", 0, 100))
    value = made.nearest()
    assert made.met()
    assert abs(measure(value) / wanted - 1) <= 0.01
    assert len(made.known) <= 9


def test_a_metric_may_fall_with_the_setting_and_is_met_more_closely():
    made = search("psnr=32", lambda q: 45 - 0.2 * q, (10, 90), Between("q", 0, 100))
    assert made.known[made.nearest()] == pytest.approx(32, rel=0.002)


def test_whole_settings_that_are_too_coarse_end_at_the_nearest():
    made = search("bpp=0.3", lambda q: 0.1 * q * q, (1, 10), Between("q", 1, 10, whole=True))
    assert made.nearest() == 2
    assert made.why() == "its settings are too coarse"
    assert {2.0, 1.0} <= made.known.keys() or {2.0, 3.0} <= made.known.keys()


@pytest.mark.parametrize("wanted", [0.05, 0.4, 3])
def test_whole_settings_of_a_wide_range_are_met_in_few_steps(wanted):
    made = search(f"bpp={wanted}", lambda q: rate(q / 2.55), (50, 200), Between("q", 0, 255, True))
    assert abs(made.known[made.nearest()] / wanted - 1) < 0.02
    assert len(made.known) <= 7


def test_where_interpolation_hardly_narrows_the_bracket_it_is_halved():
    made = search("psnr=1", lambda q: 64 * (q > 900), (0, 1024), Between("q", 0, 1024, whole=True))
    # A 64th of the bracket, and its middle whenever the last value left more than half of it.
    assert [*made.known][:9] == [0, 1024, 16, 520, 528, 776, 780, 902, 782]


def test_undeclared_whole_settings_stay_whole_and_between_the_points():
    made = search("bpp=3.3", lambda q: q / 10, (10, 30, 50))
    assert made.nearest() == 33
    beyond = search("bpp=9", lambda q: q / 10, (10, 30, 50))
    assert (beyond.nearest(), beyond.why()) == (50, "its settings do not reach further")


def test_listed_settings_are_tried_by_halves_and_no_other():
    listed = OneOf(tuple(Setting("q", value) for value in range(0, 64, 3)))
    made = search("bpp=2.7", lambda q: q / 10, (0, 63), listed)
    assert made.nearest() == 27
    assert len(made.known) <= 8
    beyond = search("bpp=9", lambda q: q / 10, (0, 63), listed)
    assert (beyond.nearest(), beyond.why()) == (63, "its settings do not reach further")


def test_a_failure_ends_a_search_with_its_setting():
    made = search("bpp=.3", lambda q: math.nan if q == 90 else rate(q), (10, 90))
    assert made.why() == "at q=90, a cell failed or has no value"
    assert made.nearest() == 10


def test_a_metric_without_a_value_of_an_image_is_no_target():
    with pytest.raises(UsageError, match="no value of an image"):
        run(["jpeg"], "sample", target="fid256=3")


def test_a_run_stores_what_it_tries_and_the_next_one_measures_nothing(tmp_path):
    given = {"metrics": "psnr", "limit": 2, "jobs": 1, "results": tmp_path}
    outcome = run(["jpeg"], "sample", target="bpp=1", **given)
    (reached,) = outcome.reached
    rows = outcome.rows.rows(named=True)
    assert {row["setting_value"] for row in rows} == {reached.setting.value}
    assert len(rows) == 2
    assert np.mean([row["bpp"] for row in rows]) == reached.value == pytest.approx(1, rel=0.01)
    assert outcome.measured == len(outcome.cells) > 2
    again = run(["jpeg"], "sample", target="bpp=1", **given)
    assert (again.measured, again.reached) == (0, outcome.reached)
    # A near target starts between what is stored
    other = run(["jpeg"], "sample", target="psnr=33", **given)
    assert other.measured < outcome.measured
    assert other.reached[0].value == pytest.approx(33, rel=0.02)
    assert other.rows["psnr_db"].null_count() == 0


def test_two_programs_are_searched_too_and_options_that_name_settings_are_refused(tmp_path):
    script = tmp_path / "coder.sh"
    script.write_text('cp "$1" "$2"; head -c $(($3 * 10000)) /dev/zero >> "$2"\n')
    command = f"command:encode=sh {script} {{in}} {{out}} {{q}}:decode=cp {{in}} {{out}}"
    options = ("--dataset", "sample", "--limit", "1", "--metrics", "psnr", "--results", tmp_path)
    words = ("--codecs", f"{command}:values=5/95", *options, "--jobs", "1", "--target", "bpp=30")
    done = bench("run", *words)
    assert done.returncode == 0, done.stderr
    assert "target   coder.sh: q=" in done.stdout
    refused = bench("run", *words, "--points", "jpeg.quality=3")
    assert refused.returncode == 2
    assert "leave --points out" in refused.stderr
