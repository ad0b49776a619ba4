"""`--target`: a codec's setting by search, from stored rows and few further cells."""

import json
import math
from types import SimpleNamespace

import pytest

from benchmark.api.codec import run
from benchmark.codec import Between, CodecInfo, OneOf, Setting
from benchmark.compare.rank import parse_target
from benchmark.compare.target import Search, _means
from benchmark.errors import UsageError
from benchmark.measure.cells import Contender
from benchmark.spec import CodecSpec
from support.added import metrics as added
from support.bench.command import bench
from support.files.noise import noise_images
from support.rows.measured import table

INFO = CodecInfo("1", "", "MIT", "0", 1, "")


def search(target, measure, sweep, accepts=None, pack=None):
    """Carry out a search with a function in place of a codec; return it with its trials."""
    settings = tuple(Setting("q", value) for value in sweep)
    contender = Contender(CodecSpec("a", ()), INFO, settings, pack, accepts=accepts)
    trials = Search(contender, parse_target(target))
    while values := trials.next_values():
        assert not trials.means.keys() & values
        trials.means |= {value: measure(value) for value in values}
    assert values == []
    return trials


@pytest.mark.parametrize(("target", "within", "beyond"), [
    ("bpp=100", 101, 101.1), ("bpp=100", 99, 98.9), ("psnr=40", 40.079, 40.09),
])  # fmt: skip
def test_a_rate_is_met_to_a_hundredth_and_a_metric_to_a_five_hundredth(target, within, beyond):
    for mean, met in ((within, True), (beyond, False)):
        trials = search(target, lambda q, mean=mean: mean, (7,), Between("q", 7, 7))
        assert (trials.nearest_value(), trials.is_met()) == (7, met)


def rate(q):
    return 0.02 * math.exp(q / 20)


@pytest.mark.parametrize("target_bpp", [0.03, 0.3, 1.7, 2.9])
@pytest.mark.parametrize("falling", [False, True])
def test_a_real_setting_is_met_in_few_steps_inside_the_sweep_and_beyond_it(target_bpp, falling):
    def measure(q):
        return rate(100 - q if falling else q)

    trials = search(f"bpp={target_bpp}", measure, (20, 40, 60), Between("q", 0, 100))
    value = trials.nearest_value()
    assert trials.is_met()
    assert len(trials.means) <= 9
    assert [*trials.means][:2] == [20, 60], "both ends first"
    assert value == float(f"{value:.6g}")
    point_search = search(f"bpp={target_bpp}", measure, (40,), Between("q", 0, 100))
    reached, setting = point_search.result(), point_search.nearest_value()
    assert reached == ("a", Setting("q", setting), measure(setting), "")
    assert abs(reached.value / target_bpp - 1) <= 0.01


COARSE = "coarse"
HALVES = [100 / 2**n for n in range(41)]
TENS, HUNDREDS = Between("q", 1, 10, True), Between("q", 0, 100)


@pytest.mark.parametrize(("target", "measure", "accepts", "tried", "nearest", "reason"), [
    # where the chord over the logarithm of rates is at .3
    ("bpp=0.3", lambda q: 0.1 * q * q, TENS, [1, 10, 3, 2], 2, COARSE),
    ("psnr=38.5", lambda q: 40 - (11 - q) ** 2, TENS, [1, 10, 9], 10, COARSE),
    # lossless at the end: the middle of a finite and an infinite mean
    ("psnr=45", lambda q: math.inf if q == 100 else 20 + q / 2, HUNDREDS, [0, 100, 50], 50, ""),
    # forty values next to a jump of the codec
    ("psnr=45", lambda q: 40 if q else math.inf, HUNDREDS, [0, *HALVES], 100, COARSE),
])  # fmt: skip
def test_values_are_tried_up_to_the_nearest(target, measure, accepts, tried, nearest, reason):
    trials = search(target, measure, (accepts.lowest, accepts.highest), accepts)
    assert [*trials.means] == pytest.approx(tried, rel=1e-4)
    assert (trials.nearest_value(), trials.reason().split(" ")[-1]) == (nearest, reason)


def test_where_interpolation_hardly_narrows_the_bracket_it_is_halved():
    trials = search("psnr=1", lambda q: 64 * (q > 900), (0, 1024), Between("q", 0, 1024, True))
    # A 64th of the bracket, and its middle whenever the last value left more than half of it.
    assert [*trials.means][:9] == [0, 1024, 16, 520, 528, 776, 780, 902, 782]


