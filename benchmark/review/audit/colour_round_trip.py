"""Colour round trip: the loss of a codec's colour conversion alone, and whether bytes rise."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import NamedTuple

from benchmark.codec import ConvertsColour, Pixels, Setting
from benchmark.errors import Unavailable, UsageError
from benchmark.measure.cells import Contender
from benchmark.measure.select import ALL, select
from benchmark.metrics.psnr import psnr
from benchmark.plugins import one_line
from benchmark.registry import CODECS
from benchmark.rows.packs.pack import Pack
from benchmark.spec import CodecSpec, codec_class, load_codec, parse_codec, resolve

CROP_PX = 192  # of each side, for encoders that take a minute for a small photograph


class ColourRoundTrip(NamedTuple):
    """PSNR after both colour conversions of a codec variant, and its bytes by setting."""

    label: str
    rounded_db: float  # lowest over the images, as its adapter converts; infinite: nothing is lost
    truncated_db: float  # with truncation instead of rounding in both directions
    num_bytes: Mapping[Setting, int]  # by setting, lowest rate first; empty where not measured
    unmeasured: str  # why there are none
    wrong: tuple[str, ...]  # sentences; empty where all is well


def converting_codecs() -> list[CodecSpec]:
    """Return every variant of a registered codec that converts colour in a way of its own."""
    result = []
    for name in CODECS:
        with suppress(Unavailable):
            conversions = getattr(codec_class(CodecSpec(name, ())), "conversions", ())
            result += [CodecSpec(name, tuple(sorted(options.items()))) for options in conversions]
    return result


def chosen_codecs(texts: Sequence[str]) -> list[CodecSpec]:
    """Return the variants that specs stand for; `UsageError` for one that converts no colour."""
    known = converting_codecs()
    if tuple(texts) == ALL:
        return known
    asked = [spec for text in texts for spec in resolve(parse_codec(text.strip()))]
    for spec in asked:
        if spec.name not in {converting.name for converting in known}:
            raise UsageError(f"{spec.text} has no colour conversion of its own to measure")
    return asked


def measure_round_trips(
    specs: Iterable[CodecSpec], packs: Sequence[Pack], images: Sequence[Pixels]
) -> tuple[list[ColourRoundTrip], dict[str, str]]:
    """Measure each codec variant; return also the reasons of those that are unavailable."""
    measured: list[ColourRoundTrip] = []
    skipped: dict[str, str] = {}
    for spec in specs:
        try:
            measured.append(measure_round_trip(spec, packs, images))
        except Unavailable as missing:
            skipped[spec.text] = str(missing)
    return measured, skipped


def measure_round_trip(
    spec: CodecSpec, packs: Sequence[Pack], images: Sequence[Pixels]
) -> ColourRoundTrip:
    """Convert images and back; code a crop, or count recorded streams. Raises `Unavailable`."""
    codec = load_codec(spec)
    assert isinstance(codec, ConvertsColour), f"{spec.text} has conversions"
    rounded = min(psnr(image, codec.convert_only(image)) for image in images)
    truncated = min(psnr(image, codec.convert_only(image, truncated=True)) for image in images)
    floor, wrong = codec.conversion_floor_db, []
    if not rounded >= floor:
        wrong.append(f"conversion alone leaves {rounded:.2f} dB, a right one {floor:g} or more")
    sizes: Mapping[Setting, int] = {}
    unmeasured = ""
    try:
        usable = [pack for pack in packs if spec in pack.infos]
        (contender,) = select([spec.text], {}, usable).contenders
        sizes = _sizes(contender, images[0][:CROP_PX, :CROP_PX])
    except Unavailable as missing:
        unmeasured = str(missing)
    except Exception as error:  # foreign code, as in benchmark.measure.execute
        wrong.append(f"it cannot encode: {one_line(error)}")
    for (low, fewer), (high, more) in pairwise(sizes.items()):
        if not fewer < more:
            wrong.append(f"{high} takes {more} bytes, {low} before it {fewer}")
    return ColourRoundTrip(spec.text, rounded, truncated, sizes, unmeasured, tuple(wrong))


def _sizes(contender: Contender, crop: Pixels) -> dict[Setting, int]:
    """Return bytes by setting in the sweep's order, rising; of a pack, of images that all have."""
    codec = load_codec(contender.spec)
    if contender.pack is None:
        return {setting: len(codec.encode(crop, setting)) for setting in codec.sweep}
    sizes: dict[Setting, dict[str, int]] = {setting: {} for setting in codec.sweep}
    for stream in contender.pack.streams.values():
        if stream.spec == contender.spec and stream.setting in sizes:
            sizes[stream.setting][stream.image_sha256] = stream.num_bytes
    sizes = {setting: of for setting, of in sizes.items() if of}
    shared = set.intersection(*map(set, sizes.values())) if sizes else ()
    return {setting: sum(of[image] for image in shared) for setting, of in sizes.items() if shared}
