"""`bench tradeoff` over rows of several builds, or of rows that lack a metric: what it names."""

import re

import numpy as np
import pytest

from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric, protocols
from benchmark.registry import DISTRIBUTION_METRICS, METRICS
from benchmark.rows.store import Store
from support.bench.command import output_of
from support.rows.bundled_results import bundled_results
from support.rows.measured import row, table

IMAGES = ("a", "bb", "ccc")
RULE = {"lpips_squeeze_protocol": protocols(METRICS)["lpips_squeeze"]}
RUN = {"run": "20270101T000000-aa"}
NO_LPIPS = {"lpips_squeeze": None, "lpips_squeeze_protocol": None}


def rows_of_beta(beta, fingerprint="a" * 64, worse=0.0, options="", **columns):
    """Rows of our codec: a realism weight costs PSNR and gains LPIPS."""
    build = {"fingerprint": fingerprint, "codec_version": f"checkpoint {fingerprint[:8]}"}
    variant = {"variant": f"beta={beta}{options}", "setting_name": "q"}
    shared_columns = {**variant, **build, **RULE}
    return [
        row("ours", q, image, num_bytes=1000 * 2**q, psnr_db=30.0 + 3 * q - beta - worse,
            stream_sha256=f"{beta}{options}{q}{image}{fingerprint}{worse}",
            decoded_sha256=f"{beta}{options}{q}{worse}",
            **{"lpips_squeeze": 0.2 / (1 + q + beta) + worse, **shared_columns, **columns})
        for q in (0, 1, 2) for image in IMAGES
    ]  # fmt: skip


@pytest.fixture
def store(tmp_path):
    """Bundled rows of our codec at three realism weights, and of a reference."""
    reference_rows = [
        row("vtm", q, image, num_bytes=1500 * 2**q, lpips_squeeze=0.12 / (1 + q), **RULE)
        for q in (0, 1) for image in IMAGES
    ]  # fmt: skip
    store = Store(tmp_path / "results" / "kodak")
    our_rows = [record for beta in (0, 1, 2) for record in rows_of_beta(beta)]
    store.write_bundled("field", table([*reference_rows, *our_rows]))
    return store


def tradeoff_at(results, *words):
    command = ("tradeoff", "ours", "vtm", "--realism", "lpips_squeeze", *words)
    return output_of(*command, "--results", results)


def tradeoff(store, *words):
    return tradeoff_at(store.folder.parent, *words)


def table_of(text):
    return text[: text.index("kodak, 3 images")]


def test_the_bare_name_of_a_codec_means_its_default_network_without_a_search(store):
    table_before = tradeoff(store)
    for beta in (0, 1):
        store.append(rows_of_beta(beta, "b" * 64, options=":size=micro"))
        store.append(rows_of_beta(beta, worse=-0.1, options=":effort=2"))
    assert table_of(tradeoff(store)) == table_of(table_before)


def test_a_single_image_has_its_difference_and_no_interval(tmp_path):
    reference_rows = row("vtm", 0, "a", num_bytes=1500, psnr_db=20.0, lpips_squeeze=0.12, **RULE)
    ours = [record for beta in (0, 1, 2) for record in rows_of_beta(beta) if record["image"] == "a"]
    Store(tmp_path / "kodak").append([reference_rows, *ours])
    # That of beta 0; realism is between those of beta 0 and 1, which loses up to 1 dB. PSNR rises
    # by 3 dB where bytes double, along a straight line.
    reference_psnr = 30 + 3 * np.log2(1.5)
    (line,) = [text for text in tradeoff_at(tmp_path).splitlines() if text.startswith("vtm")]
    *_, value, difference = line.split()
    assert reference_psnr - 1 < float(value) < reference_psnr
    assert float(difference) == pytest.approx(float(value) - 20, abs=0.002)
    assert "[" not in difference


