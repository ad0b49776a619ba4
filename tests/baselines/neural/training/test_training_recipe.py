"""Recipes: what ships, what is refused and how, the learning rate at every corner, variants."""

import re
from dataclasses import replace

import polars as pl
import pytest

from baselines.neural.card import load_card
from baselines.neural.training.gan import DISCRIMINATORS, GAN_LOSSES
from baselines.neural.training.recipe import FOLDER, load_recipe
from benchmark.errors import UsageError
from support.training.fixtures import stage_of
from support.training.tiny_runs import bench, training, write_photographs, write_recipe

HEAD = 'sizes = "tiny"\n'
WHOLE_STAGE = """
[[stage]]
objective = "multi_rate"
steps = 3
batch = 2
crop_px = 64
learning_rate = 1e-3
decay_at = 1
lambdas = [3.4, 1.2, 0.4, 0.13, 0.05]
"""
BELOW, TARGETS = "lambda_below = 0.1\n", "targets_bpp = [1, 2, 3, 4, 5]\n"


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.toml")))
def test_every_recipe_that_ships_can_be_loaded(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    kinds = [stage.objective for stage in recipe.stages]
    if recipe.architecture == "crdr":
        assert kinds == sorted(kinds, key=["single_rate", "multi_rate", "realism"].index)


def test_the_paper_s_recipe_is_that_of_the_published_configuration():
    """config/crdr_stage_{1,2,3}.yaml of github.com/iwa-shi/CRDR, commit 6eeec5d9, and its base."""
    recipe = load_recipe("paper")
    assert (recipe.sizes, recipe.initialise) == ("full", "random")
    first, second, third = recipe.stages
    assert [stage.objective for stage in recipe.stages] == ["single_rate", "multi_rate", "realism"]
    assert [stage.steps for stage in recipe.stages] == [1_000_000, 1_000_000, 3_000_000]
    for stage in recipe.stages:
        assert (stage.batch, stage.crop_px) == (8, 256)
        assert (stage.learning_rate, stage.quantile_learning_rate) == (1e-4, 1e-3)
        assert (stage.clip_norm, stage.warm_up_steps, stage.prior_rate_factor) == (1, 0, 1)
        falls = round(stage.steps * 0.8)
        around = [stage.rate_factor(step) for step in (0, falls - 1, falls, stage.steps - 1)]
        assert around == [1, 1, 0.1, 0.1]
        ours = (stage.balanced, stage.mixed_levels, stage.map_share, stage.zero_beta_share)
        assert not any((*ours, *stage.frozen))
    assert first.lambdas == (0.05,)
    assert first.targets_bpp == (1.5,)
    assert second.lambdas == (3.6, 1.8, 0.8, 0.4, 0.1)
    assert second.targets_bpp == (0.08, 0.16, 0.36, 0.72, 1.2)
    assert third.lambdas == (3.4, 1.3, 0.4, 0.12, 0.05)
    assert not third.targets_bpp, "a target of 0: the first lambda always holds"
    for stage in (first, second):
        assert stage.lambda_below == 2**-6
        assert (stage.lpips, stage.lpips_per_beta, stage.gan_per_beta) == (1, 0, 0)
    # LPIPS 1 and the adversarial loss .001 at beta 2.56.
    assert (third.lpips, third.lpips_per_beta, third.gan_per_beta) == (0, 1 / 2.56, 0.001 / 2.56)
    assert (third.gan_loss, third.discriminator) == ("hrrgan", "independent")
    assert third.discriminator_channels == (64, 128, 256, 512)
    assert third.discriminator_learning_rate == 1e-4


def replaced(old, new):
    text = HEAD + WHOLE_STAGE
    assert old in text
    return text.replace(old, new)


def added(line):
    return HEAD + WHOLE_STAGE + line


DISORDER = "decay_at = 0.5\nfurther_falls = [[0.4, 0.1]]"
MALFORMED = {
    "no toml": ("sizes = ", "TOML"), "nothing": ("", r"\[\[stage\]\]"),
    "no sizes": (WHOLE_STAGE, "sizes .*''"), "no stages": (HEAD, r"\[\[stage\]\]"),
    "stage as a table": (replaced("[[stage]]", "[stage]"), r"\[\[stage\]\]"),
    "unknown size": (replaced('"tiny"', '"huge"'), "sizes .*'huge'"),
    "unknown field": ("speed = 3\n" + HEAD + WHOLE_STAGE, "'speed'"),
    "unknown field of a stage": (added("speed = 3"), "'speed'"),
    "second stage": (HEAD + WHOLE_STAGE + WHOLE_STAGE + "batches = 3", "stage 2"),
    "text for a number": (replaced("steps = 3", 'steps = "3"'), "steps .*'3'"),
    "too few lambdas": (replaced("3.4, ", ""), "5 lambdas"),
    "negative lambda": (replaced("3.4", "-1"), r"lambdas .*\[-1, 1\.2"),
    "unknown objective": (replaced("multi_rate", "many_rates"), "'many_rates'"),
    "objective of one rate": (replaced("multi_rate", "elic"), "5 rates"),
    "no steps": (replaced("steps = 3", "steps = 0"), "steps .*0"),
    "odd crop": (replaced("crop_px = 64", "crop_px = 100"), "crop_px .*100"),
    "negative rate": (replaced("learning_rate = 1e-3", "learning_rate = -1"), "learning_rate"),
    "infinite rate": (replaced("learning_rate = 1e-3", "learning_rate = inf"), "learning_rate"),
    "decay at once": (replaced("decay_at = 1", "decay_at = 0"), "decay_at"),
    "unknown decay": (added('decay = "cosine"'), "decay .*'cosine'"),
    "rising decay": (added("final_share = 2"), "final_share .*2"),
    "too few targets": (added(BELOW + "targets_bpp = [0.1]"), "targets_bpp"),
    "targets of mixed rates": (added(BELOW + TARGETS + "mixed_levels = true"), "mixed_levels"),
    "targets of maps": (added(BELOW + TARGETS + "map_share = 0.5"), "map_share"),
    "targets alone": (added(TARGETS), "lambda_below"),
    "unknown loss of a GAN": (added('gan_loss = "wgan"'), "gan_loss .*'wgan'"),
    "unknown discriminator": (added('discriminator = "none"'), "discriminator .*'none'"),
    "one channel": (added("discriminator_channels = [4]"), "discriminator_channels"),
    "falls of a line": (added('decay = "linear"\nfurther_falls = [[1.0, 0.1]]'), "further_falls"),
    "falls out of order": (replaced("decay_at = 1", DISORDER), "further_falls"),
}  # fmt: skip


@pytest.mark.parametrize("fault", MALFORMED)
def test_a_malformed_recipe_is_one_sentence_that_names_the_field(tmp_path, fault):
    text, message_part = MALFORMED[fault]
    path = tmp_path / "mine.toml"
    path.write_text(text)
    pattern = f"^{re.escape(str(path))}.*{message_part}.*[.]$"  # one line
    with pytest.raises(UsageError, match=pattern):
        load_recipe(str(path))


def test_a_recipe_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    for name in ("nigth", str(tmp_path / "absent.toml")):
        with pytest.raises(UsageError, match=r"recipe .*night"):
            load_recipe(name)


def factors(**fields):
    stage = stage_of(**fields)
    return [stage.rate_factor(step) for step in range(stage.steps)]


def test_the_learning_rate_follows_warm_up_falls_and_decay():
    falls = ((0.6, 0.2), (0.8, 0.05))
    falling = factors(steps=10, decay_at=0.3, final_share=0.5, further_falls=falls)
    assert falling == [1, 1, 1, 0.5, 0.5, 0.5, 0.2, 0.2, 0.05, 0.05]
    assert factors(steps=7, warm_up_steps=4) == [0.25, 0.5, 0.75, 1, 1, 1, 1]
    assert factors(steps=5, decay_at=1.0) == [1] * 5
    assert factors(steps=5, decay_at=1.0, decay="linear", final_share=0.0) == [1] * 5
    linear = {"steps": 10, "decay_at": 0.6, "decay": "linear", "final_share": 0.2}
    assert factors(**linear) == pytest.approx([1, 1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4], abs=1e-12)
    assert stage_of(**linear).rate_factor(10) == pytest.approx(0.2), "where a next step would be"


VARIANTS = """
[variants]
SGAN = { gan_loss = "sgan" }
HRRGAN = { gan_loss = "hrrgan" }
"""


@pytest.fixture
def place(tmp_path):
    write_photographs(tmp_path)
    path = write_recipe(tmp_path / "recipe.toml", rate_steps=1, realism_steps=2)
    path.write_text(path.read_text().replace("\n[[stage]]", VARIANTS + "\n[[stage]]", 1))
    return tmp_path


@pytest.mark.parametrize(("recipe", "field", "table"), [
    ("gan", "gan_loss", GAN_LOSSES), ("discriminator", "discriminator", DISCRIMINATORS),
])  # fmt: skip
def test_variants_of_the_papers_differ_in_one_field_of_the_last_stage(recipe, field, table):
    loaded = load_recipe(recipe)
    *earlier, last = loaded.stages
    variants = loaded.variant_recipes().values()
    assert {getattr(variant.stages[-1], field) for variant in variants} == table.keys()
    for variant in variants:
        assert variant.stages[:-1] == tuple(earlier)
        assert replace(variant.stages[-1], **{field: getattr(last, field)}) == last


@pytest.mark.parametrize("fields", ['speed = "3"', 'gan_loss = "wgan"', "steps = 0"])
def test_a_variant_that_cannot_be_is_refused_with_its_field(place, fields):
    path = place / "recipe.toml"
    path.write_text(path.read_text().replace('gan_loss = "sgan"', fields))
    with pytest.raises(UsageError, match=fields.partition(" ")[0]):
        load_recipe(str(path))


def test_variants_go_on_from_the_stages_that_they_share_and_how_to_compare_them_is_said(place):
    out = place / "runs"
    assert " common; " in bench(*training(place, out, "--max-minutes", 0)).stdout
    assert {path.name for path in out.iterdir() if path.is_dir()} == {"common"}
    output = bench(*training(place, out)).stdout
    common, *losses = (
        pl.read_csv(out / name / "losses.csv")["loss"].to_list()
        for name in ("common", "SGAN", "HRRGAN")
    )
    assert [values[:1] for values in losses] == [common, common]
    assert [len(values) for values in losses] == [3, 3]
    assert losses[0][1:] != losses[1][1:]
    files = [out / f"{name}.safetensors" for name in ("SGAN", "HRRGAN")]
    assert [load_card(file).steps for file in files] == [3, 3]
    specs = ",".join(f"ours:beta=3.84:checkpoint={file}" for file in files)
    assert re.search(rf"^.*: .* {re.escape(specs)} ", output, re.M)
    assert len(re.findall("^to draw: .* --label .* --label ", output, re.M)) == 1
    assert bench(*training(place, out)).stdout.count("already finished") == 3
