"""How causes are weighed: the ranges of their parameters, and likelihoods by other programs."""

import numpy as np
import pytest
from PIL import Image
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm

from benchmark.review.explain import curve_rules, explain

SHIFTS = curve_rules.SHIFTS
CAUSES = [  # of a rule: parameters that each has, of those that are tried
    (curve_rules.EXCESS, (-0.18, -0.11, -0.06, -0.04, 0.04, 0.06, 0.11, 0.16, 0.19, 0.45, 0.6, 0.9,
                          890, 1000),
     {"unrounded": [-0.11, -0.06], "rounded": [0.06, 0.11], "truncated": [0.19, 0.45, 0.6],
      "conversion": [0.6, 0.9, 890]}),
    (SHIFTS["saturating"], (-0.9, -0.5, -0.09, -0.07, 0.07, 0.09, 0.5, 0.9),
     {"db_of_mean": [-0.5, -0.09], "mean_of_db": [0.09, 0.5]}),
    (SHIFTS["distance"], (-10, -8, -0.3, -0.1, 0.1, 0.3, 8, 10),
     {"net_or_patches": [-8, -0.3, 0.3, 8]}),
    (curve_rules.RATIOS, (0.12, 0.125, 0.13, 0.32, 1 / 3, 0.35, 0.7, 0.76, 0.93, 0.95, 0.99, 1,
                          1.002, 1.01, 1.03, 1.25, 1.4, 2.9, 3, 3.1, 7.8, 8, 8.2),
     {"bytes": [0.125, 8], "samples": [1 / 3, 3], "version": [0.95, 0.99, 1.01, 1.03],
      "pixels": [0.76, 0.93, 0.95, 1.03, 1.25]}),
    (curve_rules.OFFSETS, (-0.011, -0.009, -3e-5, -1e-5, 1e-5, 3e-5, 0.009, 0.011),
     {"header_left_out": [-0.009, -3e-5], "container": [3e-5, 0.009]}),
]  # fmt: skip


@pytest.mark.parametrize(("causes", "tried", "known"), CAUSES)
def test_a_cause_has_the_parameters_of_its_range(causes, tried, known):
    of = curve_rules.Candidates("any", "fitted", np.array(tried, float), None, causes)
    found = {name: of.parameters[inside].tolist() for _, name, inside in
             explain._hypotheses(of, np.array([1.0]), same=True)}  # fmt: skip
    assert found == known


def test_where_a_rate_is_the_references_own_streams_are_moved_by_no_rule():
    of = curve_rules.Candidates(
        "offset", "fitted", np.array([-0.01, -0.0009, 0.0009, 0.0011]), None
    )
    ((_, name, allowed),) = explain._hypotheses(of, np.array([0.5, 2.0]), same=True)
    assert (name, allowed.tolist()) == ("offset", [False, True, True, False])
    of = curve_rules.Candidates("ratio", "fitted", np.array([0.9, 0.9985, 1.0015, 1.0025, 8]), None)
    ((*_, allowed),) = explain._hypotheses(of, np.array([0.5]), same=True)
    assert allowed.tolist() == [False, True, True, False, False]
    assert not [
        *explain._hypotheses(of._replace(causes=curve_rules.RATIOS), np.array([0.5]), same=True)
    ]
    assert [explain._other_images(*at) for at in (
        (8, True, None), (8, False, 0), (8, False, 5), (8, False, 4), (8, False, None)
    )] == [True, True, True, False, False]  # fmt: skip


CURVE = np.array([0.1, 0.2, 0.4, 0.8]), np.array([30.0, 33.0, 36.0, 39.0])


