"""Find weight files: in `--weights-dir` or `$BENCH_WEIGHTS`, then in torch's own cache."""

import os
from collections.abc import Sequence
from pathlib import Path

from benchmark.errors import Unavailable, UsageError

SEARCHED = "--weights-dir or torch's cache"  # in sentences for the user
VARIABLE = "BENCH_WEIGHTS"  # `--weights-dir` sets it, so that worker processes see the same folders


def use_weights_folder(folder: Path | None) -> None:
    """Have this process and its workers look for weights there first.

    Raises `UsageError` for a folder without any file.
    """
    if folder is not None:
        if not folder.is_dir() or not any(path.is_file() for path in folder.iterdir()):
            raise UsageError(
                f"{folder} was named as a folder of weight files and has none: name another, or "
                "leave it out to use those that are bundled or in torch's cache"
            )
        others = os.environ.get(VARIABLE)
        parts = [str(folder.resolve()), *([others] if others else [])]
        os.environ[VARIABLE] = os.pathsep.join(parts)


def weight_folders() -> list[Path]:
    """Return the folders that are searched, the user's own ($BENCH_WEIGHTS) first."""
    own = [Path(part) for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    torch_home = os.environ.get("TORCH_HOME") or str(
        Path(os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")) / "torch"
    )
    return [*own, Path(torch_home) / "hub" / "checkpoints"]


def find_weights(patterns: Sequence[str], remedy: str) -> Path:
    """Return the first file matching a glob pattern, folder by folder, pattern by pattern.

    Raises `Unavailable`, ending with `remedy`, where there is none.
    """
    for folder in weight_folders():
        for pattern in patterns:
            for path in sorted(folder.glob(pattern)):
                return path
    raise Unavailable(f"no weight file {' or '.join(patterns)} in {SEARCHED}: {remedy}")
