"""Facts about machine and checkout: processor, memory, GPUs, packages, commit, bundled rows."""

import getpass
import math
import os
import platform
import re
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from time import process_time
from typing import NamedTuple

from benchmark.errors import Reason, StoreError, Unavailable
from benchmark.system.atomic import write_file
from benchmark.system.foreign_files import read_regular

BENCHMARK_SECONDS = 0.15
CGROUP_MOUNTS = ("sys/fs/cgroup", "sys/fs/cgroup/unified", "sys/fs/cgroup/memory")
CGROUP_FILES = (  # limit, usage, and prefix of names of caches, for versions 2 and 1
    ("memory.max", "memory.current", ""),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
)
# Variables that limit the instructions of torch's kernels
KERNEL_LIMITS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
INSTRUCTIONS = {"amx_tile": "AMX", "avx512f": "AVX-512", "avx2": "AVX2", "asimd": "NEON"}


class Gpu(NamedTuple):
    """GPU that this process may use."""

    name: str  # an entry of CUDA_VISIBLE_DEVICES, by default the UUID
    free_bytes: int | None  # None if unknown


def machine() -> str:
    """Describe the hardware, with torch's limits, for timings: "Xeon, 2 cores, AVX2, speed 14"."""
    pairs = (line.partition(":") for line in reversed(_read_lines(Path("/proc/cpuinfo"))))
    facts = {key.strip(): value.strip() for key, _, value in pairs}
    processor = facts.get("model name") or platform.processor() or platform.machine()
    flags = facts.get("flags", "").split()
    instructions = next((name for flag, name in INSTRUCTIONS.items() if flag in flags), "")
    limits = [f"{name}={os.environ[name]}" for name in KERNEL_LIMITS if os.environ.get(name)]
    facts_text = [processor, f"{cores()} cores", instructions, *limits, f"speed {_core_speed()}"]
    return ", ".join(filter(None, facts_text))


def processor_of(machine: str) -> str:
    """Return the processor in the text of `machine`, without number and speed of cores."""
    return re.sub(r", (\d+ cores|speed \d+)", "", machine)


@cache
def _core_speed() -> int:
    """Return a core's speed, measured once per boot: log to base 1.25 of rounds per second."""
    (boot,) = _read_lines(Path("/proc/sys/kernel/random/boot_id"))[:1] or ["unknown"]
    user = os.getuid() if hasattr(os, "getuid") else ""
    cache_file = Path(tempfile.gettempdir()) / f"rdrbench-speed-{user}-{boot}"
    try:
        return int(read_regular(cache_file, 20))
    except (OSError, ValueError):
        speed = round(math.log(max(_rounds_per_second() for _ in range(3)), 1.25))
    with suppress(OSError):  # on an error, the next process measures it again
        write_file(cache_file, str(speed).encode())
    return speed


def _rounds_per_second() -> float:
    text = bytes(range(256)) * 64
    start_seconds, rounds = process_time(), 0
    while process_time() - start_seconds < BENCHMARK_SECONDS:
        sha256(zlib.compress(text))
        rounds += 1
    return rounds / (process_time() - start_seconds)


def cores() -> int:
    """Return the number of cores that this process may use (taskset may limit it)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def commit() -> str | None:
    """Return the checked-out commit, with "-dirty" if files differ; None outside a checkout."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        options = ("--always", "--dirty", "--abbrev=40", "--exclude=*")
        return command_output("git", "-C", str(root), "describe", *options).strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def user() -> str:
    """Return the user's name from git, else the login name, else ""."""
    with suppress(OSError, subprocess.SubprocessError):
        if name := command_output("git", "config", "user.name").strip():
            return name
    with suppress(OSError, KeyError):
        return getpass.getuser()
    return ""


def command_output(*command: str) -> str:
    """Run a command and return its standard output; errors are those of `subprocess.run`."""
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout


