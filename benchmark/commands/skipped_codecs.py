"""Lines of the terminal on codecs that cannot run here: those that lack the same share a line."""

import re
from collections.abc import Iterable

from benchmark.system.weights import SEARCHED

# The sentence of `find_weights`: a command, and what of it codecs that share a line have in common.
WEIGHTS = re.compile(
    rf"no weight file .+? in {SEARCHED}: .*?(`(bench fetch|bench train --suite \w+)[^`]*`)"
)
NEEDS = re.compile(r"\S+ needs (.+)", re.DOTALL)


def skipped_codecs(skipped: Iterable[tuple[str, str]], details: bool = False) -> list[str]:
    """Return lines that name every skipped codec, what it lacks and what to do about that.

    skipped: pairs of a codec as asked for and the whole reason, which a codec with a line of its
    own keeps. details: a line of its own for each.

    >>> why = "no weight file a.pt in --weights-dir or torch's cache: run `bench fetch a`"
    >>> skipped_codecs([("charm", why), ("elic", why)])
    ["charm, elic: no weight files in --weights-dir or torch's cache: run `bench fetch a`"]
    """
    alike: dict[str, list[tuple[str, str]]] = {}
    for codec, reason in skipped:
        alike.setdefault(codec if details else _lack(reason), []).append((codec, reason))
    return [line for pairs in alike.values() for line in _lines(pairs, details)]


def _lack(reason: str) -> str:
    """Return what is the same in the reasons of codecs that share a line."""
    if weights := WEIGHTS.match(reason):
        return weights[2]
    needs = NEEDS.fullmatch(reason)
    return f"need {needs[1]}" if needs else reason


def _lines(pairs: list[tuple[str, str]], details: bool) -> list[str]:
    codecs = dict.fromkeys(codec for codec, _ in pairs)
    if details or len(codecs) == 1:
        return [f"{codec}: {reason}" for codec, reason in dict.fromkeys(pairs)]
    found = [weights for _, reason in pairs if (weights := WEIGHTS.match(reason))]
    lack = _lack(pairs[0][1])
    if found:
        commands = ", ".join(dict.fromkeys(weights[1] for weights in found))
        lack = f"no weight files in {SEARCHED}: run {commands}"
    return [f"{', '.join(codecs)}: {lack}"]
