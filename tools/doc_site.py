"""Hooks for mkdocs that generate pages and adapt links from docs/ to files outside of it.

The site contains two files of the project's root as pages, a page made from the docstrings of the
Python interface, and, below `files/`, every other file that a page links to.
"""

import posixpath
import re
from importlib import import_module
from inspect import Parameter, getdoc, signature
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import benchmark

ROOT = Path(__file__).parent.parent
PAGES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)")
GENERATED_FUNCTIONS = "benchmark.api.codec.run", "benchmark.api.tables.plot"
BOUNDARY = "benchmark.codec", "benchmark.facts", "benchmark.errors"
INTRODUCTION = """# Interface

This page lists what `import benchmark` offers, with every argument ([an introduction](python.md)),
then the classes and functions of the harness that your codec, metric or dataset uses.

"""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the pages of docs/decisions to the navigation."""
    decisions = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("*.md"))
    config.nav = [*(config.nav or []), {"Decisions": [f"decisions/{name}" for name in decisions]}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and files that lie outside docs/."""
    pages = {name: (ROOT / source).read_text() for source, name in PAGES.items()}
    for name, text in {**pages, "api.md": interface()}.items():
        files.append(File.generated(config, name, content=text))
    for page in [*files.documentation_pages()]:
        for target in LINK.findall(page.content_string):
            path = site_path(target, page.src_uri)
            if path.startswith("files/") and files.get_file_from_path(path) is None:
                source = ROOT / path.removeprefix("files/")
                files.append(File.generated(config, path, abs_src_path=str(source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links that lead out of docs/ to their pages in the site."""
    source = page.file.src_uri

    def repoint(link: re.Match[str]) -> str:
        path = site_path(link[1], source)
        return posixpath.relpath(path, posixpath.dirname(source) or ".") if path else link[1]

    return LINK.sub(repoint, markdown)


def site_path(target: str, page: str) -> str:
    """Return the path in the site of a link's target; "" if link and target are in docs/."""
    is_in_root = page in PAGES.values()  # such a page's links are relative to the project's root
    path = posixpath.normpath(
        posixpath.join("" if is_in_root else "docs", posixpath.dirname(page), target)
    )
    if path.startswith("docs/"):
        return path.removeprefix("docs/") if is_in_root else ""
    return PAGES.get(path, f"files/{path}")


def interface() -> str:
    """Return the page of the Python interface: a directive for each function and module."""
    module_of = {name: path for path, names in benchmark.INTERFACE.items() for name in names}
    functions = (
        f"::: {module_of[name]}.{name}\n    options: {{heading: benchmark.{name}}}\n"
        for name in sorted(module_of)
    )
    modules = (f"::: {module}\n    options: {{heading: {module}}}\n" for module in BOUNDARY)
    return INTRODUCTION + "\n".join([*functions, *modules])


class ImportedDocstrings(griffe.Extension):
    """An extension of griffe for functions that get signature or docstring at import."""

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        """Use an imported function's docstring, whose parameters are generated from options."""
        if func.path in GENERATED_FUNCTIONS and func.docstring:
            module, _, name = func.path.rpartition(".")
            func.docstring.value = getdoc(getattr(import_module(module), name)) or ""

    def on_attribute(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Show the result of `make_function(...)` as a function, with its docstring."""
        if attr.parent is None or not str(attr.value).startswith("make_function("):
            return
        value = getattr(import_module(attr.parent.path), attr.name)
        parameters = [
            griffe.Parameter(
                parameter.name,
                kind=griffe.ParameterKind[parameter.kind.name.lower()],
                default=None if parameter.default is Parameter.empty else repr(parameter.default),
            )
            for parameter in signature(value).parameters.values()
        ]
        function = griffe.Function(
            attr.name, lineno=attr.lineno, parameters=griffe.Parameters(*parameters)
        )
        function.docstring = griffe.Docstring(getdoc(value) or "", parent=function, parser="numpy")
        attr.parent.set_member(attr.name, function)
