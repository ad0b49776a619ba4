"""At equal rate and realism: surfaces of a closed form, and `bench tradeoff` over stored rows."""

import math
import re
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
from scipy import stats
from scipy.interpolate import Akima1DInterpolator

from benchmark.codec import Setting
from benchmark.compare.interval import DRAWS, image_draws
from benchmark.compare.tradeoff import tradeoffs
from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric, protocols
from benchmark.registry import DISTRIBUTION_METRICS, METRICS
from benchmark.rows.edition import Edition, label_of
from benchmark.rows.store import Store
from benchmark.rows.summary import Point
from benchmark.spec import CodecSpec, parse_codec
from support.bench.command import output_of
from support.rows.measured import beta_rows, row, sweep, table

PSNR = Metric.named("psnr")
FD = Metric("fd", "FD", "lower")
IMAGES = 8
SPREAD = np.linspace(-1, 1, IMAGES)  # of mean 0: what images differ by


def point(label, setting, bpp, psnr, fd, psnr_spread=0.0, fd_spread=0.0):
    codec = Edition.create(parse_codec(label)), Setting("q", setting)
    values = {"psnr_db": psnr + psnr_spread * SPREAD, "fd": fd + fd_spread * SPREAD}
    of_images = np.arange(IMAGES), np.full(IMAGES, bpp), values
    return Point(*codec, bpp, IMAGES, 0, 0, (), {}, *of_images)


def surface(psnr_at, fd_at):
    """One curve a beta; metrics as functions of log rate and beta."""
    return [
        [point(f"ours:beta={b}", r, r, psnr_at(math.log(r), b), fd_at(math.log(r), b))
         for r in (0.1, 0.2, 0.4, 0.8)]
        for b in (0.0, 1.0, 2.0)
    ]  # fmt: skip


BILINEAR = surface(lambda r, b: 35 + 4 * r - b, lambda r, b: 10 - 3 * r - 4 * b)
STEADY = [[point("ours", r, r, 30.0, 5.0, psnr_spread=3.0) for r in (0.1, 0.4)]]


def compare(theirs, ours=BILINEAR):
    (tradeoff,) = tradeoffs([theirs], ours, PSNR, FD)
    return tradeoff


def at_beta(beta):
    """Distortion and realism of a bilinear surface at 0.3 bpp."""
    return 35 + 4 * math.log(0.3) - beta, 10 - 3 * math.log(0.3) - 4 * beta


@pytest.mark.parametrize(("realism", "verdict", "beta"), [
    (at_beta(1.3)[1], "equal", 1.3), (90.0, "all better", 0), (0.5, "all worse", 2),
])  # fmt: skip
def test_on_a_bilinear_surface_the_difference_is_the_closed_form(realism, verdict, beta):
    """Beyond the surface, the variant of the nearest realism is compared."""
    tradeoff = compare(point("jpeg", 1, 0.3, 28.0, realism))
    assert tradeoff["verdict"] == verdict
    assert tradeoff["other"] == pytest.approx(at_beta(beta)[0], abs=1e-9)
    assert tradeoff["difference"] == pytest.approx(tradeoff["other"] - 28.0, abs=1e-12)
    for end in ("low", "high"):
        assert tradeoff[end] == pytest.approx(tradeoff["difference"], abs=1e-9)
    assert (tradeoff["certainty"], tradeoff["draws"]) == (1.0, DRAWS)


