"""Bundled checkpoints and the rows measured with them: they belong together."""

from collections import defaultdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from baselines.crdr import CRDR
from baselines.field import Elic
from baselines.neural.checkpoint.card import load_card
from baselines.neural.checkpoint_codec import BUNDLED
from benchmark.codec import Setting
from benchmark.datasets.image import read_image
from benchmark.datasets.sample import open_sample
from benchmark.metrics.psnr import psnr
from benchmark.rows.store import SHIPPED as STORED_ROWS
from support.networks.tiny_architecture import write_tiny

RESULTS = Path(__file__).parents[2] / "results"
CARD, MICRO = (load_card(BUNDLED / f"{name}.safetensors") for name in ("ours", "ours-micro"))
BETAS = ("beta=0", "beta=1.28", "beta=2.56", "beta=3.84")
SIZE = ":size=micro"


def shipped(dataset, codec):
    """Bundled rows; of `ours`, those of the bundled checkpoints."""
    fingerprints = {True: MICRO.sha256, False: CARD.sha256}  # by whether the size is asked for
    return [
        row
        for shard in (RESULTS / dataset / "per_image").glob(f"{STORED_ROWS}-*.parquet")
        for row in pq.read_table(shard).to_pylist()
        if row["codec"] == codec
        and (codec != "ours" or row["fingerprint"] == fingerprints[SIZE in row["variant"]])
    ]


@pytest.mark.parametrize(
    ("dataset", "images", "betas"), [("kodak", 24, BETAS), ("sample", 4, (BETAS[0], BETAS[-1]))]
)
def test_there_are_rows_of_this_very_checkpoint_at_every_rate_and_beta(dataset, images, betas):
    found = {
        (row["variant"], row["setting_value"], row["image"]) for row in shipped(dataset, "ours")
    }
    settings = {(variant, q) for variant, q, _ in found}
    assert settings >= {(beta, q / 2) for beta in betas for q in range(9)}
    assert settings >= {(f"{beta}{SIZE}", q) for beta in betas for q in range(5)}
    assert len({image for *_, image in found}) == images
    assert len(found) == len(settings) * images


def test_beta_changes_no_bit():
    num_bytes = defaultdict(set)
    for row in shipped("kodak", "ours"):
        if row["variant"] in BETAS:
            num_bytes[row["setting_value"], row["image"]].add(row["num_bytes"])
    assert len(num_bytes) == 9 * 24
    assert all(len(sizes) == 1 for sizes in num_bytes.values())


def test_a_row_is_measured_again_here():
    """Another processor may round a latent to the other side: by a thousandth, not more."""
    pixels = {one.name: one.path for one in open_sample().images}
    codec = CRDR(beta=0)
    for row in shipped("sample", "ours"):
        if row["image"] == "coffee.png" and (row["variant"], row["setting_value"]) == ("beta=0", 2):
            source = read_image(pixels["coffee.png"]).pixels
            stream = codec.encode(source, Setting("q", 2))
            assert len(stream) == pytest.approx(row["num_bytes"], rel=1e-3)
            assert psnr(source, codec.decode(stream)) == pytest.approx(row["psnr_db"], abs=0.01)
            break
    else:
        pytest.fail("no row")


def test_bundled_levels_do_not_mix_with_those_among_the_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    assert [setting.value for setting in Elic().sweep] == [1, 2, 3, 4]
    write_tiny(tmp_path / "elic-2.safetensors", "elic")
    assert [setting.value for setting in Elic().sweep] == [2]
    assert Elic().describe().caveat == "untrained"
