"""A measured page, and what opens pages, for the tests of the report page."""

import pytest

from support.page.opened import DESKTOP
from support.page.results import data_of, make_page, measure


@pytest.fixture(scope="package")
def measured_once(tmp_path_factory, coffee):
    return measure(tmp_path_factory.mktemp("page"), coffee)


@pytest.fixture(scope="package")
def file(measured_once):
    return make_page(measured_once, str(measured_once.parent / "photos"))


@pytest.fixture(scope="package")
def data(file):
    return data_of(file)


@pytest.fixture
def visit(browser):
    """Opens a page; at the end nothing was complained of, and nothing fetched but its pictures."""
    contexts, text, urls, folders = [], [], [], set()

    def open_page(file, viewport=DESKTOP, **options):
        context = browser.new_context(viewport=viewport, **options)
        contexts.append(context)
        folders.add(file.parent)
        page = context.new_page()
        page.on("console", lambda message: text.append(message.text))
        page.on("pageerror", lambda error: text.append(str(error)))
        page.on("dialog", lambda dialog: text.append(f"dialog {dialog.message}"))
        page.on("request", lambda request: urls.append(request.url))
        page.goto(file.as_uri())
        page.wait_for_selector("#chart .point")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert text == []
    prefixes = tuple(folder.as_uri() for folder in folders)
    assert not [url for url in urls if not url.startswith((*prefixes, "data:"))]
