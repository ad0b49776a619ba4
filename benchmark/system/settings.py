"""Settings of a run: its device, its folders of weights, and the weight files found there.

They belong to the caller's context (`contextvars`), never to `os.environ`. Without a choice, the
user's variables $BENCH_DEVICE and $BENCH_WEIGHTS hold.
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
VISIBLE = "CUDA_VISIBLE_DEVICES"
GPU_MARKS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg")
# Two oversubscribed cores make some metrics 27 times slower: a worker's numeric pools get a thread.
POOLS = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
    *("VECLIB_MAXIMUM_THREADS", "BLIS_NUM_THREADS"),
)
ONE_THREAD: Mapping[str, str] = MappingProxyType(dict.fromkeys(POOLS, "1"))


class Settings(NamedTuple):
    """Choices of this context; nothing where the environment decides."""

    device: str | None = None  # of codecs: "cpu", "cuda" or one card of several, "cuda:1"
    weights: tuple[Path, ...] = ()  # folders that are searched first

    def variables(self) -> dict[str, str]:
        """Return the environment variables by which another process has the same settings.

        If they name a card, that process sees it alone, as "cuda".
        """
        folders = [*map(str, self.weights), os.environ.get(WEIGHTS)]
        kind, _, number = (self.device or chosen_device()).partition(":")
        seen = os.environ.get(VISIBLE, "").split(",")
        card = seen[int(number)].strip() if number and seen != [""] else number
        chosen = {DEVICE: kind, VISIBLE: card, WEIGHTS: os.pathsep.join(filter(None, folders))}
        return {name: value for name, value in chosen.items() if value}


_CURRENT: ContextVar[Settings | None] = ContextVar("settings", default=None)


def settings() -> Settings:
    """Return the settings of this context."""
    return _CURRENT.get() or Settings()


def isolated(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Run each call of a function in a copy of its context: settings that it uses end with it."""

    @wraps(function)
    def call(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        return copy_context().run(function, *arguments, **named)

    return call


def worker_environment(**more: str) -> dict[str, str]:
    """Return the environment of a worker process, with these settings and single threads."""
    return {**os.environ, **settings().variables(), **ONE_THREAD, **more}


def use_device(asked: str, has_gpu: bool | None = None) -> Device:
    """Choose `auto`, `cpu`, `cuda` or a card, `cuda:1`, for codecs of this context and its workers.

    has_gpu: of the machines that code; by default torch says it of this machine. Returns the kind
    of device. Raises `UsageError` for another text, `Unavailable` without GPU, or that card.
    """
    device = _usable(asked, "--device", has_gpu)
    _CURRENT.set(settings()._replace(device=device))
    return "cpu" if device == "cpu" else "cuda"


def _usable(asked: str, option: str, has_gpu: bool | None = None) -> str:
    if not re.fullmatch("auto|cpu|cuda(:[0-9]+)?", asked):
        raise UsageError(f"{option} {asked!r} is none of auto, cpu, cuda, cuda:1 (a card)")
    kind, _, number = asked.partition(":")
    if number and has_gpu is not None:
        raise UsageError(f"{option} {asked}: Ray chooses each worker's card; leave the number out")
    lacks = "" if has_gpu else "no node of the cluster has a GPU"
    if has_gpu is None and asked != "cpu":
        lacks = "" if any(map(os.path.exists, GPU_MARKS)) else "this machine shows no GPU"
        if not lacks:
            import torch

            usable = torch.cuda.is_available()
            lacks = "" if usable else "torch cannot use the GPU of this machine"
            cards = range(torch.cuda.device_count()) if usable and number else ()
            if cards and int(number) not in cards:
                known = (f"cuda:{card} ({torch.cuda.get_device_name(card)})" for card in cards)
                lacks = f"torch sees {', '.join(known)} here"
    if kind == "cuda" and lacks:
        raise Unavailable(f"{option} {asked}: {lacks}; leave the option out")
    if number:
        return f"cuda:{int(number)}"
    return "cpu" if lacks or kind == "cpu" else "cuda"


def chosen_device() -> str:
    """Return torch's name of the device for codecs, "cuda:1", by this context or $BENCH_DEVICE."""
    if chosen := settings().device:
        return chosen
    named = os.environ.get(DEVICE, "")
    if ":" in named:
        return _usable(named, f"${DEVICE}")
    return "cuda" if named == "cuda" else "cpu"


def use_weights_folder(folder: Path | None) -> None:
    """Search a folder for weights first; `UsageError` for a folder without files."""
    if folder is None:
        return
    if not folder.is_dir() or not any(path.is_file() for path in folder.iterdir()):
        remedy = "name another, or leave it out to use those that are bundled or in torch's cache"
        raise UsageError(f"{folder} was named as a folder of weight files and has none: {remedy}")
    _CURRENT.set(settings()._replace(weights=(folder.resolve(), *settings().weights)))


def weight_folders() -> list[Path]:
    """Return the folders that are searched for weights; torch's own cache is the last."""
    named = [Path(part) for part in os.environ.get(WEIGHTS, "").split(os.pathsep) if part]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    torch_home = Path(os.environ.get("TORCH_HOME") or cache / "torch")
    return [*settings().weights, *named, torch_home / "hub" / "checkpoints"]


def program_folders(variable: str) -> list[Path]:
    """Return the folder of programs that a variable of the user names, and its bin; else none."""
    named = os.environ.get(variable)
    return [Path(named), Path(named) / "bin"] if named else []


SEARCHED = "--weights-dir or torch's cache"  # in sentences for the user


class PublishedFile(NamedTuple):
    """A weight file on the network."""

    url: str
    name: str  # under which it is stored and looked for
    sha256: str  # or its first hexadecimal digits; empty where its authors publish none
    size_bytes: int | None = None


def _network(name: str) -> tuple[PublishedFile, ...]:
    facts = dict(_NETWORKS[name])
    other = facts.pop("with", "")
    own = PublishedFile(**{"name": facts["url"].rpartition("/")[2], **facts})
    return (*(_network(other) if other else ()), own)


_NETWORKS = tomllib.loads(Path(__file__).with_name("networks.toml").read_text())
# Networks of metrics, by the name that `bench fetch` takes.
NETWORKS = {name: _network(name) for name in _NETWORKS}


def find_fetched(patterns: Sequence[str], name: str, file: str) -> Path:
    """Return a weight file that `bench fetch` brings by a name; file: what `Unavailable` says."""
    command = f"bench fetch {name}"
    return find_weights(patterns, f"run `{command}`, or put {file} into one of them", command)


def find_weights(patterns: Sequence[str], remedy: str, command: str = "") -> Path:
    """Return the first file of the patterns, folder by folder; `Unavailable` with the command."""
    for folder in weight_folders():
        for pattern in patterns:
            for path in sorted(folder.glob(pattern)):
                return path
    raise Unavailable(
        f"no weight file {' or '.join(patterns)} in {SEARCHED}: {remedy}",
        Reason("weights", patterns[0], command),
    )
