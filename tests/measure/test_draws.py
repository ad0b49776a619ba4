"""`--draws`: pictures that are decoded with several seeds."""

import csv
import json
import sys
from statistics import mean, stdev

import numpy as np
import polars as pl
import pytest
from PIL import Image

import benchmark
from benchmark.api.codec import run
from benchmark.commands.outcome import print_outcome
from benchmark.compare.experiment import Experiment
from benchmark.compare.interval import draw_spreads
from benchmark.compare.rule import USUAL_RULE
from benchmark.datasets.image import read_image
from benchmark.datasets.kodak import open_sample
from benchmark.errors import BadOption, UsageError
from benchmark.measure.select import select
from benchmark.metrics.metric import Metric
from benchmark.rows.names import find_editions, find_variant
from benchmark.rows.reduce import summarise_with_distributions
from benchmark.rows.store import Store
from benchmark.rows.variants import editions_in
from benchmark.show.paper.own_figures import FIGURES
from benchmark.show.report.details import draws_table
from benchmark.show.table import plain
from benchmark.spec import CodecSpec, load_codec, parse_codec, seeded_variants
from benchmark.system.digest import pixels_sha256
from support.bench.command import bench
from support.codecs.copying_worker import contender
from support.codecs.files import FAKES
from support.rows.measured import row as measured_row

DRAWS = parse_codec(f"{FAKES}:Draws").name  # as in results
HONEST = DRAWS.replace("Draws", "Honest")
PSNR = Metric.named("psnr")


def test_a_codec_that_draws_becomes_a_variant_for_each_seed_and_others_stay():
    variants = [spec.variant for spec in seeded_variants(parse_codec(f"{DRAWS}:strength=2"), 3)]
    assert variants == ["strength=2", "seed=1:strength=2", "seed=2:strength=2"]
    for spec in (parse_codec("jpeg"), parse_codec(f"{DRAWS}:seed=7")):
        assert seeded_variants(spec, 3) == [spec]
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


def test_every_seed_is_measured_from_the_same_bytes_and_decoded_to_its_picture(outcome):
    assert not outcome.failures
    rows = [row for row in outcome.rows.rows(named=True) if row["codec"] == DRAWS]
    places = outcome.rows.filter(codec=DRAWS).group_by("image", "setting_value")
    digests = places.agg(pl.col("stream_sha256", "decoded_sha256").n_unique())
    assert {*digests["stream_sha256"]} == {1}
    assert {*digests["decoded_sha256"]} == {3}
    assert {row["variant"] for row in rows} == {"", "seed=1", "seed=2"}
    for variant, spec in (("", DRAWS), ("seed=2", f"{DRAWS}:seed=2")):
        row = next(row for row in rows if row["variant"] == variant)
        setting = {row["setting_name"]: row["setting_value"]}
        pixels = benchmark.decoded(outcome.matrix.store.folder, spec, row["image"], **setting)
        assert pixels_sha256(pixels) == row["decoded_sha256"]


def test_the_spread_over_draws_is_next_to_that_over_images(outcome, capsys):
    summary = summarise_with_distributions(outcome.rows, outcome.matrix.store.folder, ("psnr",))
    spreads = draw_spreads(summary, [PSNR])
    assert [spread["label"] for spread in spreads] == [CodecSpec(DRAWS, ()).label] * 3
    assert {spread["draws"] for spread in spreads} == {3}
    for spread in spreads:
        value = float(spread["setting"].partition("=")[2])
        rows = outcome.rows.filter(codec=DRAWS, setting_value=value)
        means = rows.group_by("variant").agg(pl.col("psnr_db").mean())["psnr_db"].to_list()
        assert len(means) == 3
        mean, draws, images = (spread[name] for name in ("mean", "over_draws", "over_images"))
        assert draws == pytest.approx((min(means), max(means)))
        assert mean == pytest.approx(np.mean(means))
        assert draws.low < mean < draws.high
        assert images.low < mean < images.high
        assert images.high - images.low > draws.high - draws.low
    print_outcome(outcome, USUAL_RULE)
    reported = capsys.readouterr().out
    assert plain(draws_table(spreads, [PSNR])) in reported
    assert "Over draws: " in reported


