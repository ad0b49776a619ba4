"""The default run takes one case of each test of this folder, `--all` every one."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before those marked slow are left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    functions = set()
    for item in items:
        if HERE in item.path.parents and not item.get_closest_marker("slow"):
            if item.function in functions:
                item.add_marker(pytest.mark.slow)
            functions.add(item.function)
