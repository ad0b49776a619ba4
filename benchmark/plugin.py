"""Codecs, metrics and datasets that installed packages offer by entry points; none is imported."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import NamedTuple

GROUPS = {"codec": "rdrbench.codecs", "metric": "rdrbench.metrics", "dataset": "rdrbench.datasets"}


class Plugin(NamedTuple):
    """An entry point of a package: `flif = "flif_codec.codec:FLIF"`."""

    kind: str  # of GROUPS
    module: str
    attribute: str
    package: str  # with its version


@cache
def plugins() -> Mapping[str, Plugin]:
    """Return the plugins of all installed packages, by their names; the first of each name."""
    offered: dict[str, Plugin] = {}
    for kind, group in GROUPS.items():
        for point in entry_points(group=group):
            package = f"{point.dist.name} {point.dist.version}" if point.dist else "a package"
            offered.setdefault(point.name, Plugin(kind, point.module, point.attr, package))
    return offered