def package_folder(package: str) -> Path:
    """Return the folder of an installed Python package, without importing it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        sentence = f"the Python package {package!r} is not installed"
        raise Unavailable(sentence, Reason("package", package))
    return Path(spec.submodule_search_locations[0])


def gpus() -> tuple[Gpu, ...]:
    """Return the GPUs visible to workers, from nvidia-smi, without creating a CUDA context."""
    from benchmark.system.settings import VISIBLE_GPUS, worker_environment  # a slow import

    query = ("--query-gpu=index,uuid,memory.free", "--format=csv,noheader,nounits")
    with suppress(OSError, subprocess.SubprocessError):
        return visible_gpus(
            command_output("nvidia-smi", *query), worker_environment().get(VISIBLE_GPUS)
        )
    return ()


def visible_gpus(query_output: str, visible_devices: str | None) -> tuple[Gpu, ...]:
    """Return the GPUs in lines "index, uuid, MiB free" that CUDA_VISIBLE_DEVICES (None: all) lists.

    >>> visible_gpus("0, GPU-a, 100\\n1, GPU-b, [N/A]\\n", None)
    (Gpu(name='GPU-a', free_bytes=104857600), Gpu(name='GPU-b', free_bytes=None))
    >>> visible_gpus("0, GPU-a, 100\\n1, GPU-b, 200\\n", "1")
    (Gpu(name='1', free_bytes=209715200),)
    """
    rows = [[field.strip() for field in line.split(",")] for line in query_output.splitlines()]
    rows = [row for row in rows if len(row) == 3]
    free_bytes = {
        name: int(free_text) << 20 if free_text.isdigit() else None
        for index, uuid, free_text in rows
        for name in (index, uuid)
    }
    names = [uuid for _, uuid, _ in rows] if visible_devices is None else visible_devices.split(",")
    names = [name for name in map(str.strip, names) if name not in ("", "-1")]
    return tuple(Gpu(name, free_bytes.get(name)) for name in names)


def available_memory(root: Path = Path("/")) -> int | None:
    """Return the available bytes of system and control groups, whichever is less; None: unknown."""
    meminfo = _read_lines(root / "proc/meminfo")
    limits = [int(line.split()[1]) << 10 for line in meminfo if line.startswith("MemAvailable:")]
    for line in _read_lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        group = Path(path.strip("/"))
        for mount in CGROUP_MOUNTS:
            # A container may see its own group at the mount, under the host's path.
            for level in (group, *group.parents):
                limits += _group_headroom(root / mount / level)
    return min(limits, default=None)


def _group_headroom(folder: Path) -> Iterator[int]:
    """Yield the free bytes of a control group, or nothing if it has no limit."""
    for limit_file, usage_file, prefix in CGROUP_FILES:
        limit, usage = (
            next(iter(_read_lines(folder / name)), "") for name in (limit_file, usage_file)
        )
        if limit.isdigit() and usage.isdigit():  # otherwise "max", or no such group
            lines = _read_lines(folder / "memory.stat")
            sizes = dict(line.split(None, 1) for line in lines if " " in line)
            caches = (f"{prefix}inactive_file", f"{prefix}active_file")
            cache_bytes = sum(int(sizes.get(name, 0)) for name in caches)
            yield max(int(limit) - max(int(usage) - cache_bytes, 0), 0)


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


# A link to results/ in a checkout, a folder in a wheel
LINK = Path(__file__).parents[1] / "bundled"
BUNDLED = LINK.resolve()
READ_IN_PLACE = ("packs", "published")  # folders that are not copied


def begin_with_bundled(results: Path) -> None:
    """Copy an installed project's bundled rows to `results`, unless it exists; `StoreError`."""
    if LINK.is_symlink() or not BUNDLED.exists() or results != Path("results") or results.exists():
        return
    try:
        draft = Path(f"results.{os.getpid()}.part")
        draft.mkdir()
        for folder in BUNDLED.iterdir():
            if folder.name not in READ_IN_PLACE:
                shutil.copytree(folder, draft / folder.name, copy_function=shutil.copyfile)
        os.rename(draft, results)
    except OSError as error:
        raise StoreError(f"{results} cannot be written: {error.strerror or error}") from error
