"""`bench check` of measured results as a user runs it: real codecs, files, exit codes."""

import json
import re
import shutil
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import polars as pl
import pytest
import torch
from PIL import Image

from baselines.neural.checkpoint import load_checkpoint, save_checkpoint
from baselines.neural.network_codec import BUNDLED
from benchmark.check.candidate import measure_candidate
from benchmark.check.limits import parse_limits
from benchmark.check.pairing import NotComparable
from benchmark.check.verb import NoVerdict
from benchmark.compare.rank import Target, rank_at
from benchmark.datasets.dataset import open_folder
from benchmark.errors import UnknownName, UsageError
from benchmark.measure.request import Request
from benchmark.metrics.metric import Metric
from benchmark.registry import metric_class
from benchmark.rows.means import summarise
from benchmark.rows.shard import table_of
from benchmark.rows.store import Store
from support.bench.command import output_of, verdict_line
from support.files.noise import noise_images
from support.rows.bundled_results import bundled_results
from support.rows.by_label import compare
from support.rows.measured import row, sweep

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def crops(coffee, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "crops"
    folder.mkdir()
    for number in range(6):
        crop = coffee[40 : 40 + 96, 90 * number : 90 * number + 96]
        Image.fromarray(crop).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def stores(crops, tmp_path_factory):
    """Results of plain JPEG and, in another folder, of JPEG with Huffman tables of each image."""
    folder = tmp_path_factory.mktemp("stored")
    for codec in ("jpeg", "jpeg:optimize=1"):
        words = ("run", "--codecs", codec, "--points", "jpeg.quality=10,30,50,70,90", "--jobs", 1)
        results = folder / codec.replace(":", "-")
        output_of(*words, "--dataset", crops, "--metrics", "psnr", "--results", results)
    return folder


def store_of(results):
    (folder,) = (path.parent for path in results.glob("*/per_image"))
    return folder


def test_a_better_an_equal_and_a_worse_codec_end_with_their_verdicts_and_exit_codes(stores):
    plain, optimised = stores / "jpeg", stores / "jpeg-optimize=1"
    better = output_of("check", plain, optimised)
    assert verdict_line(better).startswith("PASS (improved): ")
    worse = output_of("check", optimised, plain, code=1)
    assert verdict_line(worse).startswith("FAIL (regressed): ")
    equal = output_of("check", plain, plain)
    assert verdict_line(equal).startswith("PASS (equivalent): ")
    for text in (better, worse, equal):
        assert text.splitlines()[0] == verdict_line(text)
    shift = re.search(r"regressed +([+]\S+) %", worse)[1]
    assert verdict_line(worse) == f"FAIL (regressed): PSNR {shift} %"
    assert "worst images" in worse
    assert "worst images" not in equal
    assert "caveat" not in better
    assert " ms_ssim, lpips" in worse


def test_the_bd_rates_are_those_of_a_report(stores):
    words = store_of(stores / "jpeg"), stores / "jpeg-optimize=1"
    result = json.loads(output_of("check", *words, "--json"))
    (finding,) = result["records"]
    tables = [Store(store_of(folder)).table() for folder in stores.iterdir()]
    (record,) = compare(summarise(pl.concat(tables)), Metric.named("psnr"), "jpeg")
    assert finding["change_percent"] == pytest.approx(record["images_bd_rate_percent"])
    assert (finding["images"], len(finding["worst"]), result["exit_code"]) == (6, 3, 0)
    assert finding["lower_percent"] < finding["change_percent"] < finding["upper_percent"] < 0
    (subject,) = result["subjects"]
    assert subject["settings"] == [f"quality={quality}" for quality in (10, 30, 50, 70, 90)]


def test_a_codec_is_measured_once_where_the_reference_was(stores, crops, tmp_path):
    codecs = ("--codec", "jpeg:optimize=1", "--reference-codec", "jpeg", "--metrics", "psnr")
    words = ("check", *codecs, "--against", stores / "jpeg", "--results", tmp_path / "new")
    first = output_of(*words, "--dataset", crops, "--jobs", 1)
    assert "30 cells measured" in first
    second = output_of(*words)
    assert "0 cells measured" in second, "its run says where the reference's images are"
    assert verdict_line(first) == verdict_line(second)
    assert verdict_line(first).startswith("PASS (improved): ")
    assert len(list(tmp_path.rglob("new/*/runs/*.json"))) == 1
    limits = ("--limit", 3, "--points", "jpeg.quality=10,30,50,70", "--margin", "bd_rate=27%")
    limited = output_of(*words, "--dataset", crops, *limits)
    assert "3 images, 4 settings" in limited
    assert verdict_line(limited).startswith("PASS (not worse): PSNR -28"), "some pass the margin"


def test_equal_pixels_and_bytes_pass_in_metrics_that_nobody_computed(stores):
    names = "psnr,lpips,fd_alex,precision256"
    words = ("check", stores / "jpeg", stores / "jpeg", "--metrics", names)
    result = output_of(*words)
    assert verdict_line(result).startswith("PASS (equivalent): ")
    (message,) = [line for line in result.splitlines() if line.startswith("equal: ")]
    assert "6 of 6 images " in message
    assert message.endswith("not computed in both: LPIPS (AlexNet), FD (AlexNet), Precision/256")
    findings = json.loads(output_of(*words, "--json"))["records"]
    assert [finding["metric"] for finding in findings] == names.split(",")
    assert {finding["change_percent"] for finding in findings} == {0.0}
    assert [finding["inferred"] for finding in findings] == [False, True, True, True]


def test_the_same_codec_passes_without_weights(stores, crops, tmp_path, monkeypatch):
    """The reference has LPIPS, and this machine has no weights for it, as after a clone."""
    reference = shutil.copytree(stores / "jpeg", tmp_path / "reference")
    store, lpips = Store(store_of(reference)), metric_class("lpips")
    columns = {f"{lpips.column}_protocol": lpips.protocol, "finished_utc": "9999"}
    rows = store.table().rows(named=True)
    store.append([{**row, lpips.column: row["bpp"] / 9, **columns} for row in rows])
    words = ("check", "--codec", "jpeg", "--against", reference, "--dataset", crops, "--jobs", 1)
    other = ("--codec", "jpeg:optimize=1", "--reference-codec", "jpeg")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "none"))
    result = output_of(*words, "--results", tmp_path / "new")
    output = output_of(*words, *other, "--results", tmp_path / "other", code=4)
    assert verdict_line(output).startswith("NO VERDICT (nothing measured): ")
    lines = result.splitlines()
    assert verdict_line(result).startswith("PASS (equivalent): ")
    announced = "not measured: LPIPS (AlexNet): weights absent (`bench fetch alexnet`)"
    measured = next(n for n, line in enumerate(lines) if "30 cells measured" in line)
    assert lines.index(announced) < measured < lines.index(verdict_line(result))
    reason = r".* 0 of 6 .*\(`bench fetch alexnet`\)"
    assert re.search(rf"(?m)^nothing measured: jpeg:optimize=1, LPIPS .AlexNet.: {reason}$", output)