@pytest.mark.parametrize("ends", [(0.123456, 0.123457), (-0.123457, -0.123456)])
@pytest.mark.parametrize("target", ["psnr=20", "psnr=50"])
def test_a_real_setting_that_its_digits_cannot_tell_from_its_neighbours_is_tried_once(target, ends):
    trials = search(target, lambda q: 64 * (q == ends[1]), ends, Between("q", -1, 1))
    assert [*trials.means] == [*ends]


def test_a_search_without_cells_has_no_value():
    trials = search("psnr=45", lambda q: math.nan, (7,))
    nothing = SimpleNamespace(dataset=SimpleNamespace(name="none"), images=())
    (mean,) = _means(SimpleNamespace(sources=nothing), table([]), trials, [1.0]).values()
    assert math.isnan(mean)


@pytest.mark.parametrize("target_bpp", [0.05, 0.4, 3])
def test_whole_settings_of_a_wide_range_are_met_in_few_steps(target_bpp):
    accepts = Between("q", 0, 255, True)
    trials = search(f"bpp={target_bpp}", lambda q: rate(q / 2.55), (50, 200), accepts)
    assert abs(trials.means[trials.nearest_value()] / target_bpp - 1) < 0.02
    assert len(trials.means) <= 7


@pytest.mark.parametrize("accepts", [None, Between("q", 0, math.inf)])
def test_undeclared_whole_settings_stay_whole_and_between_the_points(accepts):
    trials = search("bpp=3.34", lambda q: q / 10, (10, 30, 50), accepts)
    assert (trials.nearest_value(), COARSE in trials.reason()) == (33, True)
    beyond = search("bpp=9", lambda q: q / 10, (10, 30, 50), accepts)
    assert (beyond.nearest_value(), beyond.reason().split()[-1]) == (50, "target")
    assert search("bpp=.18", lambda q: q / 10, (1, 2.5), accepts).is_met()


SETTINGS = tuple(Setting("q", value) for value in range(0, 64, 3))


@pytest.mark.parametrize(("sweep", "accepts", "pack"), [
    ((0, 63), OneOf(SETTINGS), None), (range(0, 64, 3), Between("q", 0, 100), "a pack"),
])  # fmt: skip
def test_listed_settings_are_tried_by_halves_and_no_other(sweep, accepts, pack):
    assert [*search("bpp=2.7", lambda q: q / 10, sweep, accepts, pack).means] == [0, 63, 27]
    coarse = search("bpp=2.8", lambda q: q / 10, sweep, accepts, pack)
    assert (coarse.nearest_value(), COARSE in coarse.reason()) == (27, True)
    beyond = search("bpp=9", lambda q: q / 10, sweep, accepts, pack)
    assert (beyond.nearest_value(), beyond.reason().split()[-1]) == (63, "target")


@pytest.mark.parametrize(("failing", "nearest"), [(90, 10), (10, 90)])
def test_a_failure_ends_a_search_with_its_setting(failing, nearest):
    trials = search("bpp=.3", lambda q: math.nan if q == failing else rate(q), (10, 90))
    assert f"q={failing}" in trials.reason()
    assert (trials.nearest_value(), {*trials.means}) == (nearest, {10, 90})


def test_a_metric_without_a_value_of_an_image_is_no_target(tmp_path):
    with pytest.raises(UsageError, match="fid256=3"):
        run(["jpeg"], "sample", target="fid256=3")
    with pytest.raises(UsageError, match=f"^{tmp_path / 'none'} "):
        run(["jpeg"], "no-such-dataset", target="bpp=1", weights_dir=tmp_path / "none")


def test_a_run_stores_what_it_tries_and_the_next_one_measures_nothing(tmp_path):
    options = {"metrics": "psnr", "limit": 2, "jobs": 1, "results": tmp_path}
    outcome = run(["jpeg"], "sample", target="bpp=1", **options)
    (reached,) = outcome.reached
    assert outcome.rows["setting_value"].to_list() == [reached.setting.value] * 2
    assert outcome.rows["bpp"].mean() == reached.value == pytest.approx(1, rel=0.01)
    assert outcome.measured == len(outcome.cells) > 2
    second_outcome = run(["jpeg"], "sample", target="bpp=1", **options)
    assert (second_outcome.measured, second_outcome.reached) == (0, outcome.reached)
    # A near target starts between what is stored
    near_outcome = run(["jpeg"], "sample", target="psnr=33", **options)
    assert near_outcome.measured < outcome.measured
    assert near_outcome.reached[0].value == pytest.approx(33, rel=0.02)
    assert near_outcome.rows["psnr_db"].null_count() == 0
    target = f"{added.__file__}:MeanAbsoluteError=5"  # no stored row has its column
    user_outcome = run(["jpeg"], "sample", target=target, **options)
    assert user_outcome.reached[0].value == pytest.approx(5, rel=0.1)


