"""Report pages opened in a browser: where their points are, and what waits until they are drawn."""

import shutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)  # else playwright's own
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
Data = dict[str, Any]  # as `results.data_of` returns it


def number_of(data: Data, codec: str, setting: str) -> int:
    """The place of a point among the page's."""
    return next(
        number
        for number, point in enumerate(data["points"])
        if (data["codecs"][point["codec"]]["label"], point["setting"]) == (codec, setting)
    )


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
    """Opens the viewer by a point's link."""
    page.evaluate(f"location.hash = page.linkOf(page.data.points[{number}])")
    page.wait_for_selector("#viewer[open]")


def click_point(page: "Page", data: Data) -> Data:
    number = number_of(data, "webp", "quality=40")
    mean = data["points"][number]["means"]["psnr_db"]
    page.mouse.click(*place_of(page, mean["bpp"], mean["place"]))
    page.wait_for_selector("#viewer[open]")
    return data["points"][number]


def loaded(page: "Page") -> None:
    """Waits until every picture is there and drawn."""
    page.wait_for_function(
        """() => [...document.querySelectorAll("#panes img[src]")].every(
            (one) => one.complete && one.naturalWidth)"""
    )