def test_both_metrics_are_of_the_images_that_have_both():
    """An image without patches of a distance's features, which the distortion has a value of."""

    def with_values(original, images):
        psnr, fd = (original.image_values[name][:images].copy() for name in ("psnr_db", "fd"))
        fd[IMAGES - 1 :] = np.nan
        bpp, ids = original.image_bpp * (1 + 0.1 * SPREAD), original.image_ids[:images]
        values = {"psnr_db": psnr, "fd": fd}
        return replace(original, image_ids=ids, image_bpp=bpp[:images], image_values=values)

    theirs = point("jpeg", 1, 0.3, 28.0, at_beta(1.3)[1], psnr_spread=2.0)
    first, second = (
        tradeoffs(
            [with_values(theirs, images)],
            [[with_values(entry, images) for entry in curve] for curve in BILINEAR],
            PSNR, FD,
        )
        for images in (IMAGES, IMAGES - 1)
    )  # fmt: skip
    assert first == second
    assert first[0]["images"] == IMAGES - 1


def test_settings_of_one_rate_are_one_point_the_better():
    twice = [
        [*curve, replace(curve[1], setting=Setting("q", 9)),
         point(label_of(curve[2].edition.spec), 8, 0.4, 20.0, 30.0)]
        for curve in BILINEAR
    ]  # fmt: skip
    theirs = [point("jpeg", 1, 0.3, 28.0, at_beta(1.3)[1])]
    assert tradeoffs(theirs, twice, PSNR, FD) == tradeoffs(theirs, BILINEAR, PSNR, FD)


def test_a_rate_that_no_variant_reaches_has_no_number():
    for rate in (0.05, 0.9):
        tradeoff = compare(point("jpeg", 1, rate, 28.0, 12.0))
        assert (tradeoff["verdict"], tradeoff["draws"]) == ("other rates", 0)
        assert tradeoff["other"] is tradeoff["difference"] is None


def test_the_interval_is_that_of_the_mean_of_paired_differences():
    theirs = point("jpeg", 1, 0.2, 29.0, 6.0, psnr_spread=1.0)
    tradeoff = compare(replace(theirs, image_bpp=0.2 + 0.05 * SPREAD), STEADY)
    expected = stats.ttest_1samp(1.0 + 2.0 * SPREAD, 0).confidence_interval(0.95)
    assert tradeoff["bpp"] == pytest.approx(0.2, rel=1e-12)  # the mean of the images' rates
    assert tradeoff["difference"] == pytest.approx(1.0, abs=1e-12)
    # never narrower than Student's; a bootstrap of 1000 draws knows its bounds to about 6 %
    slack = 0.06 * (expected.high - expected.low)
    assert expected.low - slack <= tradeoff["low"] <= expected.low + 1e-6
    assert expected.high - 1e-6 <= tradeoff["high"] <= expected.high + slack


def test_draws_whose_realism_no_variant_has_count_with_the_nearest_variant():
    """Half of the draws lie beyond the least realistic variant, where the difference stays."""
    tradeoff = compare(point("jpeg", 1, 0.3, 28.0, at_beta(0)[1] - 0.01, fd_spread=2.0))
    nearest = 35 + 4 * math.log(0.3) - 28.0  # of beta 0
    assert (tradeoff["verdict"], tradeoff["draws"]) == ("equal", DRAWS)
    draw_means = image_draws(IMAGES) @ (-0.01 + 2.0 * SPREAD)
    assert 0.4 < np.mean(draw_means > 0) < 0.6
    assert tradeoff["high"] == pytest.approx(nearest, abs=0.4)
    lower_end = nearest + np.quantile(draw_means, 0.025) / 4
    assert tradeoff["low"] < lower_end < tradeoff["difference"] < nearest


@pytest.mark.slow
@pytest.mark.parametrize(("images", "minimum_share"), [(24, 90.0), (41, 90.5), (100, 93.0)])
def test_intervals_cover_the_difference_in_the_population(images, minimum_share):
    """In %, of 400 sets of photographs whose rates, realism and quality are skewed and related.

    A share of 95 % has a standard error of 1.1 over 400 sets; docs/experiments has the
    measured ones, and those of percentiles of draws with the same verdict: 81.5, 87.0 and 95.0
    at the least.
    """
    rng = np.random.default_rng(images)
    population = rng.normal(size=(9, 2000))
    truth = [tradeoff["difference"] for tradeoff in _compare_in_simulation(population)]
    inside = np.zeros((400, len(truth)), np.bool_)
    for trial in inside:
        result = _compare_in_simulation(population[:, rng.integers(0, 2000, images)])
        trial[:] = [tradeoff["low"] is not None and tradeoff["low"] <= true <= tradeoff["high"]
                    for tradeoff, true in zip(result, truth, strict=True)]  # fmt: skip
    assert 100 * inside.mean(axis=0).min() > minimum_share


