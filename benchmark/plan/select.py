"""Select what can run here of the codecs asked for: contenders, and skipped ones with reasons."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from benchmark.codec import Codec, Setting
from benchmark.codec_spec import CodecSpec, load_codec, names_code, parse_codec, resolve
from benchmark.errors import BadPack, Unavailable, UnknownName, UsageError
from benchmark.packs.pack import Pack, Recorded, shipped_packs, with_variant
from benchmark.plan.cells import Contender
from benchmark.registry import ALIASES, CODECS, NEED_OPTIONS

ALL = ("all",)  # codecs: everything that runs here
BY_NAME = "the pack itself says what to run: it runs only where --codecs names it"

Points = Mapping[tuple[str, str], tuple[float, ...]]  # (codec, setting name) -> values


class Selection(NamedTuple):
    """Contenders that run here, and the codecs that lack something."""

    contenders: tuple[Contender, ...]
    skipped: tuple[tuple[str, str], ...]  # (codec as asked for, reason)


def every_codec() -> list[str]:
    """Return what `--codecs all` stands for: codecs without required options, and aliases."""
    return [*(name for name in CODECS if name not in NEED_OPTIONS), *ALIASES]


def parse_points(texts: Iterable[str]) -> dict[tuple[str, str], tuple[float, ...]]:
    """Parse settings given as `codec.setting=1,2,3`, one or several, separated by commas.

    Raises `UsageError` for other texts.

    >>> parse_points(["jpeg.quality=10,30,webp.quality=50", "ours:beta=3.84.q=2"])
    {('jpeg', 'quality'): (10, 30), ('webp', 'quality'): (50,), ('ours:beta=3.84', 'q'): (2,)}
    """
    points: dict[tuple[str, str], tuple[float, ...]] = {}
    for text in texts:
        key = "", ""
        for part in text.split(","):
            left, equals, right = part.rpartition("=")
            if equals:
                codec, _, setting = left.rpartition(".")
                key = codec.strip(), setting
            try:
                value = _number(right)
            except ValueError:
                key = "", ""
            if not all(key):
                raise UsageError(f"--points {text!r} is not of the form codec.setting=1,2,3")
            points[key] = (*points.get(key, ()), value)
    return points


def select(
    codecs: Sequence[str], points: Points, packs: Sequence[Pack] = (), recorded: bool = True
) -> Selection:
    """Return the contenders for codec specs, in the order given; `ALL` skips what cannot run here.

    Of codec variants that `packs` have, the streams come from there. Where a codec cannot encode
    here, they come from a pack that the project ships, unless `recorded` streams are of no use.
    Raises `Unavailable` where a codec asked for by name lacks something, `UsageError` for the rest.
    """
    everything = tuple(codecs) == ALL
    in_packs = [spec for pack in packs for spec in pack.infos] if everything else []
    own = [spec.text for spec in in_packs if not names_code(spec)]
    texts = [*every_codec(), *own] if everything else codecs
    contenders: dict[CodecSpec, Contender] = {}
    skipped = [(spec.text, BY_NAME) for spec in in_packs if names_code(spec)]
    used: set[tuple[str, str]] = set()
    for text in texts:
        try:
            for spec in resolve(parse_codec(text.strip())):
                contender = _contender(spec, packs, recorded)
                contenders[spec] = at_points(contender, points, used)
        except (Unavailable, BadPack) as missing:
            if not everything:
                raise Unavailable(f"{text} cannot run here: {missing}") from missing
            skipped.append((text, str(missing)))
    _refuse_equal_labels(contenders)
    if not skipped:
        _refuse_unused(packs, list(contenders.values()))
    unused = set(points) - used
    if unused:
        codec, setting = sorted(unused)[0]
        _explain_unused(codec, setting, list(contenders.values()))
    return Selection(tuple(contenders.values()), tuple(skipped))


def _refuse_equal_labels(specs: Iterable[CodecSpec]) -> None:
    seen: dict[str, CodecSpec] = {}
    for spec in specs:
        other = seen.setdefault(spec.label, spec)
        if other != spec:
            raise UsageError(
                f"{other.text!r} and {spec.text!r} would both have the label {spec.label!r}: "
                "give one of them another name=..."
            )


def _refuse_unused(packs: Iterable[Pack], contenders: Sequence[Contender]) -> None:
    for pack in packs:
        if not any(one.pack is not None and one.pack.path == pack.path for one in contenders):
            held = ", ".join(spec.text for spec in pack.infos)
            raise UsageError(f"no codec of --codecs takes a stream from {pack.path}: it has {held}")


def _contender(spec: CodecSpec, packs: Sequence[Pack], recorded: bool) -> Contender:
    codec: Codec = load_codec(spec)
    lacks = ""
    pack = with_variant(packs, spec)
    if pack is None:
        try:
            return Contender(spec, codec.describe(), tuple(codec.sweep))
        except Unavailable as missing:
            pack = with_variant(shipped_packs(), spec) if recorded else None
            if pack is None:
                raise
            lacks = str(missing)
    codec = Recorded(pack, spec, codec)
    return Contender(spec, codec.describe(), codec.sweep, pack, lacks)


def at_points(contender: Contender, points: Points, used: set[tuple[str, str]]) -> Contender:
    """Return the contender at the points given for it, if any; add these to `used`."""
    spec, sweep = contender.spec, contender.sweep
    for name in {setting.name for setting in sweep}:
        for asked in (spec.name, spec.text):
            if (asked, name) in points:
                used.add((asked, name))
                sweep = tuple(Setting(name, value) for value in points[asked, name])
    return contender._replace(sweep=tuple(dict.fromkeys(sweep)))


def _explain_unused(codec: str, setting: str, contenders: Sequence[Contender]) -> None:
    of_codec = [c for c in contenders if codec in (c.spec.name, c.spec.text)]
    if not of_codec:
        raise UnknownName("codec among --codecs", codec, {c.spec.name for c in contenders})
    names = {point.name for contender in of_codec for point in contender.sweep}
    raise UnknownName(f"setting of {codec}", setting, names)


def _number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() else value
