"""Members of the suites are trained to checkpoints that their codecs find."""

import json

import pytest

from baselines.neural.training.run import read_record, read_reports
from benchmark.spec import load_codec, parse_codec
from support.networks.tiny_architecture import write_tiny
from support.networks.tiny_checkpoint import noise
from support.training.tiny_runs import bench, training, write_photographs, write_recipe

pytestmark = pytest.mark.slow


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Train members of a suite, code a picture with them, return their folder and their cards."""
    write_photographs(tmp_path)
    write_recipe(tmp_path / "recipe.toml", validate_every_steps=1, caveat='"a few steps"')
    out = tmp_path / "out"
    monkeypatch.setenv("BENCH_WEIGHTS", f"{out}:{tmp_path}")

    def train(suite, members, specs):
        words = ("--suite", suite, "--members", members)
        process = bench(*training(tmp_path, out, *words, "--quiet"))
        assert process.exit_code == 0, process.stderr
        pixels = noise(70, 60)
        for spec in specs:
            codec = load_codec(parse_codec(spec))
            data = codec.encode(pixels, codec.sweep[-1])
            assert codec.decode(data).shape == pixels.shape
            assert "a few steps" in codec.describe().caveat
        cards = {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}
        assert all(" ".join(words) in card["command"] for card in cards.values())
        return out, cards

    return train


def test_members_of_the_field(trained):
    members = "charm-1,elic-4,ivr,hific-2,multirealism-3"
    specs = ["charm", "elic", "ivr", "hific", "multirealism:beta=2.56"]
    _, cards = trained("field", members, specs)
    assert {*cards} == {*members.split(",")}
    assert (cards["ivr"]["steps"], cards["ivr"]["crops"]) == (4, 8)


def test_diffusion_decoders_after_their_base(trained, tmp_path):
    for seed, level in enumerate((1, 2)):
        write_tiny(tmp_path / f"elic-{level}.safetensors", "elic", seed=seed)
    specs = ["dirac:steps=2:base=jpeg", "hfd:steps=2"]
    out, cards = trained("generative", "dirac-jpeg,hfd", specs)
    config = cards["hfd-elic"]["config"]
    assert config["settings"] == [1.0, 2.0]
    assert config["base_fingerprint"] == load_codec(parse_codec("elic")).describe().fingerprint
    assert "velocity_error" in read_reports(out / "hfd-elic")[0]


def test_levels_of_pqmim_whose_transformer_has_crops_of_its_own(trained):
    specs = ["pqmim", "pqmim:perceptual=1"]
    out, cards = trained("generative", "pqmim-1,pqmim-perceptual-2", specs)
    card = cards["pqmim-1"]
    *autoencoder, transformer = read_record(out / "pqmim-1").recipe.stages
    first, last = sum(stage.crops for stage in autoencoder), transformer.crops
    sides = autoencoder[0].crop_px, transformer.crop_px
    assert sides[0] != sides[1]
    crops = f"{first} crops of {sides[0]} px, {last} crops of {sides[1]} px"
    assert card["training_data"].endswith(crops)
    assert (card["crops"], card["config"]["books"]) == (first + last, 4)
    reports = read_reports(out / "pqmim-1")
    assert reports[0]["perplexity"] > 1
    assert reports[-1]["validation"][0]["bpp"] > 0
