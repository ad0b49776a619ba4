"""A measured page, and what opens pages, for the tests of the report page."""

import pytest

from support.page.opened import DESKTOP, opening
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
    """Opens a page; nothing is fetched but its pictures."""
    places = ["data:"]
    with opening(browser, places) as open_page:

        def open_file(file, viewport=DESKTOP, **options):
            places.append(file.parent.as_uri())
            page = open_page(file.as_uri(), viewport=viewport, **options)
            page.wait_for_selector("#chart .point")
            return page

        yield open_file
