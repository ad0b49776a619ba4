"""The report page's layout in a real Chromium: what is seen first, and that words stay whole."""

import math

import pytest

from benchmark.compare.pictures import MAX_CLOSE_RATIO, nearest_setting
from benchmark.rows.store import Store
from support.page.opened import DESKTOP, PHONE, loaded, open_point
from support.page.results import make_page
from support.rows.measured import row

HAND = {"has_touch": True, "is_mobile": True}
# Codecs and variants with the longest names that are bundled, and one of a user's own file.
NAMED = (("hyperprior", "weights=matched"),
         ("compressai", "metric=ms-ssim:model=bmshj2018-hyperprior"), ("jpeg", ""),
         ("my/folder/of/codecs/wavelet_codec.py:WaveletCodec", "threads=2"))  # fmt: skip
BROKEN_WORDS = """() => {
    const broken = [], texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const node = texts.currentNode;
        if (!node.parentElement.checkVisibility() || node.parentElement.closest("svg")) continue;
        for (const word of node.data.matchAll(/[\\p{L}\\p{N}]{2,40}/gu)) {
            const range = document.createRange();
            range.setStart(node, word.index);
            range.setEnd(node, word.index + word[0].length);
            const lines = new Set([...range.getClientRects()].map((one) => Math.round(one.top)));
            if (lines.size > 1) broken.push(word[0]);
        }
    }
    return broken;
}"""


def box_of(page, selector):
    return page.locator(selector).first.bounding_box()


@pytest.fixture(scope="module")
def long_names(tmp_path_factory):
    """A page of codecs with long names, of which one has no curve."""
    folder = tmp_path_factory.mktemp("names")
    images = [f"kodim{number:02d}.png" for number in range(1, 5)]
    rows = [
        row(codec, q, image, variant=variant, command="encoder --a=1:b=2:c=3:d=4:e=5" * 3,
            num_bytes=20 * q + 3 * place)
        for place, (codec, variant) in enumerate(NAMED)
        for q in (10, 20, 30, 40)
        for image in images
    ]  # fmt: skip
    # An infinite PSNR is no number on the axis; MS-SSIM has one.
    rows += [row("raw", 8, image, psnr_db=math.inf) for image in images]
    Store(folder / "kodak").append(rows)
    return make_page(folder, "kodak")


def test_heading_chart_and_its_axis_are_seen_without_scrolling(visit, file):
    page = visit(file, DESKTOP)
    heading, chart = box_of(page, "h1"), box_of(page, "#chart")
    title = box_of(page, "#chart .xtitle")
    assert heading["y"] >= 0
    assert heading["y"] + heading["height"] <= chart["y"]
    assert title["y"] + title["height"] <= 900
    assert chart["height"] >= 340
    legend = box_of(page, "#legend")
    assert legend["y"] + legend["height"] <= 900


@pytest.mark.slow
@pytest.mark.parametrize(("viewport", "options"), [(DESKTOP, {}), (PHONE, HAND)])
def test_no_word_is_broken(visit, long_names, file, viewport, options):
    page = visit(long_names, viewport, **options)
    for summary in page.locator("details summary:visible").all():
        summary.click()
    assert page.evaluate(BROKEN_WORDS) == []
    wide = "() => [document.documentElement.scrollWidth, innerWidth]"
    assert page.evaluate(wide) == [viewport["width"]] * 2
    open_point(page)
    assert page.evaluate(BROKEN_WORDS) == []
    inside = "(box) => [box.scrollWidth, box.clientWidth]"
    assert page.locator("#viewer").evaluate(inside) == [viewport["width"]] * 2


@pytest.mark.slow
def test_the_legend_has_curves_alone(visit, long_names):
    page = visit(long_names)
    entries = page.locator("#legend label")
    series_count = "() => document.getElementById('chart').chart.series.length"
    assert (entries.count(), page.evaluate(series_count)) == (len(NAMED), len(NAMED))
    assert "Raw" not in entries.all_inner_texts()
    page.get_by_role("radio", name="MS-SSIM").check(force=True)
    assert (entries.count(), page.evaluate(series_count)) == (len(NAMED) + 1, len(NAMED) + 1)
    assert "Raw" in entries.all_inner_texts()


@pytest.mark.slow
def test_beside_a_point_stands_an_anchor_near_its_rate_else_the_nearest_codec(visit, file, data):
    page = visit(file)
    labels = [value["label"] for value in data["codecs"]]
    anchors = [labels[number] for number in data["neighbours"]]
    assert anchors == ["jpeg", "jpeg:subsampling=444"]

    def first_neighbour(point, image):
        """Label of the nearest anchor that is shown at the rate, else of the nearest codec."""
        rate = point["image_bpp"][point["images"].index(image)]
        away, ratios = {}, {}
        for candidate in data["points"]:
            if candidate["codec"] != point["codec"] and image in candidate["images"]:
                ratio = candidate["image_bpp"][candidate["images"].index(image)] / rate
                label = labels[candidate["codec"]]
                away[label] = min(abs(math.log(ratio)), away.get(label, math.inf))
                ratios.setdefault(label, []).append(ratio)
        options = {"max_ratio": MAX_CLOSE_RATIO, "allow_between": True}
        near = [
            label for label in anchors
            if nearest_setting(1, ratios.get(label, []), **options) is not None
        ]  # fmt: skip
        return min(near or away, key=away.get), min(away, key=away.get)

    differs = 0
    for number, point in enumerate(data["points"]):
        if not point["images"]:
            continue
        open_point(page, number)
        page.wait_for_function(f"page.viewer.point === page.data.points[{number}]")
        image = page.evaluate("page.viewer.image")
        pane_labels = page.evaluate("page.viewer.codecs.map((one) => page.data.codecs[one].label)")
        neighbour, closest = first_neighbour(point, image)
        assert pane_labels == [labels[point["codec"]], neighbour]
        differs += neighbour != closest
    assert differs


def test_a_phone_shows_the_picture_first_then_the_table(visit, file):
    page = visit(file, PHONE, **HAND)
    page.locator("#crops a").first.tap()
    page.wait_for_selector("#viewer[open]")
    loaded(page)
    order = (".viewer-head", ".stage", "#viewer-caption", ".viewer-bar", "#codec-choice",
             "#image-table")  # fmt: skip
    boxes = [box_of(page, f"#viewer {selector}") for selector in order]
    tops = [box["y"] for box in boxes]
    assert tops == sorted(tops)
    picture = boxes[1]
    assert picture["y"] < 130
    assert picture["y"] + picture["height"] < 844 / 2
    places = []
    for _ in range(12):  # the focus moves in the order of what is seen
        page.keyboard.press("Tab")
        places.append(page.evaluate("document.activeElement.getBoundingClientRect().top"))
    assert places[3:] == sorted(places[3:])
