"""What comes along trained, and the rows that come with it: they belong together."""

from collections import defaultdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from baselines.crdr import CRDR, SHIPPED
from baselines.neural.card import load_card
from benchmark.codec import Setting
from benchmark.datasets.sample import open_sample
from benchmark.image import read_image
from benchmark.metrics.psnr import psnr
from benchmark.store import SHIPPED as SHIPPED_ROWS

RESULTS = Path(__file__).parent.parent / "results"
CARD = load_card(SHIPPED / "ours.safetensors")
LARGEST_BYTES = 24 << 20


def rows_of(dataset):
    """Those of `ours` that come along."""
    return [
        row
        for shard in (RESULTS / dataset / "per_image").glob(f"{SHIPPED_ROWS}-*.parquet")
        for row in pq.read_table(shard).to_pylist()
        if row["codec"] == "ours" and row["fingerprint"] == CARD.sha256
    ]


def test_all_checkpoints_together_are_small():
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) <= LARGEST_BYTES


@pytest.mark.parametrize(("dataset", "images"), [("kodak", 24), ("sample", 4)])
def test_there_are_rows_of_this_very_checkpoint_at_every_rate_and_beta(dataset, images):
    found = {(row["variant"], row["setting_value"], row["image"]) for row in rows_of(dataset)}
    settings = {(variant, q) for variant, q, _ in found}
    assert settings >= {(f"beta={b}", float(q)) for b in (0, 3.84) for q in range(5)}
    assert len({image for *_, image in found}) == images
    assert len(found) == len(settings) * images


def test_rate_and_quality_rise_with_q_and_beta_changes_no_bit():
    sums, num_bytes = defaultdict(list), {}
    for row in rows_of("kodak"):
        beta, q = row["variant"], row["setting_value"]
        sums[beta, q].append((row["bpp"], row["psnr_db"]))
        num_bytes[beta, q, row["image"]] = row["num_bytes"]
    for beta in ("beta=0", "beta=3.84"):
        curve = [[sum(v) for v in zip(*sums[beta, q], strict=True)] for q in range(5)]
        assert curve == sorted(curve)
        assert [psnr_sum for _, psnr_sum in curve] == sorted(value for _, value in curve)
    assert all(
        count == num_bytes["beta=3.84", q, image]
        for (beta, q, image), count in num_bytes.items()
        if beta == "beta=0"
    )


def test_a_row_is_measured_again_here():
    """Another processor may round a latent to the other side: by a thousandth, not more."""
    pixels = {one.name: one.path for one in open_sample().images}
    codec = CRDR(beta=0)
    for row in rows_of("sample"):
        if row["image"] == "coffee.png" and (row["variant"], row["setting_value"]) == ("beta=0", 2):
            source = read_image(pixels["coffee.png"]).pixels
            stream = codec.encode(source, Setting("q", 2))
            assert len(stream) == pytest.approx(row["num_bytes"], rel=1e-3)
            assert psnr(source, codec.decode(stream)) == pytest.approx(row["psnr_db"], abs=0.01)
            break
    else:
        pytest.fail("no row")