def _compare_in_simulation(effects):
    """Compare a codec of one variant with a surface of four, each in its own way on each image.

    effects: standard normal, shape (9, images).
    """
    detail, quality, texture, codec, common, *variants = effects
    images = len(detail)

    def measured(label, rate, beta, gain, effect):
        psnr = 34 + gain + 5 * math.log(rate) - 2.5 * detail + 0.7 * quality + 0.8 * effect
        fd = 0.4 * rate**-0.4 * math.exp(-0.35 * beta) * np.exp(0.5 * texture + 0.3 * effect)
        bpp = rate * np.exp(0.5 * detail + 0.1 * effect)
        codec = Edition.create(CodecSpec(label, ())), Setting("q", rate), rate, images, 0, 0, (), {}
        return Point(*codec, np.arange(images), bpp, {"psnr_db": psnr, "fd": fd})

    surfaces = [
        [measured("ours", rate, beta, -0.6 * beta, 0.7 * common + 0.3 * effect)
         for rate in (0.1, 0.2, 0.4, 0.8)]
        for beta, effect in enumerate(variants)
    ]  # fmt: skip
    places = (0.15, 0.15), (0.3, 1.3), (0.5, 2.8), (0.3, 4.0)
    theirs = [measured("gan", rate, beta, 0.2, codec) for rate, beta in places]
    return tradeoffs(theirs, surfaces, PSNR, FD)


def test_a_distortion_that_is_better_when_lower_keeps_its_sign():
    theirs = point("jpeg", 1, 0.3, 35 + 4 * math.log(0.3) - 1.0, 20.0)  # PSNR of beta = 1
    (tradeoff,) = tradeoffs([theirs], BILINEAR, FD, PSNR)
    assert tradeoff["verdict"] == "equal"
    assert tradeoff["difference"] == pytest.approx(10 - 3 * math.log(0.3) - 4 - 20.0, abs=1e-9)


def test_the_order_of_images_and_curves_does_not_matter():
    theirs = point("jpeg", 1, 0.3, 28.0, 8.0, psnr_spread=2.0, fd_spread=0.5)
    order = np.random.default_rng(3).permutation(IMAGES)
    ids, bpp, psnr, fd = (
        values[order]
        for values in (theirs.image_ids, theirs.image_bpp, *theirs.image_values.values())
    )
    values = {"psnr_db": psnr, "fd": fd}
    shuffled = replace(theirs, image_ids=ids, image_bpp=bpp, image_values=values)
    assert tradeoffs([shuffled], BILINEAR[::-1], PSNR, FD) == [compare(theirs)]


def test_on_a_bent_surface_akimas_curves_and_the_neighbouring_variants_answer():
    bent = (lambda r, b: 30 + r**2 - b**2, lambda r, b: 10 - math.exp(r) - b**3)
    ours, log_rates = surface(*bent), np.log((0.1, 0.2, 0.4, 0.8))
    for rate in (0.15, 0.3, 0.7):
        psnr, fd = (
            Akima1DInterpolator(log_rates, axis(log_rates[:, None], np.arange(3)))(math.log(rate))
            for axis in map(np.vectorize, bent)
        )
        for n in (0, 1):
            tradeoff = compare(point("jpeg", 1, rate, 20.0, 0.75 * fd[n] + 0.25 * fd[n + 1]), ours)
            assert tradeoff["verdict"] == "equal"
            assert tradeoff["other"] == pytest.approx(0.75 * psnr[n] + 0.25 * psnr[n + 1], abs=1e-9)