def test_a_report_shows_a_codec_that_draws_once(outcome):
    words = "report", "--dataset", "sample", "--results", outcome.matrix.store.folder.parent
    (report,) = json.loads(bench(*words, "--codecs", f"{DRAWS},{HONEST}", "--json", code=0).stdout)
    labels = {record["codec"] for record in report["summary"]}
    assert labels == {CodecSpec(name, ()).label for name in (DRAWS, HONEST)}


def test_each_drawing_is_decoded_again_where_its_codec_is_named(outcome):
    results = outcome.matrix.store.folder.parent
    figure = FIGURES["crops"](Experiment(results, "sample", codecs=f"{DRAWS},{HONEST}"))
    variants = {record["variant"] for record in figure.drawing.records if record["codec"] == DRAWS}
    assert variants == {"", "seed=1", "seed=2"}
    assert not [text for text in figure.sentences if "Draws" in text]


NOISE = """
import numpy
def noisy(pixels, seed):
    noise = numpy.random.default_rng(seed).integers(-9, 10, pixels.shape)
    return numpy.clip(pixels.astype(int) + noise, 0, 255).astype("uint8")
"""
PROGRAM = f"""{NOISE}
import sys
from PIL import Image
decoded = noisy(numpy.asarray(Image.open(sys.argv[1])), int(sys.argv[3]))
Image.fromarray(decoded).save(sys.argv[2])
"""
WORKER = f"""{NOISE}
from rdrbench_worker import Pixels, serve
class Noisy:
    sweep = [("q", 1)]
    decoder_needs = ("size",)
    def __init__(self, seed=0):
        self.seed = seed
    def encode(self, pixels, setting):
        return pixels.data
    def decode(self, data, size):
        picture = Pixels(size[0], size[1], data).numpy()
        return Pixels.from_numpy(noisy(picture, self.seed))
serve(Noisy)
"""


def noisy(pixels, seed):
    names = {}
    exec(NOISE, names)
    return names["noisy"](pixels, seed)


def command(folder, _):
    (folder / "decode.py").write_text(PROGRAM)
    decode = f"{sys.executable} {folder}/decode.py {{in}} {{out}} {{seed}}"
    return f"command:encode=cp {{in}} {{out}}:decode={decode}:extension=png:values=1:name=Noisy"


def worker(folder, _):
    fields = {"name": "'Noisy'", "python": f"'{sys.executable}'"}
    return f"worker:{contender(folder / 'worker', WORKER, **fields)}"


def folder_of_seeds(folder, image):
    stem, pixels = image.name.rpartition(".")[0], read_image(image.path).pixels
    for seed, number in enumerate((1, 2, 10)):
        (folder / f"pictures/seed{number}").mkdir(parents=True)
        picture = folder / f"pictures/seed{number}/{stem}_0.25bpp.png"
        Image.fromarray(noisy(pixels, seed)).save(picture)
    return f"folder:path={folder}/pictures:seeds=seed*:name=Noisy"


@pytest.mark.parametrize("kind", [command, worker, folder_of_seeds])
def test_codecs_of_every_kind_draw(kind, tmp_path):
    image = open_sample().images[0]
    text = kind(tmp_path, image)
    result = run([text], "sample", metrics="psnr", draws=3, limit=1, jobs=1, results=tmp_path / "r")
    assert not result.failures
    rows = {dict(CodecSpec.parse_row(row).options).get("seed", "0"): row
            for row in result.rows.rows(named=True)}  # fmt: skip
    source = read_image(image.path).pixels
    expected = {str(seed): pixels_sha256(noisy(source, seed)) for seed in range(3)}
    assert {seed: row["decoded_sha256"] for seed, row in rows.items()} == expected
    assert len({(row["stream_sha256"], row["num_bytes"]) for row in rows.values()}) == 1
    editions = editions_in(result.rows)
    titles = ["Noisy", "Noisy (seed 1)", "Noisy (seed 2)"]
    assert sorted(edition.title for edition in editions) == titles
    assert len(find_editions(["Noisy"], editions)) == 3
    assert find_variant("Noisy", editions).variant == rows["0"]["variant"]


