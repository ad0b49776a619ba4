"""Select what can run here of the codecs asked for: contenders, and skipped ones with reasons."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from benchmark.codec import Between, Codec, OneOf, Setting
from benchmark.errors import BadOption, BadPack, Reason, Unavailable, UnknownName, UsageError
from benchmark.facts import needs_options
from benchmark.measure.cells import Contender
from benchmark.registry import ALIASES, CODECS
from benchmark.rows.packs.pack import Pack, Recorded, shipped_packs, with_variant
from benchmark.spec import (
    SEED,
    CodecSpec,
    codec_class,
    described,
    drawings,
    load_codec,
    names_code,
    parameters_of,
    parse_codec,
    plain_codec,
    resolve,
)

ALL = ("all",)  # codecs: everything that runs here
BY_NAME = "the pack itself says what to run: it runs only where --codecs names it"

Points = Mapping[tuple[str, str], tuple[float, ...]]  # (codec, setting name) -> values


class Skipped(NamedTuple):
    """A codec that cannot run here."""

    codec: str  # as asked for
    why: str  # a sentence
    reason: Reason = Reason("")


class Selection(NamedTuple):
    """Contenders that run here, and the codecs that lack something."""

    contenders: tuple[Contender, ...]
    skipped: tuple[Skipped, ...]

    @property
    def reasons(self) -> dict[str, str]:
        """Return the sentence of each skipped codec."""
        return {skipped.codec: skipped.why for skipped in self.skipped}


def every_codec() -> list[str]:
    """Return what `--codecs all` stands for: codecs without required options, and aliases."""
    return [*(name for name in CODECS if not needs_options(name)), *ALIASES]


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
                key = plain_codec(codec.strip()), setting
            try:
                value = _number(right)
            except ValueError:
                key = "", ""
            if not all(key):
                raise UsageError(f"--points {text!r} is not of the form codec.setting=1,2,3")
            points[key] = (*points.get(key, ()), value)
    return points


def select(
    codecs: Sequence[str],
    points: Points,
    packs: Sequence[Pack] = (),
    recorded: bool = True,
    skip_missing: bool = False,
    draws: int | None = None,
    contender: Callable[[CodecSpec], Contender] | None = None,
) -> Selection:
    """Return the contenders for codec specs, in the order given; `ALL` skips what cannot run here.

    Of codec variants that `packs` have, the streams come from there; where a codec cannot encode
    here, from a pack that the project ships, if `recorded` streams are of use. With `draws`, every
    codec that draws becomes as many variants (`drawings`). contender: of a variant, without looking
    what runs here. Raises `Unavailable` where a codec asked for by name lacks something, unless
    `skip_missing`; `UsageError` for the rest.
    """
    made = contender or partial(_contender, packs=packs, recorded=recorded)
    skipped: list[Skipped] = []
    if everything := tuple(codecs) == ALL:
        in_packs = [spec for pack in packs for spec in pack.infos]
        texts = [*every_codec(), *(spec.text for spec in in_packs if not names_code(spec))]
        skipped += [Skipped(spec.text, BY_NAME) for spec in in_packs if names_code(spec)]
    else:
        texts, points = with_settings_as_points(codecs, points)
    contenders: dict[CodecSpec, Contender] = {}
    used: set[tuple[str, str]] = set()
    for text in texts:
        try:
            for spec in variants_of(text, draws):
                contenders[spec] = at_points(made(spec), points, used)
        except (Unavailable, BadPack) as missing:
            if not everything and not skip_missing:
                raise cannot_run(text, str(missing), len(codecs)) from missing
            skipped.append(Skipped(text.strip(), str(missing), missing.reason or Reason("")))
    _refuse_equal_labels(contenders)
    draw = any(len(drawings(spec._replace(options=()), 2)) > 1 for spec in contenders)
    if draws is not None and not (skipped or draw):
        lacks = f"by their option {SEED}: no codec of --codecs has it"
        raise UsageError(f"--draws {draws} repeats decoders that draw, {lacks}")
    taken = {contender.pack.path for contender in contenders.values() if contender.pack}
    for pack in packs:
        if not skipped and pack.path not in taken:
            known = ", ".join(spec.text for spec in pack.infos)
            none = f"no codec of --codecs takes a stream from {pack.path}"
            raise UsageError(f"{none}: it has {known}")
    known_here = [skip.codec for skip in skipped if skip.why != BY_NAME]  # others may name anything
    left_out = {name for text in known_here for name in (text, parse_codec(text).name)}
    for codec, setting in sorted(set(points) - used):
        of_codec = [c for c in contenders.values() if codec in (c.spec.name, c.spec.text)]
        if not of_codec and codec not in left_out:
            raise UnknownName("codec among --codecs", codec, {spec.name for spec in contenders})
        if codec not in left_out:
            names = {point.name for contender in of_codec for point in contender.sweep}
            raise UnknownName(f"setting of {codec}", setting, names)
    return Selection(tuple(contenders.values()), tuple(skipped))


def with_settings_as_points(
    codecs: Sequence[str], points: Points
) -> tuple[list[str], dict[tuple[str, str], tuple[float, ...]]]:
    """Return codecs and points with the settings that codecs name as points: `jpeg:quality=30`.

    >>> with_settings_as_points(["webp", "jpeg:quality=30", "jpeg:quality=50"], {})
    (['webp', 'jpeg'], {('jpeg', 'quality'): (30, 50)})
    """
    texts: dict[str, None] = {}
    result = dict(points)
    for text in codecs:
        spec = parse_codec(text.strip())
        try:
            plain, settings = without_settings(spec)
            variants = resolve(plain) if settings else []
        except (Unavailable, BadOption):  # reported where the codec is chosen
            plain, settings, variants = spec, {}, []
        for name, value in settings.items():
            try:
                number = _number(value)
            except ValueError:
                raise BadOption(f"{text}: {name}={value!r} is no number") from None
            for variant in variants:
                key = variant.text, name
                result[key] = (*result.get(key, ()), number)
        texts[plain.text if settings else text] = None
    return list(texts), result


def without_settings(spec: CodecSpec) -> tuple[CodecSpec, dict[str, str]]:
    """Return a spec without the options that are settings of the codec's sweep, and these.

    >>> spec, settings = without_settings(parse_codec("jpeg:optimize=1:quality=30"))
    >>> spec.text, settings
    ('jpeg:optimize=1', {'quality': '30'})
    """
    parameters = parameters_of(spec, codec_class(spec))
    rest = {key: text for key, text in spec.options if key not in parameters}
    if not rest:
        return spec, {}
    plain = spec._replace(options=tuple(pair for pair in spec.options if pair[0] in parameters))
    names = {setting.name for setting in load_codec(resolve(plain)[0]).sweep}
    return (plain, rest) if rest.keys() <= names else (spec, {})


def variants_of(text: str, draws: int | None) -> list[CodecSpec]:
    """Return the variants that a codec as asked for stands for, repeated if it draws."""
    variants = resolve(parse_codec(text.strip()))
    return [seeded for spec in variants for seeded in drawings(spec, draws)] if draws else variants


def cannot_run(codec: str, reason: str, num_codecs: int) -> Unavailable:
    """Return the error for a codec that was asked for, alone or with others, and lacks something.

    >>> str(cannot_run("vtm", "the program is not on the PATH", 2))
    'vtm cannot run here: the program is not on the PATH; --skip-missing runs the other codecs'
    """
    others = "; --skip-missing runs the other codecs" if num_codecs > 1 else ""
    return Unavailable(f"{codec} cannot run here: {reason}{others}")


def _refuse_equal_labels(specs: Iterable[CodecSpec]) -> None:
    seen: dict[str, CodecSpec] = {}
    for spec in specs:
        other = seen.setdefault(spec.label, spec)
        if other.identity != spec.identity:
            both = f"{other.text!r} and {spec.text!r} would both have the label {spec.label!r}"
            raise UsageError(f"{both}: give one of them another name=...")


def _contender(spec: CodecSpec, packs: Sequence[Pack], recorded: bool) -> Contender:
    codec: Codec = load_codec(spec)
    lacks, accepts = "", declared_settings(codec)
    if spec.name in CODECS and not codec.sweep:
        raise BadOption(f"{spec.text} needs settings: values=10/30/50, lowest rate first")
    if (pack := with_variant(packs, spec)) is None:
        try:
            return Contender(spec, described(spec, codec), tuple(codec.sweep), accepts=accepts)
        except Unavailable as missing:
            pack, lacks = with_variant(shipped_packs(), spec) if recorded else None, str(missing)
            if pack is None:
                raise
    codec = Recorded(pack, spec, codec)
    return Contender(spec, codec.describe(), codec.sweep, pack, lacks, accepts)


def declared_settings(codec: Codec | type[Codec]) -> Between | OneOf | None:
    """Return the settings that a codec declares to take; None if it declares none."""
    accepts = getattr(codec, "accepts", None)  # of a user's codec it may be anything
    return accepts if isinstance(accepts, (Between, OneOf)) else None


def at_points(contender: Contender, points: Points, used: set[tuple[str, str]]) -> Contender:
    """Return a contender at its points, its spec's before its name's; add these to `used`."""
    spec, sweep, accepts = contender.spec, contender.sweep, contender.accepts
    for name in {setting.name for setting in sweep}:
        keys = [key for key in ((spec.name, name), (spec.text, name)) if key in points]
        used.update(keys)
        if keys:
            sweep = tuple(Setting(name, value) for value in points[keys[-1]])
            for setting in sweep:
                if accepts is not None and setting not in accepts:
                    raise BadOption(f"{spec.text} takes {accepts}, not {setting}")
    return contender._replace(sweep=tuple(dict.fromkeys(sweep)))


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no finite number")
    return int(value) if value.is_integer() else value
