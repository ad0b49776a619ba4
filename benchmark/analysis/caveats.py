"""Caveats of a comparison: what sets two codecs apart beside how well they code."""

from typing import NamedTuple

from benchmark.analysis.summarise import Edition


class Side(NamedTuple):
    """A codec of a comparison, and its name in sentences."""

    name: str
    edition: Edition


def caveats(first: Side, second: Side) -> tuple[str, ...]:
    """Return a sentence for every difference that a metric sees and that is not one of quality.

    These are another chroma format, another metric that the encoder is tuned for, and caveats that
    only one of the codecs has. What neither states is no difference.
    """
    found = []
    mine, other = first.edition.facts, second.edition.facts
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
        own = [text for text in one.edition.caveats if text not in rest.edition.caveats]
        found += [f"{one.name}: {text}" for text in own]
    return tuple(found)


def _tuning(side: Side) -> str:
    metric = side.edition.facts.tuned_for
    return f"{side.name} is tuned for {metric}" if metric else f"{side.name} for no stated metric"
