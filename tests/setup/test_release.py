"""A release: one version everywhere, with a dated section of the changelog; the hooks' programs."""

import re
import tomllib

from conftest import ROOT
from support.checkout import pins

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
SECTION = re.compile(r"^## (\d+\.\d+\.\d+), (\d{4}-\d\d-\d\d)$", re.MULTILINE)


def test_changelog_and_citation_have_the_version_and_its_day():
    sections = SECTION.findall((ROOT / "CHANGELOG.md").read_text())
    version, day = sections[0]
    assert version == VERSION
    assert [date for _, date in sections] == sorted((date for _, date in sections), reverse=True)
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {VERSION}\n" in citation
    assert f"\ndate-released: {day}\n" in citation


def test_the_changelog_has_a_line_for_a_change():
    sections = (ROOT / "CHANGELOG.md").read_text().split("\n## ")
    latest = next(text for text in sections if text.startswith(VERSION))
    for line in re.findall(r"^- .*(?:\n  .*)*", latest, re.MULTILINE):
        assert line.count("\n") <= 1, line


def test_every_hook_before_a_commit_is_a_locked_program():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    programs = re.findall(r"entry: \.venv/bin/([\w-]+)", hooks)
    assert programs == ["ruff", "ruff", "mypy", "lint-imports"]
    assert "repo: local" in hooks
    assert hooks.count("- repo:") == 1
    assert {"ruff", "mypy", "import-linter"} <= pins("requirements.lock").keys()