def test_a_seed_that_a_codec_cannot_use_is_refused(tmp_path):
    image = open_sample().images[0]
    seedless_worker = f"worker:{contender(tmp_path / 'silent')}"
    copy = "command:encode=cp {in} {out}:decode=cp {in} {out}:values=1"
    for text in (seedless_worker, copy):
        assert len(seeded_variants(parse_codec(text), 3)) == 1
    invalid_texts = f"{copy}:seed=1", f"{folder_of_seeds(tmp_path, image)}:seed=3"
    for text in (*invalid_texts, copy.replace("cp {in} {out}", "echo {in} {out} {seed}", 1)):
        with pytest.raises(BadOption, match="seed"):
            load_codec(parse_codec(text))
    with pytest.raises(BadOption, match="seed=0"):
        load_codec(parse_codec(f"{seedless_worker}:seed=1")).describe()


GAINS = 2.0, 2.5, 3.5  # dB over the anchor, by seed


@pytest.fixture
def drawn_lines(tmp_path):
    """Anchor that rises by 10 dB per doubling of the rate, and seeds of a codec above it."""
    lines = {("jpeg", ""): 0.0}
    lines |= {("mine.py:Gen", f"seed={s}" if s else ""): gain for s, gain in enumerate(GAINS)}
    Store(tmp_path / "set").append(
        measured_row(codec, n, image, variant=variant, num_bytes=100 * 2**n,
                     psnr_db=20.0 + 10 * n + gain + offset)
        for (codec, variant), gain in lines.items()
        for n in range(4)
        for image, offset in (("a", -1), ("bb", 1))
    )  # fmt: skip
    return "--results", tmp_path, "--dataset", "set", "--metrics", "psnr", "--out", tmp_path / "out"


def read_csv(drawn_lines, name):
    with (drawn_lines[-1] / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_table_has_mean_and_deviation_over_seeds_next_to_the_interval(drawn_lines):
    bench("table", *drawn_lines, "--anchor", "jpeg", code=0)
    rates = [100 * (2 ** (-gain / 10) - 1) for gain in GAINS]
    _, codec_row = read_csv(drawn_lines, "table.csv")
    assert codec_row["label"] == "mine.py:Gen"
    prefix = "set psnr_db bd_rate_"
    assert float(codec_row[f"{prefix}percent"]) == pytest.approx(mean(rates), abs=1e-9)
    assert int(codec_row[f"{prefix}seeds"]) == 3
    deviation = float(codec_row[f"{prefix}seeds_standard_deviation_percent"])
    assert deviation == pytest.approx(stdev(rates), abs=1e-9)
    low, high = (float(codec_row[f"{prefix}{end}_percent"]) for end in ("low", "high"))
    mean_rate = 100 * (2 ** (-mean(GAINS) / 10) - 1)  # equal in both images: no width
    assert (low, high) == pytest.approx((mean_rate, mean_rate), abs=1e-9)
    assert f"{mean(rates):.1f} ± {stdev(rates):.1f} [" in (drawn_lines[-1] / "table.md").read_text()


def test_a_figure_has_one_curve_with_the_spread_over_seeds(drawn_lines):
    bench("figures", "rd", *drawn_lines, "--anchor", "jpeg", "--format", "png", code=0)
    records = read_csv(drawn_lines, "rd.csv")
    assert [record["system"] for record in records] == ["JPEG"] * 4 + ["Gen"] * 4
    for n, record in enumerate(records[4:]):
        expected = [20 + 10 * n + gain for gain in (mean(GAINS), GAINS[0], GAINS[-1])]
        numbers = [float(record[name]) for name in ("value", "seeds_low", "seeds_high")]
        assert numbers == pytest.approx(expected, abs=1e-9)
        assert float(record["seeds_standard_deviation"]) == pytest.approx(stdev(GAINS), abs=1e-9)
    assert {record["seeds"] for record in records} == {"0", "3"}
    assert "3 seeds" in (drawn_lines[-1] / "rd.txt").read_text()
