"""Examine this machine: what runs on it, and what is missing for the rest. No printing."""

import os
import platform
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, NamedTuple

from benchmark import registry
from benchmark.codec import CodecInfo
from benchmark.codec_spec import load_codec, parse_codec, resolve
from benchmark.errors import BadOption, BenchError, Unavailable
from benchmark.metrics.availability import lacking, read_reason
from benchmark.packs.pack import shipped_packs, with_variant
from benchmark.protocol import protocol_of
from benchmark.system.digest import cache_folder


class Availability(NamedTuple):
    """A codec, metric or dataset: whether it can be used here, and why not."""

    name: str
    state: Literal["ready", "recorded", "options", "missing"]
    what: str  # version, place or protocol where ready, else what it needs and how to get it
    licence: str = ""


def examine_codecs() -> list[Availability]:
    """Construct every codec of the registry without options; those that need some say which."""
    return [_attempt(name, _of_codec) for name in [*registry.CODECS, *registry.ALIASES]]


def examine_metrics() -> list[Availability]:
    """Construct every metric, or its feature space, for the CPU: are its weights here?"""

    def examine(name: str) -> Availability:
        if absent := lacking([name], loaded=True):
            return Availability(name, "missing", read_reason(absent[name])[1])
        return Availability(name, "ready", protocol_of(name))

    return [_attempt(name, examine) for name in (*registry.METRICS, *registry.DISTRIBUTION_METRICS)]


def examine_datasets(data_dir: Path | None = None) -> list[Availability]:
    """Open every dataset, and count its images."""
    from benchmark.datasets.folder import data_folders

    def examine(name: str) -> Availability:
        images = registry.dataset_opener(name)(data_folders(data_dir)).images
        return Availability(name, "ready", f"{len(images)} images in {images[0].path.parent}")

    return [_attempt(name, examine) for name in registry.DATASETS]


def imaging_library() -> str:
    """Return name, version and libjpeg of what `import PIL` finds: Pillow or pillow-simd."""
    import PIL
    from PIL import features

    name = "pillow-simd" if ".post" in PIL.__version__ else "Pillow"  # it is a post-release
    turbo = features.version("libjpeg_turbo")
    jpeg = f"libjpeg-turbo {turbo}" if turbo else f"libjpeg {features.version('jpg')}"
    return f"{name} {PIL.__version__} with {jpeg}"


def examine_machine(data_dir: Path | None = None) -> list[tuple[str, str]]:
    """Return (name, fact) of machine, libraries that decide numbers, and folders used."""
    from benchmark.datasets.folder import data_folders
    from benchmark.system.machine import machine
    from benchmark.system.settings import weight_folders

    return [
        ("processor", machine()),
        ("memory", f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.1f} GB"),
        ("system", platform.platform()),
        ("Python", f"{platform.python_version()}, {sys.executable}"),
        ("PIL", imaging_library()),
        ("torch", _torch()),
        ("weights", _folders(weight_folders())),
        ("datasets", _folders(data_folders(data_dir))),
        ("cache", _folders([cache_folder()])),
    ]


def _of_codec(name: str) -> Availability:
    spec = resolve(parse_codec(name))[0]
    codec = load_codec(spec)
    try:
        info: CodecInfo = codec.describe()
    except Unavailable as missing:
        pack = with_variant(shipped_packs(), spec)
        if pack is None:
            raise
        info = pack.infos[spec]
        images = len(
            {stream.image_sha256 for stream in pack.streams.values() if stream.spec == spec}
        )
        what = f"{info.version} of {images} images, from {pack.path}; for others, {missing}"
        return Availability(name, "recorded", what, info.licence)
    caveat = f" ({info.caveat})" if info.caveat else ""
    return Availability(name, "ready", f"{info.version}{caveat}", info.licence)


def _attempt(name: str, examine: Callable[[str], Availability]) -> Availability:
    try:
        return examine(name)
    except BadOption as error:
        return Availability(name, "options", str(error))
    except BenchError as error:
        return Availability(name, "missing", str(error))
    except Exception as error:  # a broken library is what a doctor is called for
        return Availability(name, "missing", f"it is broken: {type(error).__name__}: {error}")


def _torch() -> str:
    """Describe torch's build by its version alone: importing torch takes seconds."""
    from benchmark.system.settings import GPU_MARKS

    gpu = any(Path(mark).exists() for mark in GPU_MARKS)
    try:
        build = version("torch")
    except PackageNotFoundError:
        return "not installed"
    if not gpu:
        return f"{build}; no GPU"
    if build.endswith("+cpu"):
        return f"{build}; there is a GPU that this build cannot use"
    return f"{build}; a GPU"


def _folders(folders: list[Path]) -> str:
    return ", ".join(f"{folder}{'' if folder.exists() else ' (absent)'}" for folder in folders)
