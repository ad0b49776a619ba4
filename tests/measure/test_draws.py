"""`--draws`: a picture that is decoded several times."""

import numpy as np
import pytest

from benchmark.api.codec import run
from benchmark.codec import Setting
from benchmark.commands.outcome import print_outcome
from benchmark.compare.interval import draw_spreads
from benchmark.compare.rule import USUAL_RULE
from benchmark.errors import UsageError
from benchmark.measure.select import select
from benchmark.metrics.metric import Metric
from benchmark.rows.reduce import summarise_with_distributions
from benchmark.show.report.details import draws_table
from benchmark.show.table import plain
from benchmark.spec import CodecSpec, drawings, parse_codec
from support.codecs.files import FAKES

DRAWS = parse_codec(f"{FAKES}:Draws").name  # as results name it
HONEST = DRAWS.replace("Draws", "Honest")
PSNR = Metric.named("psnr")


def test_a_codec_that_draws_becomes_a_variant_for_each_seed_and_others_stay():
    specs = drawings(parse_codec(f"{DRAWS}:strength=2"), 3)
    assert [spec.variant for spec in specs] == [
        *("strength=2", "seed=1:strength=2", "seed=2:strength=2")
    ]
    for alone in (parse_codec("jpeg"), parse_codec(f"{DRAWS}:seed=7")):
        assert drawings(alone, 3) == [alone]
    assert len(select([DRAWS, HONEST], {}, draws=4).contenders) == 5
    assert len(select([DRAWS, HONEST], {}).contenders) == 2
    with pytest.raises(UsageError, match="--draws 4"):
        select([HONEST, "jpeg"], {}, draws=4)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    return run(
        [DRAWS, HONEST], "sample", metrics="psnr", draws=3, limit=2, jobs=1,
        results=tmp_path_factory.mktemp("results"),
    )  # fmt: skip


def test_every_seed_is_measured_from_the_same_bytes(outcome):
    assert not outcome.failures
    rows = [row for row in outcome.rows.rows(named=True) if row["codec"] == DRAWS]
    streams, pictures = {}, {}
    for row in rows:
        place = row["image"], row["setting_value"]
        streams.setdefault(place, set()).add(row["stream_sha256"])
        pictures.setdefault(place, set()).add(row["decoded_sha256"])
    assert {len(found) for found in streams.values()} == {1}
    assert {len(found) for found in pictures.values()} == {3}
    assert {row["variant"] for row in rows} == {"", "seed=1", "seed=2"}


def test_the_spread_over_draws_stands_beside_that_over_images(outcome, capsys):
    summary = summarise_with_distributions(outcome.rows, outcome.matrix.store.folder, ("psnr",))
    spreads = draw_spreads(summary, [PSNR])
    assert [spread["label"] for spread in spreads] == [CodecSpec(DRAWS, ()).label] * 3
    assert {spread["draws"] for spread in spreads} == {3}
    for spread in spreads:
        rows = [
            (row["variant"], row["psnr_db"])
            for row in outcome.rows.rows(named=True)
            if row["codec"] == DRAWS
            and spread["setting"] == str(Setting(row["setting_name"], row["setting_value"]))
        ]
        means = [
            np.mean([psnr for name, psnr in rows if name == each])
            for each in ("", "seed=1", "seed=2")
        ]
        mean, draws, images = (spread[name] for name in ("mean", "over_draws", "over_images"))
        assert draws == pytest.approx((min(means), max(means)))
        assert mean == pytest.approx(np.mean(means))
        assert draws.low < mean < draws.high
        assert images.low < mean < images.high
        assert images.high - images.low > draws.high - draws.low
    print_outcome(outcome, USUAL_RULE)
    reported = capsys.readouterr().out
    assert plain(draws_table(spreads, [PSNR])) in reported
    assert "Over draws: the lowest and the highest mean of a drawing." in reported
