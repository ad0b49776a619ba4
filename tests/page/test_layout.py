"""The report page's layout in a real Chromium: what is seen first, and that words stay whole."""

import math

import pytest

from support.page.opened import CHROMIUM, DESKTOP, PHONE, loaded

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")

HAND = {"has_touch": True, "is_mobile": True}


def box_of(page, selector):
    return page.locator(selector).first.bounding_box()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_heading_chart_and_its_axis_are_seen_without_scrolling(visit, file, scheme):
    page = visit(file, DESKTOP, color_scheme=scheme)
    heading, chart = box_of(page, "h1"), box_of(page, "#chart")
    title = box_of(page, "#chart .xtitle")
    assert heading["y"] >= 0
    assert heading["y"] + heading["height"] <= chart["y"]
    assert title["y"] + title["height"] <= 900
    assert chart["height"] >= 480
    legend = box_of(page, "#legend")
    assert legend["y"] + legend["height"] <= 900


def test_beside_a_point_stands_an_anchor_near_its_rate_else_the_nearest_codec(visit, file, data):
    page = visit(file)
    labels = [one["label"] for one in data["codecs"]]
    anchors = [labels[number] for number in data["neighbours"]]
    assert anchors == ["jpeg", "jpeg:subsampling=444"]

    def first_neighbour(point, image):
        """Label of the anchor nearest in rate, if within a factor of 1.6, else of any codec."""
        own = point["image_bpp"][point["images"].index(image)]
        away = {}
        for other in data["points"]:
            if other["codec"] != point["codec"] and image in other["images"]:
                ratio = other["image_bpp"][other["images"].index(image)] / own
                label = labels[other["codec"]]
                away[label] = min(abs(math.log(ratio)), away.get(label, math.inf))
        near = {label for label in anchors if away.get(label, math.inf) <= math.log(1.6)}
        return min(near or away, key=lambda label: away[label]), min(
            away, key=lambda one: away[one]
        )

    differs = 0
    for number, point in enumerate(data["points"]):
        if not point["images"]:
            continue
        page.evaluate("(number) => page.viewer.open(number, null, null, document.body)", number)
        image = page.evaluate("page.viewer.image")
        shown = page.evaluate("page.viewer.codecs.map((one) => page.data.codecs[one].label)")
        wanted, nearest = first_neighbour(point, image)
        assert shown == [labels[point["codec"]], wanted]
        differs += wanted != nearest
    assert differs


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_the_picture_first_then_the_table(visit, file, scheme):
    page = visit(file, PHONE, color_scheme=scheme, **HAND)
    page.locator("#crops button:enabled").first.tap()
    page.wait_for_selector("#viewer[open]")
    loaded(page)
    order = (".viewer-head", ".stage", "#viewer-caption", ".viewer-bar", "#codec-choice",
             "#image-table")  # fmt: skip
    boxes = [box_of(page, f"#viewer {one}") for one in order]
    tops = [box["y"] for box in boxes]
    assert tops == sorted(tops)
    picture = boxes[1]
    assert picture["y"] < 130
    assert picture["y"] + picture["height"] < 844 / 2
    # The focus moves in the order of what is seen.
    places = []
    for _ in range(12):
        page.keyboard.press("Tab")
        places.append(page.evaluate("document.activeElement.getBoundingClientRect().top"))
    within = [top for top in places[3:] if top is not None]
    assert within == sorted(within)
