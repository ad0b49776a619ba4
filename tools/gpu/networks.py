"""Networks that are measured: `ours` in every size, trained or not, and CompressAI's hyperprior."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from baselines.crdr import CRDR
from baselines.neural.architecture import load_architecture
from baselines.neural.checkpoint.card import Card, load_card
from baselines.neural.checkpoint.checkpoint import make_checkpoint
from baselines.neural.checkpoint_codec import BUNDLED
from baselines.neural.inference import to_images
from benchmark.codec import Codec, Pixels, Setting
from benchmark.codec_spec import load_codec, parse_codec, resolve
from benchmark.datasets.folder import open_dataset
from benchmark.datasets.image import read_image
from tools.gpu.conditions import Conditions

SIZES = ("micro", "mini", "small", "full")
SEED = 0
START_PX = 256  # side of the crops that an untrained network is fitted to
# Steps of q at one image: all of a trained network; of an untrained one, whose streams are only
# there to be compared, one.
TRAINED_Q, UNTRAINED_Q = (0, 2, 4), (2,)
HYPERPRIOR = "hyperprior:weights=matched"
HYPERPRIOR_QUALITIES = (1, 3)


class NamedNetwork(NamedTuple):
    """A network as a codec; `make` takes the device that `on_device` has set."""

    name: str  # "micro", "full (untrained)"
    make: Callable[[], Codec]
    settings: Sequence[Setting]
    # Whether a stream of one device is to decode on the other: CompressAI computes the parameters
    # of its entropy model in floating point on either side.
    crosses: bool


def networks(conditions: Conditions) -> list[NamedNetwork]:
    """Return the networks of a run: one of the smallest size where it is small."""
    sizes = ("tiny",) if conditions.small else SIZES
    found = [_ours(conditions, size) for size in sizes]
    if not conditions.small:
        settings = tuple(Setting("quality", one) for one in HYPERPRIOR_QUALITIES)
        found.append(NamedNetwork(HYPERPRIOR, _hyperprior, settings, crosses=False))
    return found


def _ours(conditions: Conditions, size: str) -> NamedNetwork:
    bundled = {_size_of(load_card(one)): one for one in BUNDLED.glob("ours*.safetensors")}
    if size in bundled:
        path, name, steps = bundled[size], size, TRAINED_Q
    else:
        path, name, steps = conditions.out / "weights" / f"{size}.safetensors", size, UNTRAINED_Q
        name += " (untrained)"
    settings = tuple(Setting("q", q) for q in steps)

    def make() -> Codec:
        if not path.exists():
            write_untrained(path, size)
        return CRDR(beta=0, checkpoint=str(path))

    return NamedNetwork(name, make, settings, crosses=True)


def _size_of(card: Card) -> str | None:
    presets = load_architecture("crdr").presets
    return next((name for name, sizes in presets.items() if sizes == card.config), None)


def _hyperprior() -> Codec:
    (spec,) = resolve(parse_codec(HYPERPRIOR))
    made: Codec = load_codec(spec)
    return made


def weights_folder(conditions: Conditions) -> Path | None:
    """Return the folder of the smallest network where a small run needs one."""
    if not conditions.small:
        return None
    folder = conditions.out / "weights" / "ours"
    if not (folder / "ours.safetensors").exists():
        write_untrained(folder / "ours.safetensors", "tiny")
    return folder


def write_untrained(path: Path, size: str) -> Card:
    """Write a checkpoint of seeded weights, fitted to two crops as a training run begins."""
    architecture = load_architecture("crdr")
    config = architecture.presets[size]
    torch.manual_seed(SEED)
    network: Any = architecture.build(config)
    crops = start_crops()
    images = torch.cat([to_images(one, torch.device("cpu")) for one in crops])
    architecture.initialise(network, images, [0.05] * architecture.rate_levels(config))
    card = Card("crdr", config, "two crops of the sample", 0, "untrained", "0")
    path.parent.mkdir(parents=True, exist_ok=True)
    return make_checkpoint(path, network, card, crops, half=True)


def start_crops() -> list[Pixels]:
    """Return the crops that an untrained network is fitted to, from the bundled sample."""
    whole = [read_image(one.path).pixels for one in open_dataset("sample").images[:2]]
    return [one[:START_PX, :START_PX].copy() for one in whole]
