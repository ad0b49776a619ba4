"""The documentation as a site: built without a warning, with the interface's docstrings."""

import re
import sys

import pytest

from conftest import ROOT
from support.processes import ran

pytest.importorskip("mkdocs", reason="mkdocs is not installed")
pytest.importorskip("mkdocstrings", reason="mkdocstrings is not installed")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    words = (sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", out)
    result = ran(*words, folder=ROOT)
    assert result.returncode == 0, result.stderr
    return out


def test_every_page_is_in_the_site_and_in_its_search(site):
    pages = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    index = (site / "search" / "search_index.json").read_text()
    for page in pages:
        name = page.with_name("index" if page.stem == "README" else page.stem).with_suffix(".html")
        assert (site / name).exists()
        assert f'"{name.as_posix()}"' in index or page.name == "README.md"


def test_the_interface_is_there_with_its_arguments(site):
    import benchmark

    text = (site / "api.html").read_text()
    headings = set(re.findall(r'<h2 id="[\w.]*\.(\w+)" class="doc doc-heading"', text))
    assert {*benchmark.__all__} < headings
    assert "skip_missing" in text, "a parameter of `run`, which is declared in `Request`"
    assert "module-attribute" not in text, "functions, also those that a call makes"


def test_links_that_lead_out_of_the_documentation_have_a_place():
    from tools.doc_site import site_path

    assert site_path("../CONTRIBUTING.md", "python.md") == "contributing.md"
    assert site_path("protocol.md", "python.md") == ""
    assert site_path("docs/protocol.md", "contributing.md") == "protocol.md"
    assert site_path("../contenders/tcm.toml", "own-codec.md") == "files/contenders/tcm.toml"
    assert site_path("../../CONTRIBUTING.md", "experiments/speed.md") == "contributing.md"


def test_nothing_is_loaded_from_another_address(site):
    text = (site / "index.html").read_text()
    assert re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=\"?https?://", text) == []
