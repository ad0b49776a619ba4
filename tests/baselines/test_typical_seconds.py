"""The typical seconds of codecs are those of one session on one machine, whose rows are bundled."""

import numpy as np
import polars as pl

from benchmark.facts import facts_of
from benchmark.measure.estimate import interpolate
from benchmark.rows.store import Store
from benchmark.spec import CodecSpec
from support.rows.bundled_results import bundled_results

SESSION = Store(bundled_results() / "seconds" / "results" / "kodak").table()


def test_a_session_is_of_one_machine_and_of_cells_alone():
    assert SESSION["machine"].n_unique() == 1
    assert set(SESSION["timing"]) == {True}
    assert set(SESSION["image"]) == {f"kodim{number:02}.png" for number in range(1, 5)}


def test_typical_seconds_are_those_of_the_session():
    megapixels = pl.col("width_px") * pl.col("height_px") / 1e6
    seconds = (pl.col("encode_seconds") + pl.col("decode_seconds")) / megapixels
    points = SESSION.group_by("codec", "variant", "setting_name", "setting_value").agg(
        seconds.mean()
    )
    for codec, variant, name, value, measured in points.rows():
        typical = facts_of(CodecSpec.parse(codec, variant)).typical
        declared = next(
            timing.seconds
            for timing in typical
            if timing.device == "cpu" and timing.setting == name
        )
        np.testing.assert_allclose(interpolate(declared, value), measured, 0, 0.2 * measured)