def test_other_images_and_settings_are_refused_before_anything_is_measured(stores, crops, tmp_path):
    changed_crops = shutil.copytree(crops, tmp_path / "crops")
    Image.new("RGB", (96, 96), "teal").save(changed_crops / "6.png")
    name = open_folder(changed_crops).store_name
    shutil.copytree(store_of(stores / "jpeg"), tmp_path / "old" / name)
    new = ("--results", tmp_path / "new")
    words = ("check", "--codec", "jpeg", "--against", tmp_path / "old", "--dataset", changed_crops)
    result = " ".join(output_of(*words, *new, code=4).split())
    assert f"{name} has 6.png" in result
    assert "--common" in result
    words = ("check", "--codec", "jpeg", "--against", stores / "jpeg", "--dataset", crops)
    result = output_of(*words, *new, "--points", "jpeg.quality=10,20", code=4)
    assert "jpeg has quality=20" in result
    with pytest.raises(UsageError, match=r"avif .*jpeg"):
        output_of(*words, "--codec", "avif", "--reference-codec", "jpeg", *new)
    assert not (tmp_path / "new").exists()


def test_a_reference_that_cannot_be_one_is_refused(stores, crops, tmp_path):
    other_images = noise_images(tmp_path / "others", [(96, 96)])
    words = ("check", "--codec", "jpeg", "--against", stores / "jpeg", "--dataset")
    with pytest.raises(UsageError, match=str(other_images)):
        output_of(*words, other_images, "--results", tmp_path / "new")
    with pytest.raises(UsageError, match="--results"):
        output_of(*words, crops, "--results", stores / "jpeg")
    words = ("check", "--codec", "webp", *words[3:], crops, "--results", tmp_path / "new")
    with pytest.raises(UnknownName, match="'webp'"):
        output_of(*words)
    with pytest.raises(UsageError, match=r"--reference-codec ours .*ours:beta=\S+ or"):
        output_of(*words, "--reference-codec", "ours")
    assert not (tmp_path / "new").exists()


