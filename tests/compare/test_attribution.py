"""What an image does to a number: leave-one-out of a mean is exact."""

import numpy as np
import pytest

from benchmark.errors import UsageError
from benchmark.metrics.measure import Measure
from benchmark.rows.reduce import attribution
from support.rows.measured import PROTOCOLS, failed, row, table

VALUES = {"a": 30.0, "bb": 36.0, "ccc": 31.0, "dddd": 27.0}


def rows(codec="jpeg", **columns):
    return [row(codec, 10, name, psnr_db=value, **columns) for name, value in VALUES.items()]


def parts(of, **changes):
    given = {"column": "psnr_db", "protocol": PROTOCOLS["psnr_db"], **changes}
    return attribution(table(of), **given)


def test_without_an_image_the_mean_is_that_of_the_others():
    for part in parts(rows()):
        others = [value for name, value in VALUES.items() if name != part.image]
        assert part.without == pytest.approx(np.mean(others), abs=1e-12)
        assert part.value == pytest.approx(np.mean(list(VALUES.values())), abs=1e-12)


def test_influences_add_up_to_nothing_and_the_largest_comes_first():
    result = parts(rows())
    assert sum(part.influence for part in result) == pytest.approx(0, abs=1e-12)
    assert [part.image for part in result] == ["bb", "dddd", "a", "ccc"]


def test_every_point_has_its_own_parts():
    of = [*rows("jpeg"), *rows("webp"), *(row("jpeg", 20, name) for name in VALUES)]
    result = [(part.label, part.setting) for part in parts(of)]
    assert list(dict.fromkeys(result)) == [
        ("jpeg", "quality=10"),
        ("jpeg", "quality=20"),
        ("webp", "quality=10"),
    ]
    assert len(result) == 12
    values = {(part.label, part.setting): part.value for part in parts(of)}
    ten, twenty = np.mean(list(VALUES.values())), np.mean([24 + n / 7 for n in (1, 2, 3, 4)])
    assert list(values.values()) == pytest.approx([ten, twenty, ten])


def test_failed_cells_other_protocols_and_older_editions_have_no_part():
    older = rows(fingerprint="0" * 64, run="20240101T000000-aa")
    of = [*older, *rows()[:3], failed("jpeg", 10, "dddd", "encode", "no")]
    assert {part.image for part in parts(of)} == {"a", "bb", "ccc"}
    assert parts(rows(), protocol="psnr/other") == []


def test_a_single_image_cannot_be_left_out():
    assert parts(rows()[:1]) == []
    assert sorted(part.without for part in parts(rows()[:2])) == [30, 36]


def test_a_metric_without_influences_has_no_parts():
    column = Measure.named("precision256").column
    with pytest.raises(UsageError, match="gives no influence of an image"):
        parts(rows(), column=column)
