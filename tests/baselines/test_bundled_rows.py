"""Bundled checkpoints, typical seconds, and the rows measured with them: they belong together."""

from collections import defaultdict
from functools import cache

import numpy as np
import polars as pl
import pytest

from baselines.compressai.codec import CompressAI
from baselines.crdr import CRDR
from baselines.field import Elic
from baselines.neural.card import load_card
from baselines.neural.network_codec import BUNDLED
from benchmark.codec import Setting
from benchmark.compare.rate_quality import RateQuality, bd_rate
from benchmark.compare.rule import USUAL_RULE
from benchmark.datasets.image import read_image
from benchmark.datasets.kodak import open_sample
from benchmark.facts import facts_of
from benchmark.measure.estimate import interpolate
from benchmark.metrics.psnr import psnr
from benchmark.rows.shard import SHIPPED as STORED_ROWS
from benchmark.rows.store import Store
from benchmark.spec import CodecSpec
from support.networks.tiny_architecture import write_tiny
from support.rows.bundled_results import bundled_results

CARD, MICRO = (load_card(BUNDLED / f"{name}.safetensors.xz") for name in ("ours", "ours-micro"))
HYPERPRIOR = "model=bmshj2018-hyperprior:weights=matched"
BETAS = ("beta=0", "beta=1.28", "beta=2.56", "beta=3.84")
SIZE = ":size=micro"
COLUMNS = ("bpp", "psnr_db", "lpips_squeeze")


def shipped(dataset, codec):
    """Return the bundled rows of a codec; for `ours`, those of the bundled checkpoints."""
    fingerprints = {True: MICRO.sha256, False: CARD.sha256}  # key: whether the variant names a size
    return [
        row
        for shard in (bundled_results() / dataset / "per_image").glob(f"{STORED_ROWS}-*.parquet")
        for row in pl.read_parquet(shard).rows(named=True)
        if row["codec"] == codec
        and (codec != "ours" or row["fingerprint"] == fingerprints[SIZE in row["variant"]])
    ]


@cache
def means_on_kodak(codec, variant):
    values = defaultdict(list)
    for row in shipped("kodak", codec):
        if row["variant"] == variant:
            values[row["setting_value"]].append([row[column] for column in COLUMNS])
    means = ((setting, np.mean(rows, axis=0)) for setting, rows in values.items())
    points = {setting: dict(zip(COLUMNS, mean, strict=True)) for setting, mean in means}
    return dict(sorted(points.items(), key=lambda item: item[1]["bpp"]))


def psnr_curve(codec, variant):
    means = means_on_kodak(codec, variant).values()
    return RateQuality(*(np.array([point[column] for point in means]) for column in COLUMNS[:2]))


def test_all_checkpoints_together_are_small():
    assert sum(path.stat().st_size for path in BUNDLED.iterdir()) <= 62_000_000


@pytest.mark.parametrize(
    ("dataset", "images", "betas"), [("kodak", 24, BETAS), ("sample", 4, (BETAS[0], BETAS[-1]))]
)
def test_there_are_rows_of_exactly_this_checkpoint_at_every_rate_and_beta(dataset, images, betas):
    rows = shipped(dataset, "ours")
    result = {(row["variant"], row["setting_value"], row["image"]) for row in rows}
    settings = {(variant, q) for variant, q, _ in result}
    assert settings >= {(beta, q / 2) for beta in betas for q in range(9)}
    assert settings >= {(f"{beta}{SIZE}", q) for beta in betas for q in range(5)}
    assert len({image for *_, image in result}) == images
    assert len(result) == len(settings) * images