def test_a_baseline_is_saved_once_listed_and_checked_against(stores, crops, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = shutil.copytree(stores / "jpeg", tmp_path / "results")
    folder = results / "baselines" / "v1"
    assert str(folder) in output_of("baseline", "save", "v1", "--results", results)
    assert not list(folder.rglob("streams"))
    (rows,) = folder.rglob("*.parquet")
    assert rows.stat().st_size < 60_000
    assert list(folder.rglob("runs/*.json"))
    assert "v1" in output_of("baseline", "list", "--results", results)
    with pytest.raises(UsageError, match="v1"):
        output_of("baseline", "save", "v1", "--results", results)
    with pytest.raises(UsageError, match=r"\.\./v2"):
        output_of("baseline", "save", "../v2", "--results", results)
    words = ("check", "v1", stores / "jpeg-optimize=1")
    assert verdict_line(output_of(*words)).startswith("PASS (improved): ")
    words = ("check", "--codec", "jpeg:quality=10", "--against", "v1", "--dataset", crops)
    result = output_of(*words, "--metrics", "psnr", "--results", tmp_path / "new")
    assert "6 cells measured" in result, "at the setting that the codec names"
    assert verdict_line(result).startswith("PASS (equivalent)")


def test_a_limit_has_a_verdict_of_its_own(stores, tmp_path):
    words = ("check", stores / "jpeg", stores / "jpeg")
    limits = {
        "PSNR >= 20 at 2 bpp": ("met", 0), "encode at most 40 ms": ("nothing measured", 4),
        "psnr at least 20 at 50 bpp": ("nothing measured", 4),
        "psnr at least 60 at 2 bpp": ("missed", 1),
        "ssim at least 1 at 2 bpp": ("nothing measured", 4),
    }  # fmt: skip
    for limit in [*limits][:2]:
        output_of(*words, "--require", limit, code=limits[limit][1])
    words = *words, *chain(*(("--require", limit) for limit in limits)), "--junit", tmp_path / "x"
    lines = output_of(*words, code=1).splitlines()
    *_, low, last = findings = json.loads(output_of(*words, "--json", code=1))["records"][-5:]
    for finding, (limit, (verdict, _)) in zip(findings, limits.items(), strict=True):
        assert (limit, finding["verdict"]) == (limit, verdict)
        assert f"{verdict}: jpeg, {finding['metric_label']}: {finding['why']}" in lines
    assert re.fullmatch(r"0 of 6 .* \(`bench rescore`\)", last["why"])
    summary = summarise(Store(store_of(stores / "jpeg")).table())
    (ranked,) = rank_at(summary, Target("bpp", 2.0), [Metric.named("psnr")])
    assert low["why"].startswith(f"it is {ranked.record['psnr_db']:.4g} [")
    assert ElementTree.parse(tmp_path / "x").getroot().get("failures") == "1"


def test_seconds_are_those_of_the_slowest_setting_of_rows_timed_alone():
    rows = [
        row("jpeg", q, image, timing=True, encode_seconds=s)
        for q, image, s in ((10, "a", 0.01), (10, "b", 0.02), (90, "a", 0.03), (90, "b", 0.05))
    ]
    for limit, is_met in (("encode at most 40 ms", True), ("encode <= 0.039 s", False)):
        (requirement,) = parse_limits([limit])
        assert requirement.evaluate(None, table_of(rows)) == (is_met, "it is 40 ms at quality=90")
    untimed = table_of([*rows, row("jpeg", 20, "a")])
    assert requirement.evaluate(None, untimed) == (None, "1 row measured without `--timing`")


def test_the_library_example_of_the_documentation_runs(stores, tmp_path, monkeypatch):
    text = (ROOT / "docs" / "check.md").read_text()
    (source,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    for name, codec in (("results", "jpeg"), ("results/checks", "jpeg-optimize=1")):
        shutil.copytree(store_of(stores / codec), tmp_path / name / "kodak")
    printed = []
    exec(source, {"print": lambda *words: printed.append(" ".join(map(str, words)))})
    assert printed[0] == "improved 0"
    assert any("psnr" in line for line in printed[1:])


def test_a_reference_with_two_checkpoints_of_the_codec_needs_one_by_name(tmp_path):
    variants = [f"beta=0:checkpoint={name}.safetensors" for name in "ab"]
    Store(tmp_path / "old" / "sample").append(
        [row("ours", 1, "a", variant=variant, dataset="sample") for variant in variants]
    )
    place = Request(dataset="sample", results=tmp_path / "new"), {"sample": tmp_path / "old/sample"}
    with pytest.raises(UsageError, match=f"ours:{variants[0]} and .* --reference-codec"):
        measure_candidate("ours:beta=0", *place, run=None)
    with pytest.raises(NotComparable, match=f"sample and {tmp_path}"):
        measure_candidate("ours:beta=0", *place, run=None, reference_codec=f"ours:{variants[0]}")


@pytest.mark.parametrize(("codec", "request_", "names", "message"), [
    ("jpeg", {}, "a b", "a, b: "), ("jpeg", {}, "mine", "--dataset path/"),
    ("jpeg", {"device": "abacus"}, "sample", "--device 'abacus'"),
    ("jpeg", {"weights_dir": Path("nowhere")}, "sample", "nowhere"),
    ("jpeg:optimize=1", {}, "sample", "jpeg:optimize=1"), ("command", {}, "sample", "'command:"),
])  # fmt: skip
def test_what_cannot_be_measured_is_refused(tmp_path, codec, request_, names, message):
    rows = [
        row(codec, 5, "a", variant=variant, dataset="sample")
        for codec, variant in (("jpeg", ""), ("command", "encode=x"), ("./mine.py:Mine", ""))
    ]
    folders = {name: tmp_path / name for name in names.split()}
    for folder in folders.values():
        Store(folder).append(rows)
    request = Request(dataset="", results=tmp_path / "new", **request_)
    with pytest.raises((UsageError, UnknownName), match=re.escape(message)):
        measure_candidate(codec, request, folders, run=None)


def requests_of(codec, tmp_path, metrics=(), **options):
    requests = []

    def record(request, matrix):
        requests.append(request)
        return SimpleNamespace(matrix=matrix, rows=table_of([]))

    request = Request(dataset="", metrics=metrics, results=tmp_path)
    folders = {"sample": bundled_results() / "sample"}
    measure_candidate(codec, request, folders, run=record, **options)
    return requests


def test_the_metrics_are_those_of_the_reference_or_those_asked_for(tmp_path):
    (default_request,) = requests_of("jpeg", tmp_path)
    assert default_request.metrics[:3] == ("psnr", "ms_ssim", "lpips")
    (named_request,) = requests_of("jpeg", tmp_path, ("psnr", "vmaf"))
    assert named_request.metrics == ("psnr", "vmaf")


def test_a_checkpoint_is_compared_with_the_variants_of_no_other_bundled_size(tmp_path):
    checkpoint = ROOT / "baselines" / "checkpoints" / "ours.safetensors.xz"
    requests = requests_of("ours", tmp_path, checkpoint=checkpoint)
    codecs = [codec for request in requests for codec in request.codecs]
    assert codecs == [f"ours:beta={beta}:checkpoint={checkpoint}" for beta in ("0", "3.84")]


def test_another_chroma_format_or_tuning_is_a_caveat_in_every_output(tmp_path):
    jpeg, avif, markdown, junit = (tmp_path / name for name in ("jpeg", "avif", "c.md", "c.xml"))
    Store(jpeg / "set").append(sweep("jpeg", chroma="4:2:0", caveat="a trial"))
    Store(avif / "set").append(sweep("avif", chroma="4:4:4", tuned_for="SSIM"))
    words = ("check", jpeg, avif, "--metrics", "psnr")
    text = output_of(*words, "-v", "--markdown", markdown, "--junit", junit)
    (subject,) = json.loads(output_of(*words, "--json"))["subjects"]
    chroma, tuning, caveat = subject["caveats"]
    assert re.match("avif .*chroma .*4:4:4, jpeg .*4:2:0", chroma)
    assert re.match("avif .*SSIM, jpeg ", tuning)
    assert caveat == "jpeg: a trial"
    lines = [f"caveat: {text}" for text in subject["caveats"]]
    assert [line for line in text.splitlines() if line.startswith("caveat")] == lines
    markdown_lines = markdown.read_text().splitlines()
    assert [line[2:] for line in markdown_lines if line.startswith("- caveat")] == lines
    suite = ElementTree.parse(junit).getroot()
    assert suite.findtext("system-out") == "\n".join(lines)
    assert (suite.get("tests"), suite.get("errors")) == ("1", "0")


def test_confidence_is_at_least_a_half_and_below_1(tmp_path):
    Store(tmp_path / "set").append(sweep("jpeg"))
    for confidence, code in ((0.49, 2), (0.5, 0), (0.9999, 0), (0.99995, 2)):
        words = ("check", tmp_path, tmp_path, "--metrics", "psnr", "--confidence", confidence)
        output_of(*words, code=code)


def test_rows_that_cannot_be_read_are_no_regression(tmp_path):
    folder = tmp_path / "old" / "set" / "per_image"
    folder.mkdir(parents=True)
    (folder / "damaged.parquet").write_bytes(b"not parquet")
    with pytest.raises(NoVerdict, match="read") as ended:
        output_of("check", tmp_path / "old", tmp_path / "old")
    assert ended.value.exit_code == 4


def test_a_fault_of_the_harness_is_no_regression(tmp_path, monkeypatch):
    Store(tmp_path / "kodak").append(sweep("jpeg"))
    monkeypatch.setattr("benchmark.check.verdict.check", lambda *_, **options: 1 / 0)
    with pytest.raises(NoVerdict, match="ZeroDivisionError"):
        output_of("check", tmp_path / "kodak", tmp_path / "kodak")


@pytest.mark.slow
def test_a_copied_checkpoint_is_equivalent_and_a_spoilt_one_regressed(crops, tmp_path):
    """The bundled network; an untrained one has no curve, because its rate is constant."""
    shipped = load_checkpoint(BUNDLED / "ours.safetensors.xz")
    copy, spoilt = tmp_path / "again.safetensors", tmp_path / "spoilt.safetensors"
    save_checkpoint(copy, shipped.network, shipped.card, shipped.tables)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weights in shipped.network.named_parameters():
            if name.startswith("synthesis"):
                weights.mul_(1 + 0.03 * torch.randn(weights.shape, generator=random))
    save_checkpoint(spoilt, shipped.network, shipped.card, shipped.tables)
    run = ("--dataset", crops, "--metrics", "psnr", "--jobs", 1)
    points = ("--codecs", "ours:beta=0", "--points", "ours.q=0,1,2,3")
    output_of("run", *points, "--results", tmp_path / "old", *run)
    words = ("check", "--codec", "ours", "--against", tmp_path / "old", *run)
    equal = output_of(*words, "--checkpoint", copy, "--results", tmp_path / "new")
    assert verdict_line(equal).startswith("PASS (equivalent): ")
    worse = output_of(*words, "--checkpoint", spoilt, "--results", tmp_path / "new", code=1)
    assert verdict_line(worse).startswith("FAIL (regressed): ")
    assert "worst images" in worse