@pytest.mark.parametrize(
    ("scale", "first", "count"),
    [("psnr", "excess", 1142), ("saturating", "shift", 600), ("distance", "shift", 1800)],
)
def test_a_rule_predicts_the_curve_for_every_parameter_that_is_tried(scale, first, count):
    rules = {first: count, "ratio": 704, "offset": 300}
    rates = np.array([0.2, 0.4])
    found = {
        of.rule: of for of in curve_rules.candidates(curve_rules.Reference(scale, *CURVE), rates)
    }
    assert found["same"].predicted.tolist() == pytest.approx(np.array([[33.0, 36.0]]))
    assert {rule: len(of.parameters) for rule, of in found.items()} == {"same": 1, **rules}
    ends = {"excess": (-0.2, 900), "ratio": (1 / 8, 8), "offset": (-0.01, 0.01)}
    ends["shift"] = (-9, 9) if scale == "distance" else (-3, 3)
    assert found["ratio"].parameters[[0, -5]] == pytest.approx([0.7, 1.4])
    assert found["ratio"].parameters[-4:].tolist() == [8, 1 / 8, 3, 1 / 3]
    assert abs(found["offset"].parameters).min() == pytest.approx(2e-5)
    for rule in rules:
        of = found[rule]
        assert (min(of.parameters), max(of.parameters)) == pytest.approx(ends[rule], rel=0.02)
        for at in (3, -5):
            by = of.parameters[at]
            if rule == "excess":
                error = 255**2 / 10 ** (np.array([33.0, 36.0]) / 10) + by
                expected = 10 * np.log10(255**2 / error)
            elif rule == "shift":
                expected = np.array([33.0, 36.0]) + by
            else:
                moved = rates / by if rule == "ratio" else rates - by
                expected = 30 + 3 * np.log2(moved / 0.1)
                expected = np.where((moved < 0.1) | (moved > 0.8), np.nan, expected)
            np.testing.assert_allclose(of.predicted[at], expected, rtol=1e-9)


def test_wrong_conversions_of_colours_cost_what_luma_and_the_distances_to_it_say():
    colours = np.array([[[180, 100, 60], [40, 90, 200]]], np.uint8)
    luma, other = (colours @ np.array(of)[:, None] for of in (
        (0.2126, 0.7152, 0.0722), (0.299, 0.587, 0.114)
    ))  # fmt: skip
    halved = luma + (colours - luma).mean(axis=1)[:, None]

    def shown(luma, weights, of):  # R'G'B' of chroma that was made with `of` and read with weights
        red, blue = (
            (1 - w) / (1 - v) * (colours[..., n] - y[..., 0])
            for n, w, v, y in ((0, weights[0], of[0], luma), (2, weights[1], of[1], luma))
        )
        green = -(weights[0] * red + weights[1] * blue) / (1 - sum(weights))
        return luma + np.stack([red, green, blue], axis=-1)

    bt709, bt601 = (0.2126, 0.0722), (0.299, 0.114)
    expected = {
        "chroma_420": halved,
        "matrix_601": shown(luma, bt601, bt709),
        "matrix_709": shown(other, bt709, bt601),
        "range_expanded": (luma - 16) * 255 / 219 + 255 / 224 * (colours - luma),
        "range_reduced": luma * 219 / 255 + 16 + 224 / 255 * (colours - luma),
    }
    errors = curve_rules.colour_errors(colours)
    for name, picture in expected.items():
        wrong = np.clip(np.rint(picture), 0, 255)
        assert errors.pop(name) == pytest.approx(((wrong - colours) ** 2).mean(), rel=1e-9), name
    assert not errors


def test_a_rate_that_another_program_counted_is_not_beyond_the_end_of_a_curve():
    rates = np.array([0.1 * 10**-0.0009, 0.8 * 10**0.0009, 0.2, 0.1 * 10**-0.0011, 0.0, 0.81])
    backwards = CURVE[0][::-1], CURVE[1][::-1]
    expected = [30, 39, 33, *[np.nan] * 3]
    np.testing.assert_allclose(curve_rules.at_rates(*backwards, rates), expected, rtol=1e-12)


@pytest.mark.parametrize("shape", [(4, 6), (3, 5), (1, 2)])
def test_chroma_is_halved_as_pillow_does_and_odd_sizes_are_those_of_a_repeated_edge(shape):
    chroma = np.random.default_rng(0).normal(size=(*shape, 2))
    whole = np.pad(chroma, [(0, side % 2) for side in shape] + [(0, 0)], "edge")
    for plane in (0, 1):
        image = Image.fromarray(whole[..., plane].astype(np.float32))
        small = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
        expected = np.asarray(small.resize(image.size, Image.Resampling.BILINEAR))
        np.testing.assert_allclose(
            curve_rules._halved(chroma)[..., plane], expected[: shape[0], : shape[1]], atol=1e-5
        )


