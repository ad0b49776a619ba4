"""Chroma format and tuning of the codecs behind rows, and the caveats of comparing two of them."""

from typing import NamedTuple

from benchmark.codec_spec import CodecSpec, facts_of


class CodingFacts(NamedTuple):
    """Properties of a codec that decide by which metric it looks good; empty: not stated."""

    chroma: str = ""  # "4:2:0", "4:4:4"
    tuned_for: str = ""  # "PSNR", "SSIM"


NOT_STATED = CodingFacts()


def coding_facts(codec: str, variant: str, chroma: str, tuned_for: str) -> CodingFacts:
    """Return what a row states; where that is empty, what the codec's class declares.

    >>> coding_facts("jpeg", "subsampling=444", "", "")
    CodingFacts(chroma='4:4:4', tuned_for='')
    >>> coding_facts("avif", "tune=psnr", "4:4:4", "PSNR")
    CodingFacts(chroma='4:4:4', tuned_for='PSNR')
    """
    facts = facts_of(CodecSpec.of(codec, variant))
    return CodingFacts(chroma or facts.chroma, tuned_for or facts.tuned_for)


class Side(NamedTuple):
    """A codec of a comparison."""

    name: str  # in sentences
    facts: CodingFacts
    caveats: tuple[str, ...]  # of its rows


def caveats(first: Side, second: Side) -> tuple[str, ...]:
    """Return a sentence for every difference that a metric sees and that is not one of quality.

    These are another chroma format, another metric that the encoder is tuned for, and caveats that
    only one of the codecs has. What neither states is no difference.
    """
    found = []
    mine, other = first.facts, second.facts
    if mine.chroma and other.chroma and mine.chroma != other.chroma:
        found.append(
            f"{first.name} codes chroma as {mine.chroma}, {second.name} as {other.chroma}: metrics "
            "of RGB count the colour detail that subsampling removes"
        )
    if mine.tuned_for != other.tuned_for:
        found.append(
            f"{_tuning(first)}, {_tuning(second)}: a metric favours the codec that is tuned for it"
        )
    for one, rest in ((first, second), (second, first)):
        found += [f"{one.name}: {text}" for text in one.caveats if text not in rest.caveats]
    return tuple(found)


def _tuning(side: Side) -> str:
    metric = side.facts.tuned_for
    return f"{side.name} is tuned for {metric}" if metric else f"{side.name} for no stated metric"