def test_rows_of_another_network_change_no_number_and_are_named(store):
    output_before = tradeoff(store)
    assert "ours:beta=0, ours:beta=1, ours:beta=2 (checkpoint aaaaaaaa, " in output_before
    assert "beta=2 q=" not in output_before
    store.append(rows_of_beta(2, "b" * 64, worse=0.1, **RUN))
    output_after = tradeoff(store)
    assert table_of(output_after) == table_of(output_before)
    assert "ours:beta=2 (checkpoint aaaaaaaa, bundled)." in output_after
    assert re.search(r"\nours:beta=2 q=0, q=1, q=2: .*\(checkpoint bbbbbbbb\)", output_after)
    output_other = tradeoff(store, "--build", "bbbb")
    assert "ours is interpolated between ours:beta=2 (checkpoint bbbbbbbb)." in output_other
    assert table_of(output_other) != table_of(output_before)


def test_a_variant_without_the_metric_is_named_with_the_number_of_images(store):
    store.append(rows_of_beta(3, **NO_LPIPS, **RUN))
    message = tradeoff(store)
    assert "interpolated between ours:beta=0, ours:beta=1, ours:beta=2 (" in message
    assert "\nours:beta=3 q=0, q=1, q=2: lpips_squeeze of 0 of 3 images: not comp" in message
    store.append(rows_of_beta(3, **RUN)[:-1])  # one image has none at the last setting
    assert "\nours:beta=3 q=2: lpips_squeeze of 2 of 3 images" in tradeoff(store)


def test_nothing_to_compare_is_one_sentence(store):
    with pytest.raises(UsageError, match=r"DISTS.*--distortion psnr"):
        tradeoff(store, "--distortion", "dists")
    rule = {"dists": 0.1, "dists_protocol": protocols(METRICS)["dists"]}
    store.append([row("vtm", 9, image, **rule) for image in IMAGES])
    with pytest.raises(UsageError) as error:
        tradeoff(store, "--distortion", "dists")
    start = "ours has no points with DISTS and LPIPS (SqueezeNet) to compare: left out: ours:beta=0"
    assert str(error.value).startswith(f"{start} q=0, q=1, q=2: dists of 0 of 3 images")
    assert " (and 2 variants more); weights absent: `bench fetch dists`, then " in str(error.value)
    with pytest.raises(UsageError, match=r"ours .*'cc'"):
        tradeoff(store, "--build", "cc")


def test_a_metric_that_no_row_has_is_named_with_the_command_that_makes_it(tmp_path):
    nulls = {"lpips_alex": None, "lpips_alex_protocol": None}
    rows = [row("jpeg", q, image, **nulls) for q in (5, 9) for image in IMAGES]
    user_rows = [record | {"codec": "./mine.py:Mine"} for record in rows]
    Store(tmp_path / "photos").append(
        [*user_rows, *(row("webp", q, image, **nulls) for q in (5, 9) for image in IMAGES)]
    )
    rescore = f"--dataset photos --codecs all,./mine.py:Mine --results {tmp_path}"
    with pytest.raises(UsageError) as error:
        output_of("tradeoff", "mine.py:Mine", "webp", "--results", tmp_path)
    assert str(error.value).startswith("photos has no FID/256: for --realism lpips_squeeze, ")
    assert f"`bench rescore {rescore} --metrics lpips_squeeze`" in str(error.value)


def test_a_metric_of_one_image_and_its_source_is_called_perceptual_quality_and_never_realism():
    message = tradeoff_at(bundled_results())
    assert "equal perceptual quality" in message
    assert "realis" not in message
    kinds = {name: Metric.named(name).kind for name in (*METRICS, *DISTRIBUTION_METRICS)}
    assert {kinds[name] for name in DISTRIBUTION_METRICS} == {"realism"}
    perceptual = {name for name, kind in kinds.items() if kind == "perceptual quality"}
    assert perceptual >= {"lpips", "lpips_squeeze", "lpips_vgg", "dists"}
    assert kinds["psnr"] == kinds["psnr_y"] == kinds["ms_ssim"] == "distortion"
