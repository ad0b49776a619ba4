"""Codecs that rows name: what they declare, and which of them the present command may run.

Stored rows start no program (`command`) and no Python file (`path.py:Class`), whoever measured them
and also as `base` of another codec: such a variant runs where `--codecs` names it in full.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmark.errors import BadOption, BenchError
from benchmark.registry import ALIASES
from benchmark.spec import CodecSpec, names_code, parse_codec, resolve, split_codecs

if TYPE_CHECKING:
    import polars as pl

ALL = "all"


class NamedCodecs:
    """The codecs that a command names: comma-separated specs or labels, or "all"."""

    def __init__(self, codecs: str = ALL) -> None:
        self._texts = set(split_codecs(codecs))
        self._specs: set[CodecSpec] = set()
        for text in self._texts - {ALL}:
            with suppress(BenchError):  # a label, or a file that is not here
                spec = parse_codec(text)
                self._specs.add(spec)
                if names_code(spec) or text in ALIASES:
                    self._specs.update(variant.identity for variant in resolve(spec))

    def select(self, spec: CodecSpec) -> bool:
        """Return whether a codec variant is among those named, by its codec, spec or label."""
        names = {ALL, spec.name, spec.text, spec.label}
        return bool(names & self._texts) or spec in self._specs

    def may_run(self, spec: CodecSpec) -> bool:
        """Return whether a codec variant that stored rows name may be loaded and run."""
        return not names_code(spec) or spec in self._specs

    def selects_to_run(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row (columns codec and variant) is of a codec to run for this command.

        >>> NamedCodecs("jpeg").selects_to_run({"codec": "jpeg", "variant": "optimize=1"})
        True
        >>> NamedCodecs("command").selects_to_run({"codec": "command", "variant": "decode=rm *"})
        False
        """
        spec = CodecSpec.of(row["codec"], row["variant"])
        return self.select(spec) and self.may_run(spec)

    def not_run(self, rows: "pl.DataFrame") -> dict[str, int]:
        """Return the number of rows of each selected variant that may not run, by its spec."""
        counts: dict[str, int] = {}
        for codec, variant, count in rows.group_by("codec", "variant").len().rows():
            with suppress(BadOption):  # it cannot be loaded either
                spec = CodecSpec.of(codec, variant)
                if self.select(spec) and not self.may_run(spec):
                    counts[spec.text] = count
        return dict(sorted(counts.items()))


def why_not_run(spec: CodecSpec) -> str:
    """Return the clause on a codec variant of stored rows that `NamedCodecs.may_run` refuses."""
    return f"{spec.text!r} is code that rows name: it runs only where --codecs names it in full"


def why_no_stream(recorded: bool, codecs: Iterable[str], dataset: str, options: str = "") -> str:
    """Return a sentence on why rows have no stream and what makes one, without its full stop.

    recorded: whether they were measured elsewhere. options: further ones of `bench run`.

    >>> why_no_stream(True, ["webp"], "kodak")
    'no stream came with the numbers; `bench run --codecs webp --dataset kodak` makes it here'
    """
    again = f"`bench run --codecs {','.join(codecs)} --dataset {dataset}{options}"
    if recorded:
        return f"no stream came with the numbers; {again}` makes it here"
    return f"the stream was not kept; {again} --results OTHER` makes it again"


EVERY = NamedCodecs()  # "all": every codec, and no code that rows name


class CodingFacts(NamedTuple):
    """Properties of a codec that decide by which metric it looks good; empty: not stated."""

    chroma: str = ""  # "4:2:0", "4:4:4"
    tuned_for: str = ""  # "PSNR", "SSIM"


NOT_STATED = CodingFacts()


class Side(NamedTuple):
    """A codec of a comparison."""

    name: str  # in sentences
    facts: CodingFacts
    caveats: tuple[str, ...]  # of its rows


def caveats(first: Side, second: Side) -> tuple[str, ...]:
    """Return a sentence for each difference that a metric sees and that is not one of quality."""
    sentences = []
    chroma, theirs = first.facts.chroma, second.facts.chroma
    if chroma and theirs and chroma != theirs:
        sentences.append(
            f"{first.name} codes chroma as {chroma}, {second.name} as {theirs}: metrics of RGB "
            "count the colour detail that subsampling removes"
        )
    if first.facts.tuned_for != second.facts.tuned_for:
        sentences.append(
            f"{_tuning(first)}, {_tuning(second)}: a metric favours the codec that is tuned for it"
        )
    for side, other in ((first, second), (second, first)):
        sentences += [f"{side.name}: {text}" for text in side.caveats if text not in other.caveats]
    return tuple(sentences)


def _tuning(side: Side) -> str:
    metric = side.facts.tuned_for
    return f"{side.name} is tuned for {metric}" if metric else f"{side.name} for no stated metric"
