"""Report pages opened in a browser: where their points are, and what waits until they are drawn."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)  # else playwright's own
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
Data = dict[str, Any]  # as `results.data_of` returns it


@contextmanager
def opening(browser: Any, places: list[str]) -> Iterator[Callable[..., "Page"]]:
    """Yield a function that opens pages; then check that none complained or left `places`."""
    contexts: list[Any] = []
    text, urls = list[str](), list[str]()

    def open_page(address: str, **options: Any) -> "Page":
        contexts.append(browser.new_context(**options))
        page: Page = contexts[-1].new_page()
        page.on("console", lambda message: text.append(message.text))
        page.on("pageerror", lambda error: text.append(str(error)))
        page.on("dialog", lambda dialog: text.append(f"dialog {dialog.message}"))
        page.on("request", lambda request: urls.append(request.url))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert text == []
    assert not [url for url in urls if not url.startswith(tuple(places))]


def number_of(data: Data, codec: str, setting: str) -> int:
    labels = [record["label"] for record in data["codecs"]]
    points = [(labels[point["codec"]], point["setting"]) for point in data["points"]]
    return points.index((codec, setting))


def place_of(page: "Page", x: float, y: float) -> tuple[float, float]:
    """Where a point of the chart's axes is in the window."""
    page.locator("#chart").scroll_into_view_if_needed()
    x, y = page.evaluate(
        """([x, y]) => {
            const box = document.getElementById("chart"), {left, top} = box.getBoundingClientRect();
            const [right, down] = box.chart.place(x, y);
            return [left + right, top + down];
        }""",
        [x, y],
    )
    return x, y


def open_point(page: "Page", number: int = 0) -> None:
    page.evaluate(f"location.hash = page.linkOf(page.data.points[{number}])")
    page.wait_for_selector("#viewer[open]")


def click_point(page: "Page", data: Data) -> Data:
    number = number_of(data, "webp", "quality=40")
    mean = data["points"][number]["means"]["psnr_db"]
    page.mouse.click(*place_of(page, mean["bpp"], mean["place"]))
    page.wait_for_selector("#viewer[open]")
    return data["points"][number]


def loaded(page: "Page") -> None:
    page.wait_for_function(
        """() => [...document.querySelectorAll("#panes img[src]")].every(
            (one) => one.complete && one.naturalWidth)"""
    )
