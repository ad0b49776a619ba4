"""Reasons why a metric has no value, as rows keep them, and the commands that bring it.

Rows keep the reason for a value's absence as a text that begins with its kind and remedy; without
these, as in older rows, it is tried again:

    weights (bench fetch alexnet): no weight file alexnet_features.pth in ...
    pixels: MS-SSIM needs at least 161 px on the shorter side, this image has 40
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from benchmark.errors import NotMeasurable, Reason, Unavailable
from benchmark.registry import (
    is_brought,
    metric_class,
    metric_named,
    require_packages,
    scored_by_image,
)

NOT_COMPUTED = "not computed"
ABSENT = {
    "weights": "weights absent", "package": "Python package absent", NOT_COMPUTED: NOT_COMPUTED,
}  # fmt: skip
KINDS = (*ABSENT, "pixels")


def reason_text(error: Unavailable | NotMeasurable) -> str:
    """Return the reason why a metric has no value as rows keep it."""
    if error.reason is None or error.reason.kind not in KINDS:
        return str(error)
    kind, _, remedy = error.reason
    return f"{kind} ({remedy}): {error}" if remedy else f"{kind}: {error}"


def read_reason(text: str) -> tuple[Reason, str]:
    """Return the reason, without its subject, and the sentence that `reason_text` put together.

    >>> read_reason("weights (bench fetch alexnet): no weight file")
    (Reason(kind='weights', subject='', remedy='bench fetch alexnet'), 'no weight file')
    """
    head, _, sentence = text.partition(": ")
    kind, _, remedy = head.removesuffix(")").partition(" (")
    return (Reason(kind, "", remedy), sentence) if kind in KINDS else (Reason(""), text)


def absence(text: str) -> tuple[str, str]:
    """Shorten a reason to what is absent and the command that brings it, "" where none is known."""
    reason, sentence = read_reason(text)
    command = "bench rescore" if reason.kind == NOT_COMPUTED else reason.remedy
    return ABSENT.get(reason.kind, sentence), command and f"`{command}`"


def lasting(text: str, again: bool = True) -> bool:
    """Return whether a reason lies in the pixels, or with `again` False in no absent file."""
    kind = read_reason(text)[0].kind
    return kind == "pixels" if again else kind not in ("weights", "package")


def lacking(names: Iterable[str], *, loaded: bool = False) -> dict[str, str]:
    """Return those of the metrics that cannot be computed here, each with the reason.

    Files, programs and packages are looked for, and no network is loaded; with `loaded`, each
    metric is constructed for the CPU, which also finds a weight file that is damaged.
    """
    of_image = {name: scored_by_image([name])[0] for name in names}
    reasons = {name: _reason(name, loaded) for name in dict.fromkeys(of_image.values())}
    return {name: reasons[each] for name, each in of_image.items() if reasons[each]}


def _reason(of_image: str, loaded: bool) -> str:
    kind, of_user = metric_class(of_image), is_brought(of_image)
    require = getattr(kind, "require", None)
    try:
        require_packages(getattr(kind, "label", of_image), getattr(kind, "packages", ()))
        if require is not None and (of_user or not loaded):
            require()
        elif not of_user:  # a user's constructor runs in workers alone, which say what it raised
            kind("cpu")
    except Unavailable as missing:
        return reason_text(missing)
    return ""


def computable(of_images: Iterable[str], absent: Iterable[str]) -> tuple[str, ...]:
    """Return the image metrics and feature spaces that no metric of `absent` needs."""
    without = set(scored_by_image(absent))
    return tuple(name for name in of_images if name not in without)


def by_kind(reasons: Iterable[tuple[str, str]], then: str = "") -> list[str]:
    """Return a line for each kind of thing that is absent: "LPIPS, DISTS: weights absent (...)".

    reasons: pairs of a metric and why it cannot be computed. then: what is to be done after the
    commands that a line ends with.
    """
    kinds: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for name, reason in reasons:
        what, command = absence(reason)
        names, commands = kinds.setdefault(what, ({}, {}))
        names[name] = commands[command] = None
    result = []
    for what, (names, commands) in kinds.items():
        after = ", ".join(filter(None, commands))
        after += f", then {then}" if after and then else ""
        line = f"{', '.join(names)}: {what}"
        result.append(f"{line} ({after})" if after else line)
    return result


class Again(NamedTuple):
    """The commands that compute metrics of stored rows, without `--metrics`."""

    rescore: str = "bench rescore"
    run: str = ""  # where a run kept no streams: codes its cells again

    def command(self, metrics: str) -> str:
        """Return the command that computes these metrics, as a sentence has it."""
        return f"`{self.run or self.rescore} --metrics {metrics}`"

    def computes(self, metrics: str) -> str:
        """Return a clause on the command and on what the metrics come from."""
        how = "codes the images again, as no streams were kept"
        how = how if self.run else "computes it from kept streams"
        return f"{self.command(metrics)} {how}"


RESCORE = Again()


def remedies(names: Iterable[str], reason: str = "", again: Again = RESCORE) -> str:
    """Return what computes metrics of stored rows, with what they lack here, as part of a sentence.

    reason: why rows have no values of them, as rows keep it; returned where no command helps.
    """
    kind, sentence = read_reason(reason)
    if sentence and kind.kind not in ABSENT and NOT_COMPUTED not in sentence:
        return sentence
    metrics = ",".join(asked := dict.fromkeys(names))
    absent = [absence(text) for text in lacking(asked).values()]
    if not absent:
        return again.computes(metrics)
    what, first = (", ".join(filter(None, dict.fromkeys(of))) for of in zip(*absent, strict=True))
    return f"{what}: {first}, then {again.command(metrics)}" if first else what


def labelled(names: Mapping[str, str]) -> dict[str, str]:
    """Return the same mapping by the labels of the metrics instead of their names."""
    return {metric_named(name).label: reason for name, reason in names.items()}
