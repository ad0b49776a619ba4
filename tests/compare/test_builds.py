"""Builds and families: variants that are joined are of one program or weight file."""

import re
from itertools import chain

import pytest

from benchmark.compare.builds import beta_family, beta_of, is_default, one_build
from benchmark.compare.curve import measured_curves
from benchmark.compare.realism_sweep import measured_sweep
from benchmark.metrics.metric import Metric
from benchmark.rows.edition import label_of
from benchmark.rows.means import summarise
from benchmark.rows.store import Store
from support.rows.by_label import curves
from support.rows.measured import PROTOCOLS, beta_rows, change_rows, row, sweep, table

PSNR, LPIPS, SQUEEZE, DISTS = map(Metric.named, ("psnr", "lpips", "lpips_squeeze", "dists"))
BETAS = (0, 1.28, 2.56, 3.84)


def labels(family):
    return [label_of(edition.spec) for edition in family.points]


def editions(family):
    return [point.edition for points in family.points.values() for point in points]


ALL_LABELS = [f"ours:beta={beta:g}" for beta in BETAS]


@pytest.fixture
def store(tmp_path):
    vtm = [
        row("vtm", q, image, num_bytes=900 * 2**q, lpips_squeeze=0.15 / (1 + q),
            lpips_squeeze_protocol=PROTOCOLS["lpips_squeeze"])
        for q in (0, 1, 2) for image in ("a", "bb", "ccc")
    ]  # fmt: skip
    store = Store(tmp_path / "kodak")
    store.write_bundled("field", table([*chain(*map(beta_rows, BETAS)), *vtm, *sweep("jpeg")]))
    return store


NOISY = {"build": "noisy", "run": "20270101T000000-aa"}


def test_one_noisy_network_does_not_join_those_of_another(store):
    first_family = beta_family(summarise(store.table()), (PSNR, SQUEEZE))
    store.append([record | {"psnr_db": 20.0} for record in beta_rows(3.84, **NOISY)])
    summary = summarise(store.table())
    second_family = beta_family(summary, (PSNR, SQUEEZE))
    assert labels(second_family) == ALL_LABELS
    first, second = (
        [[point.means["psnr_db"] for point in points] for points in family.points.values()]
        for family in (first_family, second_family)
    )
    assert first == second
    assert first_family.absence_notes == ()
    (note,) = second_family.absence_notes
    assert note.startswith("left out: ours:beta=3.84 q=0, q=1, q=2: ")
    assert re.findall(r"\((.*?)\)", note) == ["checkpoint noisy", "checkpoint bundled, bundled"]
    sweep = measured_sweep(summary, PSNR, SQUEEZE, next(iter(first_family.points.values()))[1].bpp)
    values = [step.distortion.value for step in sweep.steps]
    assert values == pytest.approx([means[1].value for means in first])
    assert {step.realism.source for step in sweep.steps} == {"checkpoint bundled"}
    assert sweep.curve.edition.run_facts.recorded
    assert sweep.absence_notes == second_family.absence_notes


def test_without_a_complete_build_the_one_with_most_variants_is_joined_and_the_rest_named():
    rows = [*chain(*map(beta_rows, BETAS[:3])), *beta_rows(3.84, **NOISY)]
    result = beta_family(summarise(table(rows)), (PSNR, SQUEEZE))
    assert labels(result) == ALL_LABELS[:3]
    assert "(checkpoint noisy)" in result.absence_notes[0]


def test_of_two_complete_builds_the_newest_is_joined_and_the_other_can_be_named(store):
    store.append([record for beta in BETAS for record in beta_rows(beta, **NOISY)])
    summary = summarise(store.table())
    family = beta_family(summary, (PSNR, SQUEEZE))
    assert {edition.fingerprint for edition in editions(family)} == {"noisy"}
    assert family.absence_notes == ()
    older = one_build(summary, lambda build: build.spec.name == "ours", (PSNR, SQUEEZE), "bundled")
    assert labels(older) == ALL_LABELS
    assert {edition.bundled for edition in editions(older)} == {True}