def test_two_programs_are_searched_too_and_options_that_name_settings_are_refused(tmp_path):
    script = tmp_path / "coder.sh"
    script.write_text('cp "$1" "$2"; head -c $(($3 * 10000)) /dev/zero >> "$2"\n')
    command = f"command:encode=sh {script} {{in}} {{out}} {{q}}:decode=cp {{in}} {{out}}"
    photos = noise_images(tmp_path / "photos", [(40, 30)])
    options = ("--dataset", photos, "--metrics", "psnr", "--jobs", "1", "--target", "bpp=3000")
    words = ("run", "--codecs", f"{command}:values=5/95", *options, "--results", tmp_path)
    # without error, so that PSNR ranks nothing
    assert "target   coder.sh: q=" in bench(*words, code=0).stdout
    script.write_text(f"test $3 != 95 || exit 3\n{script.read_text()}")
    failed = bench(*words, "--results", tmp_path / "other", code=1).stdout
    assert "q=95" in failed
    assert "1 failed" in failed
    for name, value in {"points": "jpeg.quality=3", "part": "1/2"}.items():
        result = bench(*words, f"--{name}", value, code=2)
        assert result.stderr.startswith("bench: --target ")
        assert result.stderr.endswith(f" --{name}\n")


def test_the_answer_for_every_codec_is_printed(tmp_path):
    photos = noise_images(tmp_path / "photos", [(40, 30)])
    codecs = "jpeg,jpeg:optimize=1,jpeg:subsampling=444,jpeg:subsampling=444:optimize=1,webp,raw"
    words = ("--codecs", codecs, "--metrics", "psnr", "--target", "bpp=8")
    result = bench("run", *words, "--dataset", photos, "--results", tmp_path / "results")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert len([line for line in lines if line and line[0] in "12345" and "=" in line[2]]) == 5
    assert ["target", "raw:"] in [line[:2] for line in lines]


def test_a_search_answers_by_size_and_rank_takes_the_settings_that_meet_the_target(tmp_path):
    photos, results = noise_images(tmp_path / "photos", [(40, 30), (60, 50)]), tmp_path / "results"
    options = "--dataset", photos, "--results", results
    words = "run", "--codecs", "webp,jpeg", "--metrics", "psnr", "--target", "psnr=20", *options
    assert "points" not in bench(*words, code=0).stdout
    outcome = json.loads(bench(*words, "--json", code=0).stdout)
    records, reached = outcome["at_target"], {entry["codec"]: entry for entry in outcome["reached"]}
    assert [entry["bpp"] for entry in records] == sorted(entry["bpp"] for entry in records)
    sizes = {entry["codec"]: entry["bpp"] for entry in outcome["summary"]}
    for record in records:
        codec = record["codec"]
        assert record["setting"] == reached[codec]["setting"]
        assert record["reached"] == pytest.approx(reached[codec]["value"], rel=1e-12)
        assert record["bpp"] == pytest.approx(sizes[codec], rel=1e-12)
    best, other = records
    assert other["to_best"] == pytest.approx(100 * (other["bpp"] / best["bpp"] - 1))
    rank_words = "rank", "--at", "psnr=20", "--metrics", "psnr", "--json", *options
    ranked = {entry["codec"]: entry for entry in json.loads(bench(*rank_words).stdout)["records"]}
    met = [codec for codec, entry in reached.items() if not entry["why"]]
    assert met
    for codec in met:
        assert ranked[codec]["setting"] == reached[codec]["setting"]
        assert ranked[codec]["bpp"] == pytest.approx(sizes[codec], rel=1e-12)
    elsewhere = json.loads(bench(*rank_words[:2], "psnr=20.5", *rank_words[3:]).stdout)["records"]
    assert {entry["setting"] for entry in elsewhere} == {None}
