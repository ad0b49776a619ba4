"""The parsers that are fuzzed, by name: text, so that a process imports only its own."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import cast

from faults.fuzzing.target import Target

HEADERS = (
    "crdr_header", "plain_header", "single_header", "level_map", "symbols", "zoo_header", "raw",
    "avif_boxes", "bpg_header", "y4m", "jpeg_segments",
)  # fmt: skip
FILES = ("tar", "pack", "sizes", "card", "photograph", "tiff", "decoded_png")
NETWORKS = (
    "ours", "charm", "elic", "ivr", "hific", "multirealism", "pqmim", "dirac", "hfd", "hyperprior",
)  # fmt: skip
TARGETS = {
    name.replace("_", "-"): f"faults.fuzzing.{module}:{name}"
    for module, names in (("headers", HEADERS), ("files", FILES), ("networks", NETWORKS))
    for name in names
}


def is_target(name: str) -> bool:
    """Return whether it is one of the table, or names a function: "module:function"."""
    return name in TARGETS or ":" in name


def load_target(name: str, folder: Path) -> Target:
    """Make a target; files and networks that it needs are written below `folder`."""
    module, _, function = TARGETS.get(name, name).partition(":")
    make = cast(Callable[[Path], Target], getattr(import_module(module), function))
    return make(folder)
