"""`bench fetch`: download a dataset or weights by name."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from benchmark.commands import output
from benchmark.errors import Unavailable, UnknownName, UsageError
from benchmark.option import ARGUMENT, ORIGIN, TARGET, opt
from benchmark.registry import ALIASES, CODECS, DATASETS, HUB, dataset_module, dataset_opener
from benchmark.spec import codec_class, parse_codec
from benchmark.system.settings import NETWORKS, PublishedFile
from benchmark.system.text import counted

if TYPE_CHECKING:
    from benchmark.datasets.download import DownloadProgress


def fetch(
    name: Annotated[
        str,
        opt(
            ARGUMENT,
            f"{', '.join(DATASETS)}; alexnet, squeezenet or vgg (for LPIPS), dists, "
            "niqe, musiq, clip_iqa, maniqa, inception (for FID and KID); a learned codec whose "
            "weights are published (`bench list` names the command); or hf:USER/NAME[:SPLIT], "
            "photographs on the Hugging Face Hub, and hf:USER/NAME/FILE, weights or a pack",
        ),
    ],
    data_dir: Annotated[
        Path | None, opt(TARGET, "Folder for a dataset; default: your cache.")
    ] = None,
    origin: Annotated[
        list[str] | None,
        opt(
            ORIGIN,
            "Local archive or other URL for a dataset (repeatable), or URL of a folder of weights. "
            "Files are verified by their digests.",
            "--from",
        ),
    ] = None,
    sha256: Annotated[str, opt(ORIGIN, "Sha256 of a Hub file, or its first digits.")] = "",
) -> None:
    """Download and verify a dataset or weights; interrupted downloads resume.

    Examples:
      bench fetch kodak
      bench fetch clic2020 --from professional_test_2020.zip
      bench fetch alexnet
      bench fetch hf:USER/NAME:test
    """
    if name == "sample":
        print("sample is included in the package scikit-image: there is nothing to fetch")
    elif name.startswith(HUB):
        _fetch_from_hub(name, sha256)
    elif name in DATASETS:
        _fetch_dataset(name, data_dir, origin or ())
    elif name in NETWORKS:
        _fetch_weights(NETWORKS[name], origin or ())
    elif name.partition(":")[0] in CODECS or name in ALIASES:
        spec = parse_codec(name)
        weights_of_options = getattr(codec_class(spec), "published_weights", None)
        if weights_of_options is None:
            raise UsageError(f"{spec.name} has no published weights: there is nothing to fetch")
        _fetch_weights(weights_of_options(dict(spec.options)), origin or ())
    else:
        from benchmark.facts import fetchable_codecs

        raise UnknownName("dataset or weights", name, [*DATASETS, *NETWORKS, *fetchable_codecs()])


def _fetch_dataset(name: str, data_dir: Path | None, origins: Sequence[str]) -> None:
    from benchmark.datasets.dataset import data_folders, fetched_folder

    search_folders = [data_dir] if data_dir else data_folders()
    try:
        dataset_opener(name)(search_folders)
    except Unavailable:
        target_folder = data_dir or fetched_folder()
        download = getattr(dataset_module(name), "fetch_dataset", None)
        if download is None or (origins and "origins" not in signature(download).parameters):
            problem = "cannot use --from" if download else "cannot be downloaded"
            raise UsageError(f"{name} {problem}: put its images into {target_folder}") from None
        with _show_download() as progress:
            download(name, search_folders, target_folder, progress, *([origins] if origins else []))
    images = dataset_opener(name)(search_folders).images
    folders = sorted({str(image.path.parent) for image in images})
    print(f"{name}: {counted(len(images), 'image')} in {' and '.join(folders)}")


def _fetch_from_hub(name: str, sha256: str) -> None:
    from benchmark.datasets.hub import fetch_hub_dataset, fetch_hub_file, hub_name, open_hub
    from benchmark.system.digest import file_sha256
    from benchmark.system.settings import weight_folders

    if hub_name(name).file:
        path = fetch_hub_file(name, weight_folders()[-1], sha256)
        print(f"{path.name}: {path}\n  sha256 {file_sha256(path)}")
        return
    fetch_hub_dataset(name)
    dataset = open_hub(name)
    print(f"{dataset.name}: {counted(len(dataset.images), 'image')} of {dataset.origin}")


def _fetch_weights(files: Sequence[PublishedFile], origins: Sequence[str]) -> None:
    if len(origins) > 1 or not all("://" in origin for origin in origins):
        raise UsageError(
            "for weights, --from takes the URL, https://..., of the folder that contains them"
        )
    from benchmark.system.settings import find_weights, weight_folders

    for file in files:
        try:
            path = find_weights([file.name], "")
        except Unavailable:
            path = weight_folders()[-1] / file.name
        url = f"{origins[0].rstrip('/')}/{file.name}" if origins else file.url
        download_weights(file._replace(url=url), path)


def download_weights(file: PublishedFile, path: Path) -> None:
    """Download a weight file to a path, or verify an existing one, and print the path."""
    from benchmark.datasets.download import fetch as download
    from benchmark.system.digest import record_sha256, recorded_sha256

    with _show_download() as progress:
        digest = file.sha256 or recorded_sha256(path)
        download(file.url, path, file.size_bytes, digest, progress)
    print(f"{file.name}: {path}")
    if not file.sha256:
        print(f"  sha256 {record_sha256(path)}, recorded here, as the authors publish no checksum")


@contextmanager
def _show_download() -> Iterator["DownloadProgress"]:
    if not sys.stderr.isatty():
        lines = output.ProgressLines()
        yield lambda name, done_bytes, total_bytes: lines.say(
            lambda: f"{name}: {done_bytes} of {total_bytes or 'unknown'} bytes",
            done_bytes == total_bytes,
        )
        return
    from rich.progress import DownloadColumn, TaskID, TimeRemainingColumn, TransferSpeedColumn

    columns = DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    with output.progress_bars(*columns) as bars:
        tasks: dict[str, TaskID] = {}

        def update(name: str, done_bytes: int, total_bytes: int | None) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name)
            bars.update(tasks[name], completed=done_bytes, total=total_bytes)

        yield update
