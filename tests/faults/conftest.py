"""Of a test over two or more lists, the default run takes each entry once, `--all` every pair."""

from collections import defaultdict
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before those marked slow are left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    tests: dict[object, list[pytest.Function]] = defaultdict(list)
    for item in items:
        if HERE in item.path.parents and len(list(item.iter_markers("parametrize"))) > 1:
            tests[item.function].append(item)
    for same in tests.values():
        lists = [mark.args[0] for mark in same[0].iter_markers("parametrize")]
        places = [[_entry(item, names) for item in same] for names in lists]
        entries = [list(dict.fromkeys(found)) for found in places]
        longest = max(range(len(lists)), key=lambda at: len(entries[at]))
        for item, *at in zip(same, *places, strict=True):
            number = entries[longest].index(at[longest])
            if any(one != of[number % len(of)] for one, of in zip(at, entries, strict=True)):
                item.add_marker(pytest.mark.slow)


def _entry(item: pytest.Function, names: str | tuple[str, ...]) -> tuple[int, ...]:
    """Return which entry of a list a test has: the same objects are the same entry."""
    split = names.replace(" ", "").split(",") if isinstance(names, str) else names
    return tuple(id(item.callspec.params[name]) for name in split)
