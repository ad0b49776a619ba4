"""The anchor of BD-rates: named, else VTM, else the best conventional codec with a curve."""

import pytest

from benchmark.compare.anchor import (
    BEST_CONVENTIONAL,
    NO_CONVENTIONAL,
    NO_VALUES,
    add_anchor,
    choose_anchor,
    require_anchor,
)
from benchmark.errors import UnknownName, UsageError
from benchmark.rows.means import summarise
from support.rows.by_label import anchor as anchor_of
from support.rows.measured import change_rows, scaled_sweep, table

IMAGES = ("a", "bb", "ccc")
FACTORS = {"webp": 0.9, "avif": 0.6, "vtm": 0.5}


def rows_of(labels, images=IMAGES):
    return [
        row
        for name, _, variant in (label.partition(":") for label in labels.split())
        for row in scaled_sweep(name, FACTORS.get(name, 1), images=images, variant=variant)
    ]


@pytest.mark.parametrize(("complete_codecs", "partial_codecs", "anchor"), [
    ("jpeg vtm", "", anchor_of("vtm")), ("vtm jpeg:optimize=1 elic", "", anchor_of("vtm")),
    ("jpeg webp avif", "vtm", anchor_of("avif", BEST_CONVENTIONAL)),
    ("jpeg elic", "vtm avif", anchor_of("jpeg", BEST_CONVENTIONAL)),
    ("ours:beta=0:name=Mine elic", "", anchor_of("elic", NO_CONVENTIONAL)),
    ("webp:name=Shop elic", "", anchor_of("webp:name=Shop", BEST_CONVENTIONAL)),
    ("vtm:name=Best avif", "", anchor_of("vtm:name=Best")),
    ("folder:name=Mine", "elic", anchor_of("folder:name=Mine", NO_CONVENTIONAL)),
])  # fmt: skip
def test_vtm_comes_first_then_the_best_conventional_codec(complete_codecs, partial_codecs, anchor):
    summary = summarise(table([*rows_of(complete_codecs), *rows_of(partial_codecs, IMAGES[:1])]))
    assert choose_anchor(summary) == anchor


def test_psnr_alone_chooses_the_anchor_and_without_it_the_first_requested_metric_does():
    rows = [*change_rows(rows_of("vtm"), lpips_alex=None, ms_ssim=None), *rows_of("jpeg")]
    assert choose_anchor(summarise(table(rows))) == anchor_of("vtm")
    rows = rows_of("jpeg webp avif")
    for record in rows:
        record |= {"psnr_db": None, "ms_ssim": 1 - 10 ** (-record["psnr_db"] / 20)}
    for metrics in (["ms_ssim"], ["fid256", "dists", "ms_ssim"]):
        _, anchor = add_anchor(table(rows), table([]), metrics=metrics)
        assert anchor == anchor_of("avif", BEST_CONVENTIONAL)
    _, anchor = add_anchor(table(rows), table([]), metrics=["dists"])
    assert anchor == anchor_of("jpeg", NO_VALUES), "the first codec"


def test_the_anchors_rows_come_from_other_rows_if_the_experiment_lacks_them():
    for shown, others, anchor, codecs in (
        ("ours:beta=0", "jpeg vtm avif elic", anchor_of("vtm"), {"ours", "vtm"}),
        ("jpeg", "avif elic", anchor_of("avif", BEST_CONVENTIONAL), {"jpeg", "avif"}),
    ):
        rows, result = add_anchor(table(rows_of(shown)), table(rows_of(others)))
        assert (result, {*rows["codec"]}) == (anchor, codecs)
    complete_rows = table(rows_of("vtm ours:beta=0"))
    assert add_anchor(complete_rows, table(rows_of("jpeg")))[0] is complete_rows


def test_a_named_anchor_is_added_or_refused():
    rows, other_rows = table(rows_of("ours:beta=0 vtm")), table(rows_of("avif"))
    extended_rows, anchor = add_anchor(rows, other_rows, "avif")
    assert (anchor, {*extended_rows["codec"]}) == (anchor_of("avif"), {"ours", "vtm", "avif"})
    assert add_anchor(rows, other_rows, "ours")[1] == anchor_of("ours:beta=0")
    with pytest.raises(UnknownName, match="'webp'"):
        add_anchor(rows, other_rows, "webp")


def test_a_named_anchor_without_a_curve_is_refused_or_replaced_with_the_reason():
    rows = table(rows_of("jpeg")), table([*rows_of("avif"), *rows_of("webp")[:6]])
    with pytest.raises(UsageError, match=r"webp .* 2 "):
        add_anchor(*rows, "webp")
    anchors = [add_anchor(*rows, name, fall_back=True)[1] for name in ("webp", "vtm", "jpeg")]
    assert [(anchor.spec.text, anchor.why) for anchor in anchors] == [
        ("avif", f"no curve of webp here: {BEST_CONVENTIONAL}"),
        ("avif", f"no vtm here: {BEST_CONVENTIONAL}"), ("jpeg", ""),
    ]  # fmt: skip
    require_anchor(anchors)
    with pytest.raises(UsageError, match=r"webp .*--anchor"):
        require_anchor(anchors[:2])
