"""Lists of cases of a test: the default run takes some of them, `run_all.sh test --all` each."""

from collections.abc import Iterable

import pytest


def quick(cases: Iterable[object], *quick_cases: object) -> list[object]:
    """Return the cases, those that are not in `quick_cases` marked slow."""
    listed = list(cases)
    assert {*quick_cases} <= {*listed}, "a case that is kept is one of the list"
    return [
        case if case in quick_cases
        else pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow)
        for case in listed
    ]  # fmt: skip
