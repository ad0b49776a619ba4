"""What colour conversion alone costs a codec, and whether more quality means more bytes.

A wrong matrix, range or rounding hides in a rate-distortion curve: it costs half a dB at high rates
and nothing at low ones. Without the codec between, it shows.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from benchmark.codec import ConvertsColour, Pixels, Setting
from benchmark.errors import Unavailable
from benchmark.measure.execute import explain
from benchmark.metrics.psnr import psnr
from benchmark.packs.pack import Pack
from benchmark.plan.cells import Contender
from benchmark.plan.select import select
from benchmark.registry import CODECS, NEED_OPTIONS, CodecSpec, codec_class, load_codec

CROP_PX = 192  # of each side, for encoders that take a minute for a small photograph


class Ceiling(NamedTuple):
    """What was found of one codec variant."""

    label: str
    rounded_db: float  # lowest over the images, as its adapter converts; infinite: nothing is lost
    truncated_db: float  # as if fractions were cut off both ways
    least_db: float  # that a right conversion has
    num_bytes: Mapping[Setting, int]  # by setting, lowest rate first; empty where not measured
    unmeasured: str  # why there are none
    wrong: tuple[str, ...]  # sentences; empty where all is well


def converting_codecs() -> list[CodecSpec]:
    """Every variant of a registered codec that converts colour in a way of its own."""
    names = [name for name in CODECS if name not in NEED_OPTIONS]
    return [
        CodecSpec(name, tuple(sorted(options.items())))
        for name in names
        for options in _conversions(name)
    ]


def measure_ceiling(spec: CodecSpec, packs: Sequence[Pack], images: Sequence[Pixels]) -> Ceiling:
    """The conversion on whole images; bytes of a crop of the first, or of recorded streams.

    Raises `Unavailable` where not even the conversion can be had.
    """
    codec = load_codec(spec)
    assert isinstance(codec, ConvertsColour), f"{spec.text} has conversions"
    rounded = min(psnr(image, codec.convert_only(image)) for image in images)
    truncated = min(psnr(image, codec.convert_only(image, truncated=True)) for image in images)
    least, wrong = codec.conversion_floor_db, []
    if not rounded >= least:
        wrong.append(f"conversion alone leaves {rounded:.2f} dB, a right one {least:g} or more")
    sizes: Mapping[Setting, int] = {}
    unmeasured = ""
    try:
        (contender,) = select(
            [spec.text], {}, [one for one in packs if spec in one.infos]
        ).contenders
        sizes = _sizes(contender, images[0][:CROP_PX, :CROP_PX])
    except Unavailable as missing:
        unmeasured = str(missing)
    except Exception as error:  # foreign code, as in benchmark.measure.execute
        wrong.append(f"it cannot encode: {explain(error)}")
    for (low, fewer), (high, more) in pairwise(sizes.items()):
        if not fewer < more:
            wrong.append(f"{high} takes {more} bytes, {low} before it {fewer}")
    return Ceiling(spec.text, rounded, truncated, least, sizes, unmeasured, tuple(wrong))


def _conversions(name: str) -> tuple[Mapping[str, str], ...]:
    try:
        made = codec_class(CodecSpec(name, ()))
    except Unavailable:
        return ()
    found: tuple[Mapping[str, str], ...] = getattr(made, "conversions", ())
    return found


def _sizes(contender: Contender, crop: Pixels) -> dict[Setting, int]:
    """Bytes by setting, in the order of the codec's own sweep: what should rise."""
    sweep = load_codec(contender.spec).sweep
    if contender.pack is None:
        codec = load_codec(contender.spec)
        return {setting: len(codec.encode(crop, setting)) for setting in sweep}
    found: dict[Setting, int] = {}
    for line in contender.pack.lines.values():
        if line.spec == contender.spec:
            found[line.setting] = found.get(line.setting, 0) + line.num_bytes
    return {setting: found[setting] for setting in sweep if setting in found}
