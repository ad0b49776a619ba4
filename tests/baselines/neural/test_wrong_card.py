"""A card that does not belong to its tensors: found once, before anything is measured."""

import shutil

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from baselines.neural.checkpoint_codec import BUNDLED
from benchmark.codec_spec import load_codec, parse_codec
from benchmark.errors import Unavailable
from support.bench.command import bench
from support.networks.card_edits import bless, edited, resized
from support.networks.tiny_checkpoint import noise, write_checkpoint


def without_tables(path):
    held = load_file(path)
    save_file({k: v for k, v in held.items() if not k.startswith("tables.")}, path)
    bless(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder of weights with a checkpoint of the smallest network."""
    folder = tmp_path_factory.mktemp("whole")
    write_checkpoint(folder / "ours.safetensors", steps=3)
    return folder


@pytest.fixture
def path(whole, tmp_path):
    """A copy of the checkpoint."""
    return shutil.copytree(whole, tmp_path / "weights") / "ours.safetensors"


def test_no_cell_or_image_is_tried_and_nothing_is_stored(path, tmp_path):
    edited(sha256="0" * 64)(path)
    image, stream, results = tmp_path / "in.png", tmp_path / "out.crdr", tmp_path / "results"
    Image.fromarray(noise(8, 8)).save(image)
    words = ("--codecs", "ours", "--weights-dir", path.parent, "--results", results)
    for call in (
        *(("run", *words, "--dataset", "sample"), ("plan", *words, "--dataset", "sample")),
        ("encode", image, stream, "--checkpoint", path),
    ):
        done = bench(*call)
        assert (done.returncode, done.stdout) == (2, "")
        assert "is damaged or of another checkpoint" in done.stderr
        assert done.stderr.count("\n") == 1
    assert not results.exists()
    assert not stream.exists()


def test_a_card_of_another_architecture_is_refused_at_once(path):
    assert load_codec(parse_codec(f"ours:beta=0:checkpoint={path}")).describe().caveat == ""
    with pytest.raises(Unavailable, match="holds a network of compressai by its card"):
        load_codec(parse_codec(f"ours:beta=0:checkpoint={BUNDLED / 'hyperprior-1.safetensors'}"))


def other_sizes(path):
    resized(hyper_latent=8)(path)


@pytest.mark.parametrize(
    ("spoil", "named"), [(other_sizes, "hyper_analysis"), (without_tables, "tables")]
)
def test_tensors_of_another_network_are_refused_with_the_first_image(path, spoil, named):
    spoil(path)
    codec = load_codec(parse_codec(f"ours:beta=0:checkpoint={path}"))
    with pytest.raises(Unavailable, match=named):
        codec.encode(noise(8, 8), codec.sweep[0])