def test_the_certainty_is_the_share_of_draws_with_the_sign_of_the_whole_set():
    for shift in (0.5, -0.5):  # of the mean; draws deviate by three times .19 or so
        tradeoff = compare(point("jpeg", 1, 0.2, 30.0 - shift, 6.0), STEADY)
        share = np.mean(np.sign(image_draws(IMAGES) @ (shift + 3.0 * SPREAD)) == np.sign(shift))
        assert tradeoff["certainty"] == pytest.approx(share, abs=1e-12)
        assert 0.5 < tradeoff["certainty"] < 1


def test_several_settings_are_listed_from_the_lowest_rate_up():
    rates = (0.7, 0.15, 0.3)
    theirs = [point("jpeg", rate, rate, 28.0 + rate, 10 - 3 * math.log(rate) - 4) for rate in rates]
    for tradeoff, rate in zip(tradeoffs(theirs, BILINEAR, PSNR, FD), sorted(rates), strict=True):
        assert (tradeoff["setting"], tradeoff["bpp"]) == (f"q={rate}", pytest.approx(rate))
        assert tradeoff["distortion"] == pytest.approx(28.0 + rate)
        assert tradeoff["other"] == pytest.approx(34 + 4 * math.log(rate), abs=1e-9)


def test_a_realism_metric_without_influences_of_images_is_refused():
    with pytest.raises(UsageError, match="Recall/256"):
        tradeoffs([], [], PSNR, Metric.named("recall256"))


PHOTOGRAPHS = ("a", "bb", "ccc")
RULE = {"lpips_squeeze_protocol": protocols(METRICS)["lpips_squeeze"]}
RUN = {"run": "20270101T000000-aa"}
NO_LPIPS = {"lpips_squeeze": None, "lpips_squeeze_protocol": None}


@pytest.fixture
def store(tmp_path):
    reference_rows = [
        row("vtm", q, image, num_bytes=1500 * 2**q, lpips_squeeze=0.12 / (1 + q), **RULE)
        for q in (0, 1) for image in PHOTOGRAPHS
    ]  # fmt: skip
    store = Store(tmp_path / "results" / "kodak")
    store.write_bundled("field", table([*reference_rows, *chain(*map(beta_rows, range(3)))]))
    return store


def tradeoff(store, *words):
    command = ("tradeoff", "ours", "vtm", "--realism", "lpips_squeeze", *words)
    return output_of(*command, "--results", store.folder.parent)


def table_of(text):
    return text[: text.index("kodak, 3 images")]


def test_the_bare_name_of_a_codec_means_its_default_network_without_a_search(store):
    table_before = tradeoff(store)
    for beta in (0, 1):
        store.append(beta_rows(beta, "bbbb", options=":size=micro"))
        store.append(beta_rows(beta, worse=-0.1, options=":effort=2"))
    assert table_of(tradeoff(store)) == table_of(table_before)


def test_a_single_image_has_its_difference_and_no_interval(tmp_path):
    reference_row = row("vtm", 0, "a", num_bytes=1500, psnr_db=20.0, lpips_squeeze=0.12, **RULE)
    store = Store(tmp_path / "kodak")
    store.append([reference_row, *chain(*(beta_rows(beta)[::3] for beta in (0, 1, 2)))])
    # That of beta 0; realism is between those of beta 0 and 1, which loses up to 1 dB. PSNR rises
    # by 3 dB where bytes double, along a straight line.
    reference_psnr = 30 + 3 * np.log2(1.5)
    (line,) = [text for text in tradeoff(store).splitlines() if text.startswith("vtm")]
    *_, value, difference = line.split()
    assert reference_psnr - 1 < float(value) < reference_psnr
    assert float(difference) == pytest.approx(float(value) - 20, abs=0.002)
    assert "[" not in difference


