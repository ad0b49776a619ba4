"""Caveats to print next to numbers: random weights, different chroma, different tuning."""

from collections.abc import Iterable

from benchmark.rows.edition import Edition, labels_of
from benchmark.rows.summary import Summary
from benchmark.system.text import group_by_key, listed


def caveat_notes(editions: Iterable[Edition]) -> list[str]:
    """Return editions' caveats as sentences, each with its codecs."""
    labels = labels_of(dict.fromkeys(editions))
    caveat_labels = (
        (text, label) for edition, label in labels.items() for text in edition.run_facts.caveats
    )
    return [
        f"{text[:1].upper()}{text[1:]}: {listed([*dict.fromkeys(names)])}."
        for text, names in group_by_key(caveat_labels).items()
    ]


def caveats_measured_here(summary: Summary) -> list[str]:
    """Return `caveat_notes` of editions measured here, and the machine of the seconds."""
    notes = caveat_notes(edition for edition in summary.editions if not edition.bundled)
    if summary.seconds_machine:
        notes.append(
            f"Rows come from several machines; seconds are from {summary.seconds_machine}."
        )
    return notes


def differences(
    first_edition: Edition, second_edition: Edition, names: tuple[str, str]
) -> tuple[str, ...]:
    """Return a sentence for each difference, other than quality, that affects metrics."""
    sentences = []
    named_facts = [*zip(names, (first_edition.run_facts, second_edition.run_facts), strict=True)]
    chroma = [run_facts.chroma for _, run_facts in named_facts]
    if all(chroma) and chroma[0] != chroma[1]:
        sentences.append(
            f"{names[0]} codes chroma as {chroma[0]}, {names[1]} as {chroma[1]}: metrics of RGB "
            "count the colour detail that subsampling removes"
        )
    if first_edition.run_facts.tuned_for != second_edition.run_facts.tuned_for:
        tuning_clauses = (
            f"{name} is tuned for {run_facts.tuned_for}"
            if run_facts.tuned_for
            else f"{name} for no stated metric"
            for name, run_facts in named_facts
        )
        sentences.append(
            f"{', '.join(tuning_clauses)}: a metric favours the codec that is tuned for it"
        )
    for (name, run_facts), (_, other_facts) in zip(named_facts, reversed(named_facts), strict=True):
        sentences += [
            f"{name}: {text}" for text in run_facts.caveats if text not in other_facts.caveats
        ]
    return tuple(sentences)
