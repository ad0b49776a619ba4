"""Find the editions that a user's codec names mean: one rule for options, verbs and calls.

A name is a spec in any spelling, a printed title, the text of the option `name`, or a codec.
"""

from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import replace

from benchmark.errors import BenchError, UnknownName, UsageError
from benchmark.facts import needs_options
from benchmark.registry import ALIASES, CODECS
from benchmark.rows.edition import REMARKS, Edition, add_remark, label_of
from benchmark.spec import SEED, CodecSpec, normalise_codec, parse_codec, refers_to_code, resolve


def find_editions(
    names: Iterable[str], editions: Collection[Edition], priority_editions: Collection[Edition] = ()
) -> list[Edition]:
    """Return the editions meant by names, in the order of `editions`; raise `UnknownName`.

    A codec's name means its usual variants (with any seed), or else all its variants.
    priority_editions: editions in which names are looked up first.
    """
    matches: set[Edition] = set()
    for name in dict.fromkeys(names):
        named_editions = _find_matches(name, priority_editions) or _find_matches(name, editions)
        if not named_editions:
            raise UnknownName("codec with results", name, known_names(editions))
        matches |= named_editions
    return [entry for entry in dict.fromkeys((*editions, *priority_editions)) if entry in matches]


def find_variant(name: str, editions: Collection[Edition]) -> CodecSpec:
    """Return the single codec variant that a name means (with its seed, if any), or raise."""
    variants = {edition.spec: edition for edition in find_editions([name], editions)}
    if len({spec.remove_options([SEED]) for spec in variants}) > 1:
        labels = ", ".join(sorted(map(label_of, variants)))
        raise UsageError(f"{name} means several codecs here: choose one of {labels}")
    return min(variants, key=lambda spec: len(spec.options))


def is_named(edition: Edition, name: str) -> bool:
    """Return whether a name means this edition; a codec's name means all its variants."""
    return bool(_find_matches(name, [edition]))


def known_names(editions: Iterable[Edition]) -> set[str]:
    """Return codecs and labels to list after "Known:", a Python file's only once.

    >>> texts = "jpeg:optimize=1", "./mine.py:Mine"
    >>> sorted(known_names(Edition.create(parse_codec(text)) for text in texts))
    ['jpeg', 'jpeg:optimize=1', 'mine.py:Mine']
    """
    names = set()
    for edition in editions:
        codec, label = edition.spec.name, label_of(edition.spec)
        names |= {label} if codec.rpartition("/")[2] == label else {codec, label}
    return names


def usual_variants(name: str) -> set[CodecSpec]:
    """Return the variants that `bench run` measures for a name; none for a Python file."""
    if name in CODECS and needs_options(name):
        return set()
    with suppress(BenchError):
        spec = parse_codec(name)
        if name in ALIASES or not refers_to_code(spec):
            return {variant.identity for variant in resolve(spec)}
    return set()


def _find_matches(name: str, editions: Collection[Edition]) -> set[Edition]:
    """Return the editions that a name means, by the first rule that matches any edition."""
    usual_specs, spellings = usual_variants(name), {name, normalise_codec(name)}
    # Files in different folders may have the same label, but their paths differ.
    plain_spellings = spellings - {name}
    if exact_matches := {
        candidate
        for candidate in editions
        if {candidate.spec.text, candidate.spec.remove_options([SEED]).text} & plain_spellings
    }:
        return exact_matches
    if variant_editions := {
        edition
        for edition in editions
        if edition.spec.remove_options([SEED]) in usual_specs or spellings & _edition_texts(edition)
    }:
        return variant_editions
    if codec_editions := {edition for edition in editions if _is_codec(name, edition.spec)}:
        return codec_editions
    with suppress(BenchError):
        spec = parse_codec(normalise_codec(name))
        if refers_to_code(spec):
            return _match_file(spec, editions)
    return set()


def _is_codec(name: str, spec: CodecSpec) -> bool:
    if name not in ALIASES:
        return spec.name in (name, normalise_codec(name))
    alias = parse_codec(ALIASES[name])
    return spec.name == alias.name and {*alias.options} <= {*spec.options}


def _match_file(spec: CodecSpec, editions: Collection[Edition]) -> set[Edition]:
    """Return the editions of a file that was moved, or whose spec states default options."""
    file_name = spec.name.rpartition("/")[2]
    file_editions = [
        edition for edition in editions if edition.spec.name.rpartition("/")[2] == file_name
    ]
    labels = {spec.label}
    if file_editions:
        with suppress(BenchError):  # the file is missing
            labels |= {variant.label for variant in resolve(spec)}
    return {
        edition
        for edition in file_editions
        if labels & {edition.spec.label, edition.spec.remove_options([SEED]).label}
    }


def _edition_texts(edition: Edition) -> set[str]:
    """Return an edition's names in all outputs; if it has a seed, also names without it."""
    titles = {add_remark(edition.title, remark) for remark in ("", *REMARKS.values())}
    texts = {label_of(edition.spec), edition.spec.text, *titles}
    seedless_spec = edition.spec.remove_options([SEED])
    return (
        texts
        if seedless_spec == edition.spec
        else texts | _edition_texts(replace(edition, spec=seedless_spec))
    )