def test_beta_changes_no_bit_and_each_step_of_the_dial_has_a_tenth_of_the_gain():
    rows = [row for row in shipped("kodak", "ours") if row["variant"] in BETAS]
    sizes = {(row["setting_value"], row["image"], row["num_bytes"]) for row in rows}
    assert len(sizes) == len({(q, image) for q, image, _ in sizes}) == 9 * 24
    for q in range(5):  # at most half a decibel, which a judge that it never met sees
        plain, real = (means_on_kodak("ours", beta)[q] for beta in (BETAS[0], BETAS[-1]))
        assert 0 < plain["psnr_db"] - real["psnr_db"] <= 0.5
        assert real["lpips_squeeze"] <= 0.75 * plain["lpips_squeeze"]
    curves = (means_on_kodak("ours", beta) for beta in (BETAS[0], "beta=0.64", *BETAS[1:]))
    means = [np.mean([points[q]["lpips_squeeze"] for q in range(5)]) for points in curves]
    assert min(-np.diff(means) / (means[0] - means[-1])) >= 0.1


@pytest.mark.parametrize(("codec", "variant", "size", "max_percent"), [
    ("jpeg", "optimize=1", "", -55), ("webp", "", "", 0), ("jpeg2000", "", "", 0),
    ("compressai", HYPERPRIOR, SIZE, 0),  # four networks of the same budget
])  # fmt: skip
def test_one_network_needs_fewer_bits_at_equal_psnr(codec, variant, size, max_percent):
    anchor, ours = psnr_curve(codec, variant), psnr_curve("ours", f"{BETAS[0]}{size}")
    assert min(len(anchor.bpp), len(ours.bpp)) >= 4
    assert list(anchor.quality) == sorted(anchor.quality)
    assert bd_rate(anchor, ours, USUAL_RULE).value < max_percent


def test_there_are_rows_of_exactly_the_bundled_hyperpriors():
    codec, numbers = CompressAI(model="bmshj2018-hyperprior", weights="matched"), [1, 2, 3, 4]
    assert [setting.value for setting in codec.sweep] == numbers
    info = codec.describe()
    for dataset, images in (("kodak", 24), ("sample", 4)):
        rows = [row for row in shipped(dataset, "compressai") if row["variant"] == HYPERPRIOR]
        assert {row["fingerprint"] for row in rows} == {info.fingerprint}
        assert {row["caveat"] for row in rows} == {info.caveat}
        assert len({(row["setting_value"], row["image"]) for row in rows}) == len(rows)
        assert len(rows) == len(numbers) * images


def test_a_row_is_measured_again_here():
    """Another processor may round a latent to the other side: by a thousandth, not more."""
    cell = {"image": "coffee.png", "variant": "beta=0", "setting_value": 2}
    row = next(row for row in shipped("sample", "ours") if cell.items() <= row.items())
    (path,) = (image.path for image in open_sample().images if image.name == "coffee.png")
    codec, pixels = CRDR(beta=0), read_image(path).pixels
    stream = codec.encode(pixels, Setting("q", 2))
    assert len(stream) == pytest.approx(row["num_bytes"], rel=1e-3)
    assert psnr(pixels, codec.decode(stream)) == pytest.approx(row["psnr_db"], abs=0.01)


def test_bundled_levels_do_not_mix_with_those_among_the_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    assert [setting.value for setting in Elic().sweep] == [1, 2, 3, 4]
    write_tiny(tmp_path / "elic-2.safetensors", "elic")
    assert [setting.value for setting in Elic().sweep] == [2]
    assert Elic().describe().caveat == "untrained"


def test_typical_seconds_are_those_of_one_session_of_cells_alone_on_one_machine():
    session = Store(bundled_results() / "seconds" / "results" / "kodak").table()
    assert session["machine"].n_unique() == 1
    assert set(session["timing"]) == {True}
    assert set(session["image"]) == {f"kodim{number:02}.png" for number in range(1, 5)}
    megapixels = pl.col("width_px") * pl.col("height_px") / 1e6
    seconds = (pl.col("encode_seconds") + pl.col("decode_seconds")) / megapixels
    cell = ("codec", "variant", "setting_name", "setting_value")
    for codec, variant, name, value, measured in session.group_by(cell).agg(seconds.mean()).rows():
        typical = facts_of(CodecSpec.parse(codec, variant)).typical
        declared = next(t.seconds for t in typical if (t.device, t.setting) == ("cpu", name))
        np.testing.assert_allclose(interpolate(declared, value), measured, 0, 0.2 * measured)
