"""Sentences to print next to numbers: random weights, other chroma, another tuning."""

from collections.abc import Iterable

from benchmark.rows.edition import Edition, labels_of
from benchmark.rows.summary import Summary
from benchmark.system.text import group_by_key, listed


def caveat_notes(editions: Iterable[Edition]) -> list[str]:
    """Return the caveats of editions as sentences, each with its codecs."""
    labels = labels_of(dict.fromkeys(editions))
    pairs = (
        (text, label) for edition, label in labels.items() for text in edition.run_facts.caveats
    )
    return [
        f"{text[:1].upper()}{text[1:]}: {listed([*dict.fromkeys(names)])}."
        for text, names in group_by_key(pairs).items()
    ]


def caveats_measured_here(summary: Summary) -> list[str]:
    """Return `caveat_notes` without bundled editions, and the machine of the seconds."""
    notes = caveat_notes(edition for edition in summary.editions if not edition.bundled)
    if summary.seconds_machine:
        notes.append(
            f"Rows come from several machines; seconds are from {summary.seconds_machine}."
        )
    return notes


def differences(first: Edition, second: Edition, names: tuple[str, str]) -> tuple[str, ...]:
    """Return a sentence for each difference other than quality that affects a metric."""
    pairs, sentences = [*zip(names, (first.run_facts, second.run_facts), strict=True)], []
    chroma = [run_facts.chroma for _, run_facts in pairs]
    if all(chroma) and chroma[0] != chroma[1]:
        sentences.append(
            f"{names[0]} codes chroma as {chroma[0]}, {names[1]} as {chroma[1]}: metrics of RGB "
            "count the colour detail that subsampling removes"
        )
    if first.run_facts.tuned_for != second.run_facts.tuned_for:
        tuning_clauses = (
            f"{name} is tuned for {run_facts.tuned_for}"
            if run_facts.tuned_for
            else f"{name} for no stated metric"
            for name, run_facts in pairs
        )
        sentences.append(
            f"{', '.join(tuning_clauses)}: a metric favours the codec that is tuned for it"
        )
    for (name, run_facts), (_, other_facts) in zip(pairs, reversed(pairs), strict=True):
        sentences += [
            f"{name}: {text}" for text in run_facts.caveats if text not in other_facts.caveats
        ]
    return tuple(sentences)
