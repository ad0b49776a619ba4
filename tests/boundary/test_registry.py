"""Names to codecs: specs as typed, options converted, one helpful error for each mistake."""

import pytest
from PIL import Image

from baselines.compressai import codec as weights
from benchmark import registry
from benchmark.compare.rank import Target, parse_target
from benchmark.datasets.dataset import open_dataset
from benchmark.errors import BadOption, Unavailable, UnknownName
from benchmark.registry import ALIASES, DISTRIBUTION_METRICS, METRICS, dataset_opener, metric_class
from benchmark.rows.schema import metric_names
from benchmark.spec import CodecSpec, load_codec, parse_codec, resolve
from support.codecs.files import FAKES


@pytest.mark.parametrize("text", [
    "jpeg", "jpeg:optimize=1:subsampling=444", r"command:decode=a\:b:encode=x\,y", "./m.py:M:a=1",
])  # fmt: skip
def test_a_spec_goes_to_text_and_back(text):
    spec = parse_codec(text)
    assert spec.text == text
    assert CodecSpec.parse(spec.name, spec.variant) == spec


def test_a_misspelt_name_gets_a_suggestion():
    for look_up, name, near in (
        (parse_codec, "jpgeg", "jpeg"), (metric_class, "ms-ssim", "ms_ssim"),
        (dataset_opener, "kodac", "kodak"), (open_dataset, "kodac", "kodak"),
        (metric_names, "psnr,lpps", "lpips"), (metric_names, "psnr_rgb_d", "psnr"),
        (metric_names, "fidd", "fid256"),
    ):  # fmt: skip
        with pytest.raises(UnknownName, match=f"Did you mean '{near}'"):
            look_up(name)


@pytest.mark.parametrize(("words", "name"), [
    ("fid FID fid256 FID-256", "fid256"), ("kid kid256", "kid256"), ("psnr PSNR psnr_db", "psnr"),
    ("lpips lpips-alex LPIPS_alex lpips_alexnet", "lpips"),
    ("ms-ssim MS_SSIM msssim", "ms_ssim"), ("psnr-y psnr_y_db", "psnr_y"),
])  # fmt: skip
def test_a_metric_is_known_by_its_name_its_column_and_the_usual_words(words, name):
    assert metric_names(words.split()) == (name,)
    assert {*map(parse_target, (f"{word}=2" for word in words.split()))} == {Target(name, 2.0)}


def test_every_word_for_a_metric_is_of_one_metric_and_of_no_other_name_or_column():
    classes = {name: metric_class(name) for name in (*METRICS, *DISTRIBUTION_METRICS)}
    words = [word for metric in classes.values() for word in metric.words.split()]
    columns = (kind.column for kind in classes.values())
    names = {*map(registry.normalise_name, (*classes, *columns))}
    assert len({*words}) == len(words)
    assert names.isdisjoint(words)
    assert [*map(registry.normalise_name, words)] == words


def test_a_bare_name_and_options_without_the_one_that_variants_give_stand_for_every_variant():
    assert [spec.text for spec in resolve(parse_codec("ours"))] == ["ours:beta=0", "ours:beta=3.84"]
    specs = resolve(parse_codec("ours:checkpoint=:beta=2.56"))
    assert [spec.text for spec in specs] == ["ours:beta=2.56"]
    result = [spec.text for spec in resolve(parse_codec("ours:size=micro:effort=0"))]
    assert result == ["ours:beta=0:size=micro", "ours:beta=3.84:size=micro"]
    assert len(resolve(parse_codec("ours:size=micro:beta=1.28"))) == 1


def test_options_may_follow_a_short_name_and_win_over_its_own():
    bare = {"model": "bmshj2018-hyperprior", "metric": "mse"}
    assert parse_codec("hyperprior").options == tuple(sorted(bare.items()))
    spec = parse_codec("hyperprior:device=cpu:metric=ms-ssim")
    assert spec.name == "compressai"
    assert dict(spec.options) == bare | {"metric": "ms-ssim", "device": "cpu"}


@pytest.mark.parametrize("alias", ALIASES)
def test_every_short_name_means_what_it_is_short_for(alias):
    assert parse_codec(alias) == parse_codec(ALIASES[alias])


@pytest.mark.parametrize("text", [
    "jpeg:optimize", "jpeg:=1", "jpeg:optimize=1:optimize=0", "hyperprior:device=cpu:device=cuda",
])  # fmt: skip
def test_a_malformed_option_is_refused(text):
    with pytest.raises(BadOption):
        parse_codec(text)


def test_options_arrive_with_their_type_and_one_at_its_default_is_no_variant():
    honest = f"{FAKES}:Honest"
    assert load_codec(parse_codec(f"{honest}:pause=0.5"))._pause == 0.5
    assert resolve(parse_codec(f"{honest}:pause=0.0")) == [CodecSpec(parse_codec(honest).name, ())]


def test_a_dataset_is_opened_by_its_name_or_from_any_folder_of_images(tmp_path, monkeypatch):
    assert open_dataset("sample").name == "sample"
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "photos" / "one.png")
    result = open_dataset(tmp_path / "photos")
    assert [image.name for image in result.images] == ["one.png"]
    monkeypatch.chdir(tmp_path)
    assert open_dataset("photos") == result
    (tmp_path / "sample").mkdir()
    assert open_dataset("sample").name == "sample", "a name comes before a folder of that name"


def test_metrics_are_named_by_a_text_or_one_by_one_and_unknown_ones_are_guessed():
    assert metric_names("psnr, fid256,psnr") == metric_names(["psnr", "fid256"])
    names = (*METRICS, *DISTRIBUTION_METRICS)
    assert metric_names("all") == metric_names(["all"]) == names
    assert metric_names([metric_class(name).column for name in names]) == names


@pytest.mark.parametrize(("version", "remedy"), [((3, 12), "pip install"), ((3, 13), "wheels")])
def test_no_command_is_named_where_compressai_has_no_wheel(monkeypatch, version, remedy):
    monkeypatch.setattr(registry, "find_spec", lambda _: None)
    monkeypatch.setattr(weights.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(weights.sys, "platform", "linux")
    monkeypatch.setattr(weights.sys, "version_info", version)
    with pytest.raises(Unavailable, match=remedy) as error:
        registry.require_packages("hyperprior", ["compressai"], weights.install_obstacles())
    assert error.value.reason.remedy.startswith("pip install") == (version == (3, 12))
