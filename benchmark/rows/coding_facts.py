"""Chroma format and tuning of the codecs behind rows, and the caveats of comparing two of them."""

from collections.abc import Mapping
from typing import NamedTuple

from benchmark.codec_spec import CodecSpec


class CodingFacts(NamedTuple):
    """Properties of a codec that decide by which metric it looks good; empty: not stated."""

    chroma: str = ""  # "4:2:0", "4:4:4"
    tuned_for: str = ""  # "PSNR", "SSIM"


NOT_STATED = CodingFacts()

# What the adapters were, by codec and their default options, when rows did not name it yet.
UNNAMED: Mapping[str, CodingFacts] = {
    "ours": CodingFacts("4:4:4", "perceptual quality"),
    "raw": CodingFacts("4:4:4"),
    "jpeg": CodingFacts("4:2:0"),
    "webp": CodingFacts("4:2:0"),
    "jpeg2000": CodingFacts("4:4:4", "PSNR"),
    "avif": CodingFacts("4:4:4", "SSIM"),
    "jpegxl": CodingFacts("4:4:4", "Butteraugli"),
    "x265": CodingFacts("4:4:4", "PSNR"),
    "vvenc": CodingFacts("4:2:0", "PSNR"),
    "vtm": CodingFacts("4:4:4", "PSNR"),
    "compressai": CodingFacts("4:4:4", "PSNR"),
}


def coding_facts(codec: str, variant: str, chroma: str, tuned_for: str) -> CodingFacts:
    """Return the facts of a codec variant by its row's columns; empty ones are looked up.

    >>> coding_facts("jpeg", "subsampling=444", "", "")
    CodingFacts(chroma='4:4:4', tuned_for='')
    >>> coding_facts("avif", "tune=psnr", "4:4:4", "PSNR")
    CodingFacts(chroma='4:4:4', tuned_for='PSNR')
    """
    known = UNNAMED.get(codec, NOT_STATED)
    options = dict(CodecSpec.of(codec, variant).options)
    if codec == "ours" and options.get("beta") == "0":
        known = known._replace(tuned_for="PSNR")
    if codec == "compressai" and options.get("metric") == "ms-ssim":
        known = known._replace(tuned_for="MS-SSIM")
    if "subsampling" in options:
        known = known._replace(chroma=":".join(options["subsampling"]))
    return CodingFacts(chroma or known.chroma, tuned_for or known.tuned_for)


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
