"""Sentences on programs and Python files that rows name: which will run, which are left alone."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from benchmark.rows.store import Store
    from benchmark.rows.trust import Code, Trust


def code_to_run(codes: "Mapping[Code, int]", store: "Store", trust: "Trust") -> list[str]:
    """Return a sentence for each variant and origin of code that the user has not trusted before.

    codes: numbers of rows that name it. Where `trust` is granted it runs, else it is left alone.
    """
    unknown = {code: count for code, count in codes.items() if not trust.knows(code)}
    return [
        f"runs     {what}"
        if trust.granted
        else f"not run  {what}: look at it, and allow it with --trust"
        for what in _by_origin(unknown, store)
    ]


def code_stored(codes: "Mapping[Code, int]", store: "Store", granted: bool) -> list[str]:
    """Return a sentence for each variant and origin of code in rows that were taken.

    granted: whether the command had --trust.
    """
    from benchmark.rows.trust import Trust

    trust = Trust()
    known = {code: count for code, count in codes.items() if trust.knows(code)}
    others = {code: count for code, count in codes.items() if code not in known}
    why = (
        "it is of another origin than the folder or pack given"
        if granted
        else "look at it, and allow it with --trust"
    )
    return [
        *(f"trusted  {what}" for what in _by_origin(known, store) if granted),
        *(f"not run  {what}: {why}" for what in _by_origin(others, store)),
    ]


def _by_origin(codes: "Mapping[Code, int]", store: "Store") -> list[str]:
    from benchmark.rows.trust import Origins

    origins = Origins(store)
    counted: dict[tuple[str, str], int] = {}
    for code, count in codes.items():
        key = code.text, origins.of(code)
        counted[key] = counted.get(key, 0) + count
    return [
        f"{text!r}, which {count} row{'s' * (count != 1)} {origin} name{'s' * (count == 1)}"
        for (text, origin), count in counted.items()
    ]


def tell_foreign_code(results: Path, names: "Iterable[str]", trust: "Trust") -> None:
    """Print what the rows of datasets name that will run, and what is not run without --trust.

    names: of datasets with results, or parts of them.
    """
    from benchmark.commands.output import say
    from benchmark.packs.contents import dataset_contents, packs_beside
    from benchmark.rows.trust import code_in

    packs = packs_beside(results)
    for name in names:
        contents = dataset_contents(results, name.partition(":")[0], packs)
        say(code_to_run(code_in(contents.table), contents.store, trust))