def test_rows_of_another_network_change_no_number_and_are_named(store):
    output_before = tradeoff(store)
    assert "ours:beta=0, ours:beta=1, ours:beta=2 (checkpoint bundled, " in output_before
    assert "beta=2 q=" not in output_before
    store.append(beta_rows(2, "bbbb", worse=0.1, **RUN))
    output_after = tradeoff(store)
    assert table_of(output_after) == table_of(output_before)
    assert "ours:beta=2 (checkpoint bundled, bundled)." in output_after
    assert re.search(r"\nours:beta=2 q=0, q=1, q=2: .*\(checkpoint bbbb\)", output_after)
    output_other = tradeoff(store, "--build", "bbb")
    assert "ours is interpolated between ours:beta=2 (checkpoint bbbb)." in output_other
    assert table_of(output_other) != table_of(output_before)


def test_a_variant_without_the_metric_is_named_with_the_number_of_images(store):
    store.append(beta_rows(3, **NO_LPIPS, **RUN))
    message = tradeoff(store)
    assert "interpolated between ours:beta=0, ours:beta=1, ours:beta=2 (" in message
    assert "\nours:beta=3 q=0, q=1, q=2: lpips_squeeze of 0 of 3 images: not comp" in message
    store.append(beta_rows(3, **RUN)[:-1])  # one image has none at the last setting
    assert "\nours:beta=3 q=2: lpips_squeeze of 2 of 3 images" in tradeoff(store)


def test_nothing_to_compare_is_one_sentence(store):
    with pytest.raises(UsageError, match=r"DISTS.*--distortion psnr"):
        tradeoff(store, "--distortion", "dists")
    rule = {"dists": 0.1, "dists_protocol": protocols(METRICS)["dists"]}
    store.append([row("vtm", 9, image, **rule) for image in PHOTOGRAPHS])
    with pytest.raises(UsageError) as error:
        tradeoff(store, "--distortion", "dists")
    for words in (
        " DISTS and LPIPS", "ours:beta=0 q=0, q=1, q=2: dists of 0 of",
        " (and 2 variants more); weights absent: `bench fetch dists`, then ",
    ):  # fmt: skip
        assert words in str(error.value)
    with pytest.raises(UsageError, match=r"ours .*'cc'"):
        tradeoff(store, "--build", "cc")


def test_a_metric_that_no_row_has_is_named_with_the_command_that_makes_it(tmp_path):
    nulls = {"lpips_alex": None, "lpips_alex_protocol": None}
    rows = [*sweep("./mine.py:Mine", PHOTOGRAPHS, **nulls), *sweep("webp", PHOTOGRAPHS, **nulls)]
    Store(tmp_path / "photos").append(rows)
    rescore = f"--dataset photos --codecs all,./mine.py:Mine --results {tmp_path}"
    with pytest.raises(UsageError) as error:
        output_of("tradeoff", "mine.py:Mine", "webp", "--results", tmp_path)
    assert str(error.value).startswith("photos has no FID/256: for --realism lpips_squeeze, ")
    assert f"`bench rescore {rescore} --metrics lpips_squeeze`" in str(error.value)


def test_a_metric_of_one_image_and_its_source_is_called_perceptual_quality_not_realism(store):
    message = tradeoff(store)
    assert "equal perceptual quality" in message
    assert "realis" not in message
    kinds = {name: Metric.named(name).kind for name in (*METRICS, *DISTRIBUTION_METRICS)}
    assert {kinds[name] for name in DISTRIBUTION_METRICS} == {"realism"}
    perceptual = {name for name, kind in kinds.items() if kind == "perceptual quality"}
    assert perceptual >= {"lpips", "lpips_squeeze", "lpips_vgg", "dists"}
    assert kinds["psnr"] == kinds["psnr_y"] == kinds["ms_ssim"] == "distortion"
