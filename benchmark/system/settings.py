"""Settings of a run: its device, its folders of weights, and the weight files in them.

They belong to a context (`contextvars`); their defaults are in $BENCH_DEVICE and $BENCH_WEIGHTS.
"""

import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar, copy_context
from functools import wraps
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple, ParamSpec, TypeVar

from benchmark.errors import Reason, Unavailable, UsageError

Device = Literal["cpu", "cuda"]
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

DEVICE, WEIGHTS = "BENCH_DEVICE", "BENCH_WEIGHTS"
VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"
GPU_MARKS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg")
# If workers on two cores have several threads each, some metrics take 27 times as long. Therefore
# each pool of threads in a worker has one thread.
POOLS = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
    *("VECLIB_MAXIMUM_THREADS", "BLIS_NUM_THREADS"),
)
ONE_THREAD: Mapping[str, str] = MappingProxyType(dict.fromkeys(POOLS, "1"))


class Settings(NamedTuple):
    """The choices of a context; if they are empty, environment variables decide."""

    device: str | None = None  # device of codecs: "cpu", "cuda", or one GPU, "cuda:1"
    weights: tuple[Path, ...] = ()  # folders that are searched first

    def variables(self) -> dict[str, str]:
        """Return environment variables for the same settings; "cuda:1" becomes "cuda"."""
        folders = [*map(str, self.weights), os.environ.get(WEIGHTS)]
        kind, _, number = (self.device or chosen_device()).partition(":")
        visible_cards = os.environ.get(VISIBLE_GPUS, "").split(",")
        card = visible_cards[int(number)].strip() if number and visible_cards != [""] else number
        values = {DEVICE: kind, VISIBLE_GPUS: card, WEIGHTS: os.pathsep.join(filter(None, folders))}
        return {name: value for name, value in values.items() if value}


_CURRENT: ContextVar[Settings | None] = ContextVar("settings", default=None)


def settings() -> Settings:
    """Return the settings of this context."""
    return _CURRENT.get() or Settings()


def isolated(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Run each call of a function in a copy of the context, so that settings end with it."""

    @wraps(function)
    def call(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        return copy_context().run(function, *arguments, **options)

    return call


def worker_environment(**extra: str) -> dict[str, str]:
    """Return a worker process's environment: these settings, single threads, and `extra`."""
    return {**os.environ, **settings().variables(), **ONE_THREAD, **extra}


def use_device(name: str, has_gpu: bool | None = None) -> Device:
    """Choose the context's device, `auto`, `cpu`, `cuda` or a card (`cuda:1`); return its kind.

    has_gpu: whether the machines that code have a GPU; by default, torch on this machine decides.
    Raises `UsageError` for another name, `Unavailable` if there is no GPU or no such card.
    """
    device = resolve_device(name, "--device", has_gpu)
    _CURRENT.set(settings()._replace(device=device))
    return "cpu" if device == "cpu" else "cuda"


def resolve_device(name: str, option: str, has_gpu: bool | None = None) -> str:
    """Return "cpu", "cuda" or "cuda:N" for an option's value.

    has_gpu: whether a node of the cluster has a GPU; None: look at this machine. Raises
    `UsageError`, and `Unavailable` for a GPU that cannot be used.
    """
    if not re.fullmatch("auto|cpu|cuda(:[0-9]+)?", name):
        raise UsageError(f"{option} {name!r} is not one of auto, cpu, cuda, cuda:1 (one GPU)")
    kind, _, number = name.partition(":")
    if number and has_gpu is not None:
        raise UsageError(f"{option} {name}: Ray chooses each worker's GPU; leave out the number")
    obstacle = "" if has_gpu else "no node of the cluster has a GPU"
    if has_gpu is None and name != "cpu":
        obstacle = "" if any(map(os.path.exists, GPU_MARKS)) else "this machine shows no GPU"
        if not obstacle:
            import torch

            can_use = torch.cuda.is_available()
            obstacle = "" if can_use else "torch cannot use the GPU of this machine"
            cards = range(torch.cuda.device_count()) if can_use and number else ()
            if cards and int(number) not in cards:
                names = (f"cuda:{card} ({torch.cuda.get_device_name(card)})" for card in cards)
                obstacle = f"torch only finds {', '.join(names)} on this machine"
    if kind == "cuda" and obstacle:
        raise Unavailable(f"{option} {name}: {obstacle}; leave the option out")
    if number:
        return f"cuda:{int(number)}"
    return "cpu" if obstacle or kind == "cpu" else "cuda"


def chosen_device() -> str:
    """Return torch's name ("cuda:1") of the device of codecs, chosen here or by $BENCH_DEVICE."""
    if device := settings().device:
        return device
    variable = os.environ.get(DEVICE, "")
    if ":" in variable:
        return resolve_device(variable, f"${DEVICE}")
    return "cuda" if variable == "cuda" else "cpu"


def use_weights_folder(folder: Path | None) -> None:
    """Search this folder for weights before others; `UsageError` if it has no files."""
    if folder is None:
        return
    if not folder.is_dir() or not any(path.is_file() for path in folder.iterdir()):
        remedy = "name another folder, or none to search bundled files and torch's cache"
        raise UsageError(f"{folder} contains no weight files: {remedy}")
    _CURRENT.set(settings()._replace(weights=(folder.resolve(), *settings().weights)))


def weight_folders() -> list[Path]:
    """Return the folders to search for weights; torch's cache is the last."""
    user_folders = [Path(part) for part in os.environ.get(WEIGHTS, "").split(os.pathsep) if part]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    torch_home = Path(os.environ.get("TORCH_HOME") or cache / "torch")
    return [*settings().weights, *user_folders, torch_home / "hub" / "checkpoints"]


def program_folders(variable: str) -> list[Path]:
    """Return the folder in an environment variable, and its bin folder; empty if unset."""
    folder = os.environ.get(variable)
    return [Path(folder), Path(folder) / "bin"] if folder else []


SEARCHED_PLACES = "--weights-dir or torch's cache"  # in sentences for the user


class PublishedFile(NamedTuple):
    """Weight file to download."""

    url: str
    name: str  # file name in a weights folder
    sha256: str  # all or the first hex digits; empty if the authors publish none
    size_bytes: int | None = None


def _network_files(name: str) -> tuple[PublishedFile, ...]:
    facts = dict(_NETWORKS[name])
    base = facts.pop("with", "")
    file = PublishedFile(**{"name": facts["url"].rpartition("/")[2], **facts})
    return (*(_network_files(base) if base else ()), file)


_NETWORKS = tomllib.loads(Path(__file__).with_name("networks.toml").read_text())
# Weight files of metrics' networks, by their name in `bench fetch`
NETWORKS = {name: _network_files(name) for name in _NETWORKS}


def find_fetched(patterns: Sequence[str], name: str, file: str) -> Path:
    """Return a weight file that `bench fetch NAME` downloads. file: its name in errors."""
    command = f"bench fetch {name}"
    return find_weights(patterns, f"run `{command}`, or put {file} into one of them", command)


def find_weights(patterns: Sequence[str], remedy: str, command: str = "") -> Path:
    """Return the first file that matches a pattern, folder by folder, or raise `Unavailable`."""
    for folder in weight_folders():
        for pattern in patterns:
            for path in sorted(folder.glob(pattern)):
                return path
    raise Unavailable(
        f"no weight file {' or '.join(patterns)} in {SEARCHED_PLACES}: {remedy}",
        Reason("weights", patterns[0], command),
    )
