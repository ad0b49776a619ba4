"""Codecs as users type them, resolved to editions: the one rule of every option, verb and call.

A name is a spec in any spelling, a title as tables and figures print it, the text of the option
`name`, or a codec; the last means the variants that `bench run` measures of it. Everything else is
refused, with the nearest names.
"""

from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import replace

from benchmark.errors import BenchError, UnknownName, UsageError
from benchmark.facts import needs_options
from benchmark.registry import ALIASES, CODECS
from benchmark.rows.edition import REMARKS, Edition, label_of, with_remark
from benchmark.spec import SEED, CodecSpec, names_code, parse_codec, plain_codec, resolve


def find_editions(
    names: Iterable[str], editions: Collection[Edition], preferred: Collection[Edition] = ()
) -> list[Edition]:
    """Return the editions that names mean, in the order of `editions`.

    A codec's name means its usual variants, of drawings all seeds, or all its variants where there
    are none of these. preferred: editions that are looked through first. Raises `UnknownName` for a
    name that means none.

    >>> known = [Edition.of(parse_codec(text)) for text in ("jpeg", "jpeg:optimize=1", "vtm")]
    >>> [edition.title for edition in find_editions(["JPEG (optimised)", "vtm"], known)]
    ['JPEG (optimised)', 'VTM']
    >>> [edition.title for edition in find_editions(["jpeg"], known)]
    ['JPEG']
    """
    matches: set[Edition] = set()
    for name in dict.fromkeys(names):
        named_editions = _matches(name, preferred) or _matches(name, editions)
        if not named_editions:
            raise UnknownName("codec with results", name, known_names(editions))
        matches |= named_editions
    return [edition for edition in dict.fromkeys((*editions, *preferred)) if edition in matches]


def find_variant(name: str, editions: Collection[Edition]) -> CodecSpec:
    """Return the one codec variant that a name means.

    Of drawings it is the first. Raises `UnknownName` for a name that means none, `UsageError` for
    one that means several.

    >>> known = [Edition.of(parse_codec(text)) for text in ("jpeg:optimize=1", "vtm")]
    >>> find_variant("jpeg", known).text
    'jpeg:optimize=1'
    """
    variants = {edition.spec: edition for edition in find_editions([name], editions)}
    if len({spec.without([SEED]) for spec in variants}) > 1:
        labels = ", ".join(sorted(map(label_of, variants)))
        raise UsageError(f"{name} stands for several codecs here: name one of {labels}")
    return min(variants, key=lambda spec: len(spec.options))


def is_named(edition: Edition, name: str) -> bool:
    """Return whether a name means an edition, alone among others; a codec's means every variant.

    >>> edition = Edition.of(parse_codec("ours:effort=2:beta=0"))
    >>> [is_named(edition, name) for name in ("ours", "CRDR β=0 (effort 2)", "ours:beta=0")]
    [True, True, False]
    """
    return bool(_matches(name, [edition]))


def known_names(editions: Iterable[Edition]) -> set[str]:
    """Return the names to show after "Known:", codecs and labels.

    The two are one for a Python file's codec whose label is its name without folders.

    >>> known = [Edition.of(parse_codec(text)) for text in ("jpeg:optimize=1", "./mine.py:Mine")]
    >>> sorted(known_names(known))
    ['jpeg', 'jpeg:optimize=1', 'mine.py:Mine']
    """
    names = set()
    for edition in editions:
        codec, label = edition.spec.name, label_of(edition.spec)
        names |= {label} if codec.rpartition("/")[2] == label else {codec, label}
    return names


def usual_variants(name: str) -> set[CodecSpec]:
    """Return the codec variants that `bench run` measures of a name.

    None where it is not a codec's, names code, which is not loaded for it, or needs options.

    >>> sorted(spec.text for spec in usual_variants("ours")), usual_variants("./mine.py:Mine")
    (['ours:beta=0', 'ours:beta=3.84'], set())
    """
    if name in CODECS and needs_options(name):
        return set()
    with suppress(BenchError):
        spec = parse_codec(name)
        if name in ALIASES or not names_code(spec):
            return {variant.identity for variant in resolve(spec)}
    return set()


def _matches(name: str, editions: Collection[Edition]) -> set[Edition]:
    """Return the editions that a name means by the first of these readings that any fits."""
    usual, spellings = usual_variants(name), {name, plain_codec(name)}
    # Two files of other folders may share a label: the path tells them apart.
    plain = spellings - {name}
    if exact := {of for of in editions if {of.spec.text, of.spec.without([SEED]).text} & plain}:
        return exact
    if variants := {
        edition
        for edition in editions
        if edition.spec.without([SEED]) in usual or spellings & _texts(edition)
    }:
        return variants
    if of_codec := {edition for edition in editions if _is_codec(name, edition.spec)}:
        return of_codec
    with suppress(BenchError):
        spec = parse_codec(plain_codec(name))
        if names_code(spec):
            return _of_file(spec, editions)
    return set()


def _is_codec(name: str, spec: CodecSpec) -> bool:
    """Return whether a name is a variant's codec, or stands for it with the options of an alias."""
    if name not in ALIASES:
        return spec.name in (name, plain_codec(name))
    alias = parse_codec(ALIASES[name])
    return spec.name == alias.name and {*alias.options} <= {*spec.options}


def _of_file(spec: CodecSpec, editions: Collection[Edition]) -> set[Edition]:
    """Return the editions of a file that was moved, or whose defaults a spec spells out."""
    file = spec.name.rpartition("/")[2]
    of_file = [edition for edition in editions if edition.spec.name.rpartition("/")[2] == file]
    labels = {spec.label}
    if of_file:
        with suppress(BenchError):  # the file is not here
            labels |= {variant.label for variant in resolve(spec)}
    return {
        edition
        for edition in of_file
        if labels & {edition.spec.label, edition.spec.without([SEED]).label}
    }


def _texts(edition: Edition) -> set[str]:
    """Return the texts that are an edition's in csv, JSON, tables and figures.

    Those of a drawing are also the codec's without a seed.
    """
    titles = {with_remark(edition.title, remark) for remark in ("", *REMARKS.values())}
    texts = {label_of(edition.spec), edition.spec.text, *titles}
    seedless = edition.spec.without([SEED])
    return texts if seedless == edition.spec else texts | _texts(replace(edition, spec=seedless))