def test_of_two_builds_the_newest_run_of_any_variant_decides():
    rows = []
    for name, beta_runs in {"newest": ("2025", "2028"), "middle": ("2026", "2026")}.items():
        for beta, run in zip(BETAS, beta_runs, strict=False):
            rows += beta_rows(beta, build=name, run=run)
    family = beta_family(summarise(table(rows)), ())
    assert {edition.build for edition in editions(family)} == {("newest", 1)}


def test_what_lacks_a_metric_is_named_where_it_is_shown():
    rows = [*chain(*map(beta_rows, BETAS))]
    rows = change_rows(rows, {"variant": "beta=0"}, lpips_squeeze=None)
    (message,) = beta_family(summarise(table(rows)), [SQUEEZE]).absence_notes
    reason = "lpips_squeeze of 0 of 3 images: not computed"
    assert message == f"left out: ours:beta=0 q=0, q=1, q=2: {reason}"
    older = beta_rows(0, build="older", run="2024", lpips_squeeze=None)  # is not shown
    assert beta_family(summarise(table([*rows, *older])), [SQUEEZE]).absence_notes == (message,)


def test_variants_are_of_the_default_network_or_of_that_with_most_betas():
    def labels_of(*rows):
        return labels(beta_family(summarise(table([*chain(*rows)])), [PSNR]))

    micro = [beta_rows(beta, options=":size=micro") for beta in BETAS]
    small = [beta_rows(beta, options=":effort=1") for beta in BETAS[:2]]
    webp_rows = [r | {"codec": "webp", "cell": "x" + r["cell"]} for r in beta_rows(0)]
    assert labels_of(*micro, beta_rows(0), webp_rows) == ["ours:beta=0"]
    assert labels_of(*micro, *small) == [f"ours:beta={beta:g}:size=micro" for beta in BETAS]
    groups = (beta_rows(1.28), micro[0], small[0], webp_rows, sweep("ours"))
    firsts = [summarise(table(group)).points[0].edition for group in groups]
    assert [beta_of(edition) for edition in firsts] == [1.28, 0, 0, None, None]
    assert [is_default(edition) for edition in firsts] == [True, False, False, True, True]


def test_a_curve_is_the_newest_build_alone_where_it_lacks_a_metric_that_an_older_one_has(store):
    names = ("lpips_alex", "lpips_squeeze", "lpips_alex_protocol", "lpips_squeeze_protocol")
    changed = {"run": "2027", "decoded_sha256": "other", **dict.fromkeys(names)}
    store.append([row | changed | {"psnr_db": row["psnr_db"] + 1} for row in beta_rows(0, "other")])
    summary = summarise(store.table())
    (first, *_) = curves(summary, PSNR)["ours:beta=0"]
    assert first.means["psnr_db"].value == 31.0
    assert "ours:beta=0" not in curves(summary, SQUEEZE)
    assert {p.edition.bundled for p in summary.replaced} == {True}


def test_of_one_build_a_family_takes_what_was_measured_here_and_the_bundled_rest(store):
    store.append(beta_rows(3.84, run="2027"))
    result = beta_family(summarise(store.table()), (PSNR, SQUEEZE))
    bundled = {label_of(edition.spec): {edition.bundled} for edition in result.points}
    assert bundled == {f"ours:beta={beta:g}": {beta != 3.84} for beta in BETAS}
    assert {len(points) for points in result.points.values()} == {3}
    assert result.absence_notes == ()


def test_variants_of_several_builds_have_names_of_their_own(store):
    store.append([*beta_rows(3.84, **NOISY), *beta_rows(0, options=":size=micro", **NOISY)])
    curves = measured_curves(summarise(store.table()), PSNR)
    names = {label_of(curve.spec): curve.name for curve in curves}
    assert names["ours:beta=3.84"] == "CRDR β=3.84"
    assert names["ours:beta=0"] == "CRDR β=0 (bundled)"
    assert "ours:beta=0:size=micro" in names, "a network of another size is no other build"
