"""`bench fetch`: a dataset or weights by name, from the publisher to where they are sought."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from benchmark.errors import Unavailable, UnknownName, UsageError
from benchmark.registry import ALIASES, DATASETS, dataset_opener, parse_codec

if TYPE_CHECKING:
    from benchmark.datasets.download import Progress

LINE_SECONDS = 30.0
COMPRESSAI_WEIGHTS = "baselines.compressai.weights"
COMPRESSAI_EXAMPLE = "compressai:model=bmshj2018-hyperprior:metric=mse"


class Weights(NamedTuple):
    """A weight file where it is published."""

    url: str
    name: str
    size_bytes: int | None
    sha256: str  # or its first hex digits


ALEXNET = Weights(
    "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "alexnet-owt-7be5be79.pth",
    244_408_911,
    "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
)
SQUEEZENET = Weights(
    "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
    "squeezenet1_1-b8a52dc0.pth",
    4_958_839,
    "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
)
VGG16 = Weights(
    "https://download.pytorch.org/models/vgg16-397923af.pth",
    "vgg16-397923af.pth",
    553_433_881,
    "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
)
DISTS = Weights(
    "https://raw.githubusercontent.com/dingkeyan93/DISTS/1267d8cb626c98706db3697422701c56a85ebf2e/"
    "DISTS_pytorch/weights.pt",
    "dists_weights.pt",
    12_288,
    "f5e65c96230b7f6ca995691647d482237e4cab8a50c5c4a5784f219ef0748218",
)
INCEPTION = Weights(
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
    "pt_inception-2015-12-05-6726825d.pth",
    "pt_inception-2015-12-05-6726825d.pth",
    95_628_359,
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
)
NETWORKS = {
    "alexnet": (ALEXNET,),
    "squeezenet": (SQUEEZENET,),
    "vgg": (VGG16,),
    "dists": (VGG16, DISTS),
    "inception": (INCEPTION,),
}


def fetch(
    name: Annotated[
        str,
        typer.Argument(
            help="kodak, clic2020, clic2020:professional, clic2020:mobile; alexnet, squeezenet or "
            "vgg (for LPIPS), dists, inception (for FID and KID); or a learned codec: "
            f"{COMPRESSAI_EXAMPLE}"
        ),
    ],
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Folder to put a dataset into; default: the user's cache."),
    ] = None,
) -> None:
    """Download a dataset or weights, checked; an interrupted download goes on where it stopped."""
    if name == "sample":
        print("sample comes with the scikit-image package: nothing to fetch")
    elif name in DATASETS:
        _fetch_dataset(name, data_dir)
    elif name in NETWORKS:
        _fetch_weights(NETWORKS[name])
    elif name.startswith("compressai:") or name in ALIASES:
        _fetch_weights(_compressai(name))
    else:
        known = [*DATASETS, *NETWORKS, COMPRESSAI_EXAMPLE, *ALIASES]
        raise UnknownName("thing to fetch", name, known)


def _fetch_dataset(name: str, data_dir: Path | None) -> None:
    from benchmark.datasets.folder import data_folders, fetched_folder

    sought = [data_dir] if data_dir else data_folders()
    if not _is_there(name, sought):
        module = import_module(DATASETS[name].partition(":")[0])
        with _shown() as progress:
            module.fetch_dataset(name, sought, data_dir or fetched_folder(), progress)
    images = dataset_opener(name)(sought).images
    folders = sorted({str(image.path.parent) for image in images})
    print(f"{name}: {len(images)} images in {' and '.join(folders)}")


def _is_there(name: str, folders: list[Path]) -> bool:
    try:
        dataset_opener(name)(folders)
    except Unavailable:
        return False
    return True


def _fetch_weights(files: Sequence[Weights]) -> None:
    from benchmark.datasets.download import fetch as download
    from benchmark.system.weights import find_weights, weight_folders

    for url, name, size_bytes, sha256 in files:
        try:
            path = find_weights([name], "")
        except Unavailable:
            path = weight_folders()[-1] / name
        with _shown() as progress:
            download(url, path, size_bytes, sha256, progress)
        print(f"{name}: {path}")


def _compressai(text: str) -> list[Weights]:
    options = dict(parse_codec(text).options)
    model, metric = options.pop("model", ""), options.pop("metric", "mse")
    if not model or options:
        raise UsageError(f"{text!r} names no published weights: write {COMPRESSAI_EXAMPLE}")
    weights = import_module(COMPRESSAI_WEIGHTS)
    if model not in weights.QUALITIES:
        raise UnknownName("compressai model", model, weights.QUALITIES)
    if metric not in weights.METRICS:
        raise UnknownName("compressai metric", metric, weights.METRICS)
    qualities = range(1, weights.QUALITIES[model] + 1)
    published = [weights.published_weights(model, metric, quality) for quality in qualities]
    return [Weights(file.url, file.name, None, file.sha256_prefix) for file in published]


@contextmanager
def _shown() -> Iterator["Progress"]:
    """What to tell of every chunk: a bar on a terminal, a line now and then elsewhere."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.DownloadColumn(),
        rich.TransferSpeedColumn(),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, rich.TaskID] = {}

        def update(name: str, done_bytes: int, total_bytes: int | None) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name)
            bars.update(tasks[name], completed=done_bytes, total=total_bytes)

        yield update


def _lines() -> "Progress":
    spoken = monotonic()

    def update(name: str, done_bytes: int, total_bytes: int | None) -> None:
        nonlocal spoken
        if done_bytes == total_bytes or monotonic() - spoken > LINE_SECONDS:
            spoken = monotonic()
            total = f" of {total_bytes}" if total_bytes else ""
            print(f"{name}: {done_bytes}{total} bytes", file=sys.stderr, flush=True)

    return update