def test_single_images_give_subsets_and_the_cost_of_colours_that_are_measured():
    bpp = np.array([CURVE[0], 2 * CURVE[0], 4 * CURVE[0]]).T
    values = np.array([CURVE[1], CURVE[1] + 1, CURVE[1] + 4]).T
    colours = {"chroma_420": np.array([9.0, 16, 25]), "matrix_601": np.array([2.0, 3, 4])}
    images = curve_rules.Images(bpp, values, np.array([1.0, 1.0, 2.0]), ("a", "b", "c"),
                    np.array([True, False, True]), {}, colours)  # fmt: skip
    at = bpp.mean(axis=1)[2:]
    reference = curve_rules.Reference("psnr", bpp.mean(axis=1), values.mean(axis=1) + 0.5, images)
    found = {of.rule: of for of in curve_rules.candidates(reference, at)}
    assert not [rule for rule, of in found.items() if of.images]  # of two points
    three = {of.rule: of for of in curve_rules.candidates(reference, bpp.mean(axis=1)[:3])}
    subsets = {rule.partition(":")[2]: of.images for rule, of in three.items() if of.images}
    assert subsets == {"first 1 images": 1, "first 2 images": 2, "without a": 2, "without b": 2,
                       "without c": 2, "landscape images": 2, "portrait images": 1}  # fmt: skip
    error = 255**2 / 10 ** (values / 10)
    finest = colours["chroma_420"] ** 2 / (colours["chroma_420"] + error)
    for name, added in (colours | {"chroma_420": finest}).items():
        decibels = 10 * np.log10(255**2 / (error + added)).mean(axis=1)
        assert found[name].predicted[0] == pytest.approx(decibels[2:] + 0.5), name


def test_likelihoods_are_those_of_normal_distributions():
    left = np.array([[0.0, 0.02, -0.05], [np.nan, 0.01, np.nan]])
    of = norm(scale=0.02).logpdf
    expected = [of(left[0]).sum(), of(0.01) + 2 * np.log(0.1)]
    assert explain._log_likelihoods(left).tolist() == pytest.approx(expected)
    mean = logsumexp([-1000, -1001]) - np.log(2)
    assert explain._log_mean(np.array([-1000.0, -1001.0])) == pytest.approx(mean)
    rates, before = np.array([0.1, 0.2, 0.3, 0.9, 1.0]), np.array([0.3, 0.1, np.nan, -0.2, 0.1])
    x = np.log(rates[[0, 1, 3, 4]])
    u = 2 * (x - x[0]) / (x[-1] - x[0]) - 1
    basis = np.stack([1 + 0 * u, 0.6 * u, 0.3 * u**2, 0.15 * u**3], axis=1)
    sizes = 0.05 * 60 ** (np.arange(9) / 8)
    covariances = (size**2 * basis @ basis.T + 4e-4 * np.eye(4) for size in sizes)
    each = [multivariate_normal.logpdf(before[[0, 1, 3, 4]], cov=of) for of in covariances]
    smooth = logsumexp(each) - np.log(9) + np.log(0.1)
    assert explain._log_smooth(rates, before) == pytest.approx(smooth)
    scales = np.sqrt(1.4725 * sizes**2 + 4e-4)  # 1 + .36 + .09 + .0225
    alone = logsumexp(norm.logpdf(0.2, scale=scales)) - np.log(9)
    assert explain._log_smooth(np.array([0.5]), np.array([0.2])) == pytest.approx(alone)


@pytest.mark.parametrize(
    ("causes", "shares", "named"),
    [
        ("ab", (0.91, 0.05), "a"), ("ab", (0.9, 0.05), "a"), ("ab", (0.6, 0.31), "ab"),
        ("abc", (0.5, 0.3, 0.15), ""), ("aba", (0.3, 0.31, 0.3), "ab"), ("", (), ""),
    ],
)  # fmt: skip
def test_the_fewest_causes_are_named_that_are_sure_together(causes, shares, named):
    verdicts = [explain.Verdict(f"rule {n}", "fitted", cause, 1.0, 4, 0.0, share, ())
                for n, (cause, share) in enumerate(zip(causes, shares, strict=True))]  # fmt: skip
    of = explain.Explanation(1.0, 0.0, 0, None, 0.0, tuple(verdicts))
    assert "".join(verdict.cause for verdict in of.named) == named
    same = [explain.Verdict("same", "measured", "same", None, 4, 0.0, 0.4, ()),
            explain.Verdict("other", "fitted", "b", 1.0, 4, 0.0, 0.39, ())]  # fmt: skip
    assert [v.cause for v in of._replace(verdicts=tuple(same)).named] == ["same"]
    assert of._replace(verdicts=tuple(same), unknown=0.41).named == ()
    assert of._replace(verdicts=(same[1],)).named == ()
