"""Weights that CompressAI publishes, compared with the addresses in its own zoo."""

from pathlib import Path

import pytest

from baselines.compressai.codec import METRICS, QUALITIES, CompressAI, file_pattern, prepare_import
from benchmark.errors import BadOption, UnknownName, UsageError

UNPUBLISHED = "bmshj2018-factorized-relu"


def test_file_patterns_find_the_published_names_and_no_others():
    with prepare_import():
        from compressai.zoo.image import model_urls
    published = {
        url.rpartition("/")[2]: (model, metric, quality)
        for model, by_metric in model_urls.items()
        for metric, by_quality in by_metric.items()
        for quality, url in by_quality.items()
    }
    for model in QUALITIES.keys() - {UNPUBLISHED}:
        for metric in METRICS:
            for quality in range(1, QUALITIES[model] + 1):
                pattern = file_pattern(model, metric, quality)
                hits = [key for name, key in published.items() if Path(name).match(pattern)]
                assert hits == [(model, metric, quality)]
    assert len(published) == 2 * sum(n for model, n in QUALITIES.items() if model != UNPUBLISHED)


def test_the_files_to_fetch_are_those_of_every_quality_of_a_model_and_metric():
    files = CompressAI.published_weights({"model": "cheng2020-attn", "metric": "ms-ssim"})
    assert len(files) == QUALITIES["cheng2020-attn"] == 6
    third = CompressAI.published_weights({"model": "bmshj2018-hyperprior"})[2]
    assert third.name == "bmshj2018-hyperprior-3-6d87be32.pth.tar"
    assert third.url.endswith(f"/{third.name}")
    assert third.sha256 == "6d87be32"
    matched = CompressAI.published_weights({"model": "mbt2018", "weights": "matched"})
    assert {"hyperprior-1.safetensors", "hyperprior-1.json"} <= {file.name for file in matched}


@pytest.mark.parametrize(("options", "error", "match"), [
    ({}, UsageError, "model"), ({"model": "mbt2018", "weights": "random"}, UsageError, "random"),
    ({"model": "mbt2019"}, UnknownName, "Did you mean 'mbt2018'"),
    ({"model": "mbt2018", "metric": "psnr"}, UnknownName, "metric"),
    ({"model": "bmshj2018-factorized-relu"}, BadOption, "no weights are published"),
])  # fmt: skip
def test_options_without_published_files_are_refused(options, error, match):
    with pytest.raises(error, match=match):
        CompressAI.published_weights(options)
