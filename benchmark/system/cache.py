"""Where things that can be made again are kept: the user's cache folder."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/rdrbench`, or `~/.cache/rdrbench`; not created here."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "rdrbench"
