"""The words of `bench tradeoff` on the bundled rows, and the kinds of metrics behind them."""

from pathlib import Path

from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.metrics.measure import Measure
from benchmark.registry import DISTRIBUTION_METRICS, METRICS

RESULTS = Path(__file__).parents[2] / "results"


def test_a_metric_of_one_image_and_its_source_is_called_perceptual_quality_and_never_realism():
    words = ["tradeoff", "ours", "vtm", "--realism", "lpips_squeeze", "--results", str(RESULTS)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "equal perceptual quality: ours interpolated" in done.output
    assert "realis" not in done.output


def test_every_metric_says_what_it_measures():
    kinds = {name: Measure.named(name).kind for name in (*METRICS, *DISTRIBUTION_METRICS)}
    assert {kinds[name] for name in DISTRIBUTION_METRICS} == {"realism"}
    perceptual = {name for name, kind in kinds.items() if kind == "perceptual quality"}
    assert perceptual >= {"lpips", "lpips_squeeze", "lpips_vgg", "dists"}
    assert kinds["psnr"] == kinds["psnr_y"] == kinds["ms_ssim"] == "distortion"
