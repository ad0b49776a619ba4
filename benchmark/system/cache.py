"""The user's cache folder, for files that can be made again."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return `$XDG_CACHE_HOME/rdrbench`, or `~/.cache/rdrbench`; not created here."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "rdrbench"
