"""Metrics that cannot be computed on this machine, with what each lacks: weights, program, package.

`bench run`, `bench rescore`, `bench check` and `bench doctor` ask here. Reasons are the sentences
that rows keep too, so the functions on reasons below serve stored rows as well.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from benchmark.errors import Unavailable
from benchmark.registry import metric_class, scored_by_image
from benchmark.user_file import names_file

WEIGHTS = re.compile(r"no weight file .+?: run (`bench fetch [^`]+`)")
PACKAGE = re.compile(r"needs the (Python package \S+): run (`.+`)$")
# What metrics say of pixels: too small, flat, equal to the source in some planes. Measuring the
# same pixels again cannot give a value.
OF_PIXELS = ("this image has", "of this image and of its source", "that are not flat")


class Absence(NamedTuple):
    """A file or package that a metric lacks, and the command that brings it, or nothing."""

    what: str
    command: str = ""


def lacking(names: Iterable[str], *, loaded: bool = False) -> dict[str, str]:
    """Return those of the metrics that cannot be computed here, each with the reason.

    Files, programs and packages are looked for, and no network is loaded; with `loaded`, each
    metric is constructed for the CPU, which also finds a weight file that is damaged.
    """
    reasons: dict[str, str | None] = {}  # by what is computed per image
    found = {}
    for name in names:
        (of_image,) = scored_by_image([name])
        if of_image not in reasons:
            reasons[of_image] = _reason(of_image, loaded)
        if (reason := reasons[of_image]) is not None:
            found[name] = reason
    return found


def computable(of_images: Iterable[str], absent: Iterable[str]) -> tuple[str, ...]:
    """Return the image metrics and feature spaces that no metric of `absent` needs."""
    without = set(scored_by_image(absent))
    return tuple(name for name in of_images if name not in without)


def absence(reason: str) -> Absence:
    """Shorten the reason why a metric cannot be computed.

    >>> absence("no weight file a.pth in torch's cache: run `bench fetch alexnet`, or put it there")
    Absence(what='weights absent', command='`bench fetch alexnet`')
    """
    if weights := WEIGHTS.search(reason):
        return Absence("weights absent", weights[1])
    if package := PACKAGE.search(reason):
        return Absence(f"{package[1]} absent", package[2])
    return Absence(reason)


def by_kind(reasons: Iterable[tuple[str, str]], then: str = "") -> list[str]:
    """Return one line for each kind of thing that is absent: "LPIPS, DISTS: weights absent (...)".

    reasons: pairs of a metric, by its name or label, and why it cannot be computed. then: what is
    to be done after the commands that a line ends with.
    """
    kinds: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for name, reason in reasons:
        what, command = absence(reason)
        names, commands = kinds.setdefault(what, ({}, {}))
        names[name] = None
        commands |= dict.fromkeys(filter(None, [command]))
    return [
        f"{', '.join(names)}: {what}"
        + (f" ({', '.join(commands)}{then and f', then {then}'})" if commands else "")
        for what, (names, commands) in kinds.items()
    ]


def labelled(names: Mapping[str, str]) -> dict[str, str]:
    """Return the same mapping by the labels of the metrics instead of their names."""
    return {metric_class(name).label: reason for name, reason in names.items()}


def lasting(reason: str) -> bool:
    """Return whether a null has its reason in the pixels, so that no further attempt helps.

    >>> lasting("MS-SSIM needs at least 161 px on the shorter side, this image has 40")
    True
    """
    return any(words in reason for words in OF_PIXELS)


def _reason(of_image: str, loaded: bool) -> str | None:
    kind = metric_class(of_image)
    require = getattr(kind, "require", None)
    if require is None and names_file(of_image):
        return None  # a user's constructor runs in workers alone, which say what it raised
    try:
        if require is None or (loaded and not names_file(of_image)):
            kind("cpu")
        else:
            require()
    except Unavailable as missing:
        return str(missing)
    return None
