"""`--draws` and `--generations`: a picture that is decoded, or coded, several times."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from benchmark.api.codec import run
from benchmark.codec import Setting
from benchmark.commands.outcome import print_outcome
from benchmark.compare.interval import draw_spreads
from benchmark.errors import Unavailable, UsageError
from benchmark.measure.select import select
from benchmark.metrics.metric import Metric
from benchmark.rows.reduce import summarise_with_distributions
from benchmark.rows.store import Store
from benchmark.show.report.details import draws_table
from benchmark.show.table import plain
from benchmark.spec import CodecSpec, drawings, parse_codec
from support.bench.command import bench
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
    print_outcome(outcome)
    reported = capsys.readouterr().out
    assert plain(draws_table(spreads, [PSNR])) in reported
    assert "Over draws: the lowest and the highest mean of a drawing." in reported


MORE = Path(__file__).parents[1] / "support" / "added" / "darkening.py"
DARKENS = parse_codec(f"{MORE}:Darkens").name


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generations")
    (folder / "photos").mkdir()
    pixels = np.full((24, 32, 3), 100, np.uint8)
    for name in ("a", "b"):
        Image.fromarray(pixels).save(folder / "photos" / f"{name}.png")
        pixels = pixels + np.uint8(50)
    return folder


def measured(folder, generations, codec=DARKENS, **more):
    given = {"metrics": "psnr", "jobs": 2, "results": folder / "results", **more}
    return run([codec], folder / "photos", generations=generations, **given)


def psnr(levels):
    return 20 * np.log10(255 / levels)


def test_each_generation_codes_what_the_one_before_decoded_and_a_finished_run_resumes(folder):
    outcome = measured(folder, 3)
    assert (outcome.measured, outcome.failures) == (4, ())
    store = Store(outcome.matrix.store.folder)
    later = sorted(store.generations().rows(named=True), key=lambda row: row["generation"])
    # Every generation is darker by the setting, 1 or 2 levels, than the one before
    assert [(row["generation"], row["psnr_db"]) for row in later] == [
        (number, pytest.approx(psnr(number * row["setting_value"])))
        for row, number in zip(later, (2,) * 4 + (3,) * 4, strict=True)
    ]
    assert all(store.has_stream(row["stream_sha256"], row["num_bytes"]) for row in later)
    assert measured(folder, 3).measured == 0
    assert measured(folder, 2).measured == 0
    assert measured(folder, 4).measured == 4


def test_rows_of_later_generations_are_in_no_mean(folder):
    measured(folder, 3)
    (store,) = (folder / "results").iterdir()
    rows = Store(store).table()
    assert rows.height == 4
    assert rows["generation"].null_count() == 4


@pytest.mark.parametrize("verb", ["run", "rescore"])
def test_a_new_metric_is_computed_of_later_generations_too(tmp_path, folder, verb):
    results = tmp_path / "results"
    store = Store(measured(folder, 3, results=results).matrix.store.folder)
    if verb == "run":
        assert measured(folder, 3, results=results, metrics="psnr,psnr_y").measured == 0
    else:
        where = ("--dataset", folder / "photos", "--results", results, "--codecs", DARKENS)
        done = bench("rescore", *where, "--metrics", "psnr_y")
        assert "12 rows, 12 lacked" in done.stdout, done.stderr
    later = store.generations()
    assert later["psnr_y_db"].to_list() == pytest.approx(later["psnr_db"].to_list())


def test_a_generation_that_fails_is_a_row_and_ends_the_chain(folder):
    outcome = measured(folder, 5, f"{DARKENS}:patience=2", results=folder / "failing")
    assert len(outcome.failures) == 4
    assert all("generation 3: " in failure.reason for failure in outcome.failures)
    (store,) = (folder / "failing").iterdir()
    assert {row["generation"] for row in Store(store).generations().rows(named=True)} == {2, 3}


def test_pictures_that_were_coded_elsewhere_have_one_generation(folder):
    with pytest.raises(Unavailable, match="--generations needs an encoder here"):
        measured(folder, 2, f"{parse_codec(f'{FAKES}:Told').name}")


def test_the_verb_draws_the_rows_of_a_run(folder):
    results, out = folder / "drawn", folder / "out"
    measured(folder, 3, results=results)
    bench("figures", "generations", "--results", results, "--out", out, code=0)
    assert (out / "generations.png").exists()
    means = pl.read_csv(out / "generations.csv")
    assert means["generation"].to_list() == [1, 2, 3]
    assert means["images"].to_list() == [2, 2, 2]
    assert means["psnr_db"].to_list() == pytest.approx([psnr(2 * number) for number in (1, 2, 3)])
