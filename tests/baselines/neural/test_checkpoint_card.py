"""`bench checkpoint card`: bare tensors get a card and tables."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load, load_file, save_file

from baselines.compressai.codec import CompressAI
from baselines.neural.card import PACKED, load_card, unpacked, verified_card
from baselines.neural.checkpoint import load_checkpoint
from baselines.neural.crdr.model import HeaderControls
from baselines.neural.network_codec import BUNDLED
from baselines.neural.picture_codec import PictureCodec
from benchmark.codec import Setting
from benchmark.errors import BenchError, Unavailable, UsageError
from benchmark.rows.store import Store
from support.networks.tiny_checkpoint import noise, write_checkpoint
from support.training.tiny_runs import bench

OURS = ("--like", BUNDLED / "ours.safetensors.xz")
TINY = ("--architecture", "crdr", "--sizes", "tiny")


def with_card(path, *more):
    """Run the command as in a script, and return what it prints."""
    return bench("checkpoint", "card", path, *more).stdout


@pytest.fixture
def bare(tmp_path):
    """The tensors of the bundled checkpoint, mailed without a card."""
    path = tmp_path / "mailed.safetensors"
    path.write_bytes(unpacked(BUNDLED / "ours.safetensors.xz"))
    return path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The smallest checkpoint with its card."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    write_checkpoint(path)
    return path


def changed(source, target, change):
    """Write the tensors of `source` as `change` leaves them, without a card; return `target`."""
    tensors = load(unpacked(source)) if source.suffix == PACKED else load_file(source)
    change(tensors)
    save_file(tensors, target)
    return target


def without_tables(tensors):
    for name in [name for name in tensors if name.startswith("tables.")]:
        del tensors[name]


@pytest.mark.slow
def test_a_bare_checkpoint_codes_as_with_its_own_card(bare, tmp_path):
    reported = with_card(bare, *OURS)
    assert reported == f"{bare.with_suffix('.json')}: a network of crdr, training unknown\n"
    own, made = load_card(BUNDLED / "ours.safetensors.xz"), load_card(bare)
    assert (made.config, made.sha256) == (own.config, own.sha256)
    codecs = f"ours:beta=0,ours:beta=0:checkpoint={bare}"
    words = ("--dataset", "sample", "--limit", 1, "--points", "ours.q=2", "--metrics", "psnr")
    bench("run", "--codecs", codecs, *words, "--results", tmp_path / "results")
    rows = Store(tmp_path / "results" / "sample").table().rows(named=True)
    theirs, ours = sorted(rows, key=lambda row: "checkpoint" not in row["variant"])
    for column in ("stream_sha256", "decoded_sha256", "num_bytes", "psnr_db"):
        assert theirs[column] == ours[column]
    assert theirs["caveat"] == "training unknown"
    assert ours["caveat"] == own.caveat


def test_training_is_unknown_unless_somebody_says_it(bare):
    with_card(bare, *OURS)
    record = json.loads(bare.with_suffix(".json").read_text())
    facts = {name: record[name] for name in ("training_data", "steps", "command", "commit")}
    assert set(facts.values()) == {"unknown"}
    card = load_card(bare)
    assert (card.steps, card.crops, card.shown_caveat) == (None, 0, "training unknown")
    given = ("--steps", 1200, "--crops", 9600, "--training-data", "my photographs")
    reported = with_card(
        bare, *OURS, "--force", *given, "--command", "mine", "--caveat", "of one night"
    )
    assert reported.endswith("a network of crdr, 1200 steps, my photographs\n")
    card = load_card(bare)
    assert (card.steps, card.crops, card.training_data) == (1200, 9600, "my photographs")
    assert (card.command, card.commit, card.shown_caveat) == ("mine", "unknown", "of one night")
    with_card(bare, *OURS, "--force", "--steps", 0)
    assert load_card(bare).shown_caveat == "untrained"


def test_a_card_that_is_there_is_replaced_by_force_alone(bare):
    with_card(bare, *OURS)
    before = bare.with_suffix(".json").read_bytes()
    with pytest.raises(UsageError, match=r"mailed\.json is there already: --force replaces it"):
        with_card(bare, *OURS, "--steps", 9)
    assert bare.with_suffix(".json").read_bytes() == before


def test_tables_that_the_file_lacks_are_made_beside_it(tiny, tmp_path):
    bare = changed(tiny, tmp_path / "bare.safetensors", without_tables)
    before = bare.read_bytes()
    reported = with_card(bare, *TINY)
    made = tmp_path / "bare-tables.safetensors"
    assert reported.splitlines()[0] == (
        f"{bare} lacks integer tables; {made} has the same weights and tables"
    )
    assert bare.read_bytes() == before
    assert not bare.with_suffix(".json").exists()
    ours, theirs = (load_file(one) for one in (made, tiny))
    assert ours.keys() == theirs.keys()
    weights = [name for name in ours if not name.startswith("tables.fraction")]
    assert all(torch.equal(ours[name], theirs[name]) for name in weights)
    codec, pixels = PictureCodec(load_checkpoint(made)), noise(70, 90)
    stream = codec.encode(pixels, HeaderControls.nearest(2.0, 0.0))
    assert codec.decode(stream).shape == pixels.shape


def test_tables_of_which_one_is_missing_are_made_again(tiny, tmp_path):
    bare = changed(tiny, tmp_path / "bare.safetensors", lambda held: held.pop("tables.fraction.z"))
    assert "lacks integer tables" in with_card(bare, *TINY, "--out", tmp_path / "whole.safetensors")
    assert verified_card(tmp_path / "whole.safetensors").architecture == "crdr"


def test_weights_in_half_precision_stay_so(tmp_path):
    source = BUNDLED / "ours-micro.safetensors.xz"
    bare = changed(source, tmp_path / "bare.safetensors", without_tables)
    with_card(bare, "--like", source)
    made, before = load_file(tmp_path / "bare-tables.safetensors"), load(unpacked(source))
    weights = {name for name in made if not name.startswith("tables.")}
    assert {made[name].dtype for name in weights} == {torch.float16}
    assert all(torch.equal(made[name], before[name]) for name in weights)


ZOO_TABLES = ("_quantized_cdf", "_offset", "_cdf_length", "scale_table")


def empty_zoo_tables(tensors):
    for name in [name for name in tensors if name.endswith(ZOO_TABLES)]:
        tensors[name] = tensors[name][:0].clone()


def no_zoo_buffers(tensors):
    for name in [name for name in tensors if name.endswith((*ZOO_TABLES, "bound", "target"))]:
        del tensors[name]


@pytest.mark.parametrize("change", [lambda tensors: None, empty_zoo_tables, no_zoo_buffers])
def test_a_network_of_compressai_codes_with_the_card_made_for_it(change, tmp_path, photo):
    bare = changed(BUNDLED / "hyperprior-2.safetensors.xz", tmp_path / "2.safetensors", change)
    with_card(
        bare,
        "--like",
        BUNDLED / "hyperprior-2.safetensors.xz",
        "--out",
        tmp_path / "with-2.safetensors",
    )
    options = {"model": "bmshj2018-hyperprior", "device": "cpu"}
    made = CompressAI(checkpoint=str(tmp_path / "with-{quality}.safetensors"), **options)
    assert made.describe().caveat == "training unknown"
    assert "N=48, M=172, training unknown" in made.describe().version
    ours = CompressAI(weights="matched", **options)
    setting = Setting("quality", 2)
    assert np.array_equal(
        made.decode(made.encode(photo, setting)), ours.decode(ours.encode(photo, setting))
    )
    with pytest.raises(Unavailable, match="holds bmshj2018-hyperprior by its card, not mbt2018"):
        CompressAI(model="mbt2018-mean", checkpoint=str(tmp_path / "with-{quality}.safetensors"))


def lacks(tensors):
    del tensors["synthesis.embedding.layers.0.weight"]


def has_more(tensors):
    tensors["extra"] = torch.zeros(3)
    tensors["prior.quantiles"] = torch.zeros(6, 4)


def prefixed(tensors):
    for name in list(tensors):
        tensors["module." + name] = tensors.pop(name)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lacks, "synthesis.embedding.layers.0.weight"),
        (has_more, "extra"),
        (prefixed, r"analysis.attentions.0.bias.*: save NETWORK\.module\.state_dict"),
    ],
)
def test_tensors_of_another_network_are_refused(change, named, tiny, tmp_path):
    bare = changed(tiny, tmp_path / "bare.safetensors", change)
    with pytest.raises(Unavailable, match=f"does not hold its card's network: {named}"):
        with_card(bare, *TINY)
    assert list(tmp_path.iterdir()) == [bare]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--architecture", "crdr"), "--sizes"),
        (("--architecture", "crdr", "--sizes", "huge"), "micro"),
        (("--architecture", "charm", "--sizes", "tiny"), "does not hold"),
        (("--like", "nowhere.safetensors"), "no checkpoint nowhere"),
    ],
)
def test_a_network_that_is_not_named_well_is_refused(words, named, tiny):
    with pytest.raises(BenchError, match=named):
        with_card(tiny, *words)
