"""Registry of codecs, metrics and datasets as strings, so that listing them imports nothing."""

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from benchmark import plugins
from benchmark.errors import Reason, Unavailable, UnknownName

Better = Literal["higher", "lower"]


_TABLES = tomllib.loads(Path(__file__).with_name("registry.toml").read_text(encoding="utf-8"))
CODECS: dict[str, str] = _TABLES["codecs"]
DATASETS: dict[str, str] = _TABLES["datasets"]
HUB = "hf:"  # prefix of names of datasets and files on the Hugging Face Hub
HUB_OPENER = "benchmark.datasets.hub:open_hub"  # function that opens datasets of the Hub
FACTS = "baselines.facts:DECLARED"  # facts about codecs, read without importing their code
# Short names, also used in tables and figures. Options after an alias override those of the alias.
HYPERPRIOR = "compressai:model=bmshj2018-hyperprior:metric=mse"
ALIASES = {
    "hyperprior": HYPERPRIOR,
    "hyperprior:weights=matched": f"{HYPERPRIOR}:weights=matched",
}
METRICS, FEATURE_SPACES, DISTRIBUTION_METRICS = (
    _TABLES[table_name] for table_name in ("images", "spaces", "sets")
)
UNSTATED = "unstated"  # protocol of values from a user's file, for which the user vouches
# Metrics that are measured by default
USUAL_METRICS = ("psnr", "psnr_y", "ms_ssim", "lpips", "lpips_squeeze")


# The project's extra that installs each package outside the core
EXTRAS = {
    "piq": "iqa", "pyiqa": "iqa", "psnr_hvsm": "iqa", "pycvvdp": "iqa",
    "torch": "neural", "constriction": "neural", "safetensors": "neural", "lpips": "neural",
    "pytorch_fid": "neural", "compressai": "compressai", "imageio_ffmpeg": "formats",
    "pyvips": "formats", "huggingface_hub": "hub", "choix": "study",
}  # fmt: skip


def normalise_name(text: str) -> str:
    """Return the lower-case letters and digits of a text: "MS-SSIM (dB)" is "msssimdb"."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


@cache
def _metric_names_by_word() -> dict[str, str]:
    """Return metric names by the words that stand for them: names first, then columns."""
    metric_classes = {name: metric_class(name) for name in (*METRICS, *DISTRIBUTION_METRICS)}
    names_by_word = {
        word: name for name, metric in metric_classes.items() for word in metric.words.split()
    }
    names_by_word |= {
        normalise_name(metric.column): name for name, metric in metric_classes.items()
    }
    return names_by_word | {normalise_name(name): name for name in metric_classes}


def metric_called(word: str) -> str:
    """Return the name of the metric that a word stands for; unknown words stay unchanged.

    >>> metric_called("fid"), metric_called("LPIPS-Alex"), metric_called("psnr_db")
    ('fid256', 'lpips', 'psnr')
    """
    is_metric = word in METRICS or word in DISTRIBUTION_METRICS or is_user_code(word)
    return word if is_metric else _metric_names_by_word().get(normalise_name(word), word)


def unknown_metric(word: str, choices: Iterable[str], kind: str = "metric") -> UnknownName:
    """Return the error for an unknown metric, with the likeliest choice."""
    names, names_by_word = [*choices], _metric_names_by_word()
    close_words = get_close_matches(
        normalise_name(word),
        [candidate for candidate in names_by_word if names_by_word[candidate] in names],
        n=1,
    )
    return UnknownName(kind, word, names, names_by_word[close_words[0]] if close_words else "")


def metric_class(name: str) -> type[Any]:
    """Import a metric or feature space by name, as `path.py:Class`, or from a plugin."""
    for table in (METRICS, DISTRIBUTION_METRICS, FEATURE_SPACES):
        if name in table:
            return import_target(table[name])  # type: ignore[no-any-return]
    if not is_user_code(name):
        raise unknown_metric(name, (*METRICS, *DISTRIBUTION_METRICS))
    return plugins.metric_class(name)


def per_image_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return what is computed per image: metrics, and feature spaces of dataset metrics."""
    image_names = [
        metric_class(name).space if name in DISTRIBUTION_METRICS else name for name in names
    ]
    return tuple(dict.fromkeys(image_names))


def dataset_opener(name: str, kind: str = "dataset") -> Callable[..., Any]:
    """Return the function that opens a dataset from folders; kind: noun in the error."""
    if name not in DATASETS:
        raise UnknownName(kind, name, DATASETS)
    opener: Callable[..., Any] = import_target(DATASETS[name])
    return opener


def dataset_module(name: str) -> ModuleType:
    """Return the module of a dataset, with its profile, download and typical sizes, if any."""
    return import_module(DATASETS[name].partition(":")[0])


def is_folder_name(dataset: str) -> bool:
    """Return whether a value of `--dataset` is a path instead of a name in `DATASETS`."""
    return dataset not in DATASETS and (Path(dataset).exists() or "/" in dataset)


def declared_facts() -> Mapping[str, Mapping[str, Any]]:
    """Return declarations of registered codecs by attribute and codec; imports no codec."""
    return import_target(FACTS)  # type: ignore[no-any-return]


def import_target(target: str) -> Any:
    """Import `module:attribute` or `module:attribute.attribute`."""
    module, _, attribute = target.partition(":")
    return attrgetter(attribute)(import_module(module))


def require_packages(
    name: str, packages: Iterable[str], obstacles: Mapping[str, str] | None = None
) -> None:
    """Raise `Unavailable` for the first missing package; obstacles: reasons by package."""
    for package in packages:
        if find_spec(package) is None:
            command = f"pip install 'rdrbench[{EXTRAS[package]}]'"
            remedy = f"run `{command}`"
            if obstacles and package in obstacles:
                command, remedy = "", obstacles[package]
            raise Unavailable(
                f"{name} needs the Python package {package}: {remedy}",
                Reason("package", package, command),
            )


def require_release(name: str, package: str, release: str, command: str) -> None:
    """Raise `Unavailable` unless this release of a package is installed; do not import it."""
    from importlib.metadata import PackageNotFoundError, version

    installed_release = ""
    with suppress(PackageNotFoundError):
        installed_release = version(package)
    if installed_release != release:
        present = f"but the installed version is {installed_release}"
        state = present if installed_release else "which is not installed"
        raise Unavailable(
            f"{name} needs the Python package {package} {release}, {state}: run `{command}`",
            Reason("package", package, command),
        )


def is_python_file(name: str) -> bool:
    """Return whether a name refers to a Python file."""
    return name.partition(":")[0].endswith(".py")


def is_user_code(name: str) -> bool:
    """Return whether a name is that of a user's Python file or of an installed plugin."""
    tables = (CODECS, ALIASES, METRICS, FEATURE_SPACES, DISTRIBUTION_METRICS, DATASETS)
    if is_python_file(name):
        return True
    return (
        not any(name in table for table in tables)
        and "/" not in name
        and name in plugins.installed()
    )
