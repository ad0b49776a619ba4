"""The report page in a real Chromium, opened from disk: curves, controls, keyboard, themes."""

import numpy as np
import pytest
from scipy import stats

from benchmark.figures.style import contrast
from benchmark.rows.store import Store
from support.page.opened import CHROMIUM, PHONE, loaded, number_of, place_of
from support.page.results import IMAGES, data_of, make_page, make_page_of_sets
from support.rows.measured import row

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")


def curves_of(page):
    return page.evaluate(
        """() => document.getElementById("chart")._fullData.filter((one) => one.visible).map(
            (one) => ({x: [...one.x], y: [...one.y], error: one.error_y.visible === true,
                       hover: [...one.hovertext]}))"""
    )


def test_the_curves_are_the_means_and_the_controls_do_what_they_say(visit, file, data):
    page = visit(file)

    def means(column, codecs):
        found = []
        for codec in codecs:
            mine = [p for p in data["points"] if data["codecs"][p["codec"]]["name"] == codec]
            found.append(
                sorted((p["means"][column]["bpp"], p["means"][column]["place"]) for p in mine)
            )
        return found

    drawable = {p["codec"] for p in data["points"] if "place" in p["means"]["psnr_db"]}
    names = [one["name"] for place, one in enumerate(data["codecs"]) if place in drawable]
    assert len(names) == 4
    drawn = [list(zip(one["x"], one["y"], strict=True)) for one in curves_of(page)]
    assert [list(map(tuple, one)) for one in drawn] == means("psnr_db", names)
    page.locator("#legend button", has_text="webp").click()
    assert page.locator("#legend button", has_text="webp").get_attribute("aria-pressed") == "false"
    names.remove("webp")
    drawn = [list(zip(one["x"], one["y"], strict=True)) for one in curves_of(page)]
    assert drawn == means("psnr_db", names)
    axis = "() => document.getElementById('chart')._fullLayout.xaxis.type"
    assert page.evaluate(axis) == "log"
    page.uncheck("#log-rate")
    assert page.evaluate(axis) == "linear"
    page.get_by_role("radio", name="MS-SSIM").check(force=True)
    drawn = [list(zip(one["x"], one["y"], strict=True)) for one in curves_of(page)]
    assert drawn == means("ms_ssim", names)
    mean = next(one for one in data["points"] if one["setting"] == "quality=50")["means"]["ms_ssim"]
    assert mean["place"] == pytest.approx(-10 * np.log10(1 - mean["value"]), rel=1e-4)
    assert not any(one["error"] for one in curves_of(page))
    page.check("#intervals")
    assert all(one["error"] for one in curves_of(page))
    assert "3 images" in page.locator("#curve-caption").inner_text()
    assert "ms-ssim-rgb8/1" in page.locator("#curve-caption").inner_text()


def test_a_metric_of_sets_has_its_interval_and_no_number_of_an_image(visit, tmp_path):
    file = tmp_path / "page.html"
    values = np.array(make_page_of_sets(file))
    page = visit(file)
    [curve] = curves_of(page)
    low, high = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values))
    assert curve["y"] == pytest.approx([values.mean()])
    assert curve["error"]
    assert f"interval: {low:.4f} to {high:.4f}" in curve["hover"][0]
    caption = page.locator("#curve-caption").inner_text()
    assert "fewer than 50 images" in caption
    assert "* a trial." in caption
    assert page.locator("#legend button.legend-entry").all_inner_texts() == ["jpeg*"]
    page.uncheck("#intervals")
    assert not curves_of(page)[0]["error"]
    assert not page.locator("#images").is_visible()
    page.locator("button[data-point]").click()
    assert page.locator("#image-table thead th").all_inner_texts() == ["image", "bpp"]


def test_published_curves_are_switched_on_and_their_hover_names_the_source(visit, tmp_path):
    names = [f"kodim{number:02d}.png" for number in range(1, 25)]
    rows = [row("jpeg", q, name) for q in (10, 20, 30, 40) for name in names]
    Store(tmp_path / "kodak").append(rows)
    file = make_page(tmp_path, "kodak")
    [vtm] = [
        one for one in data_of(file)["published"]["psnr_db"] if one["name"] == "VTM (CompressAI)"
    ]
    page = visit(file)
    assert len(curves_of(page)) == 1
    page.check("#published")
    hovers = [hover for one in curves_of(page) for hover in one["hover"]]
    assert len(hovers) > 100
    mine = " ".join(hover.replace("<br>", " ") for hover in hovers if "VTM (CompressAI)" in hover)
    assert vtm["source"] in mine
    assert vtm["points"][0]["reference"] in mine
    page.get_by_role("button", name="quality=10").click()
    absent = page.locator("#panes .absent").first.inner_text()
    assert "was not kept; `bench run --codecs jpeg --dataset set" in absent


def test_markers_say_where_points_come_from_and_stars_name_caveats(visit, tmp_path):
    names = [f"kodim{number:02d}.png" for number in range(1, 25)]
    rows = [row("jpeg", q, name, caveat="a trial") for q in (10, 20) for name in names]
    rows += [row("webp", q, name, recorded=True) for q in (10, 20) for name in names]
    Store(tmp_path / "kodak").append(rows)
    file = make_page(tmp_path, "kodak")
    page = visit(file)
    page.check("#published")
    drawn = page.evaluate(
        """() => document.getElementById("chart")._fullData
            .filter((one) => one.mode !== "none" && one.hovertext)
            .map((one) => [one.hovertext[0].match(/<b>(.*?)<.b>/)[1], one.mode, one.line.dash,
                           one.mode === "lines" ? "" : one.marker.symbol,
                           one.mode !== "lines" && one.marker.color === one.line.color])"""
    )
    symbol = {one["name"]: one["symbol"] for one in data_of(file)["codecs"]}
    ours = {name: how for name, _, *how in drawn if name in symbol}
    assert ours == {
        "jpeg": ["solid", symbol["jpeg"], True],
        "webp": ["solid", symbol["webp"] + "-dot", False],
    }
    others = [how for name, mode, *how in drawn if name not in symbol and mode != "lines"]
    assert len(others) > 10
    assert not any(
        dash == "solid" or shape.endswith("-dot") or filled for dash, shape, filled in others
    )
    legend = page.locator("#legend .legend-group").all()
    entries = {
        one.locator("h3 span").inner_text(): one.locator(".legend-entry").all_inner_texts()
        for one in legend
    }
    assert list(entries) == ["Measured here", "Precomputed", "Published"]
    assert (entries["Measured here"], entries["Precomputed"]) == (["jpeg*"], ["webp"])
    caption = page.locator("#curve-caption").inner_text()
    assert "Markers: filled, measured here; open with a dot, precomputed" in caption
    assert "open on broken lines, published" in caption
    assert "* a trial." in caption
    page.get_by_role("button", name="webp", exact=True).first.click()
    assert "precomputed" not in page.locator("#curve-caption").inner_text()


def test_two_settings_are_compared_image_by_image(visit, file, data, results):
    page = visit(file)
    numbers = [number_of(data, "webp", "quality=40"), number_of(data, "jpeg", "quality=50")]
    page.select_option("#scatter-setting", str(numbers[0]))
    page.select_option("#scatter-against", str(numbers[1]))
    webp, jpeg = (np.array(data["points"][n]["image_values"]["psnr_db"]) for n in numbers)
    test = stats.ttest_rel(webp, jpeg).confidence_interval(0.95)
    said = page.locator("#scatter-finding").inner_text().replace("−", "-")
    assert (
        f": {np.mean(webp - jpeg):+.2f} dB (95 % interval {test.low:+.2f} to {test.high:+.2f}"
        in said
    )
    assert f"better in {np.count_nonzero(webp > jpeg)} of 3 images" in said
    page.mouse.click(*place_of(page, jpeg[1], webp[1], "scatter"))
    image = data["points"][numbers[0]]["images"][1]
    current = page.locator("#image-table [aria-current]").inner_text()
    assert current == data["images"][image]["name"]
    panes = page.locator("#panes figcaption strong").all_inner_texts()
    assert [one.split(" ")[0] for one in panes] == ["webp", "jpeg"]


def test_everything_can_be_done_from_the_keyboard(visit, file, data):
    page = visit(file)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the curves"
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "chart":
            break
    focus = "getComputedStyle(document.activeElement).outlineStyle"
    assert (page.evaluate("document.activeElement.id"), page.evaluate(focus)) == ("chart", "solid")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    told = page.locator("#chart-status").inner_text()
    page.keyboard.press("Enter")
    page.wait_for_selector("#viewer[open]")
    assert told.startswith(page.locator("#viewer-title").inner_text() + ":")
    for key, mode in (("f", "flicker"), ("d", "difference"), ("v", "decoded"), ("s", "slider")):
        page.keyboard.press(key)
        assert page.locator("#mode-choice input:checked").get_attribute("value") == mode
        assert page.locator("#panes .stage").first.get_attribute("data-mode") == mode
    current = page.locator("#image-table [aria-current]")
    before = current.inner_text()
    page.keyboard.press("n")
    assert current.inner_text() != before
    page.keyboard.press("p")
    assert current.inner_text() == before
    title = page.locator("#viewer-title").inner_text()
    page.keyboard.press("]" if page.locator("#rate-up").is_enabled() else "[")
    assert page.locator("#viewer-title").inner_text() != title
    handle = page.locator("#panes .handle").first
    handle.focus()
    page.keyboard.press("ArrowRight")
    assert handle.get_attribute("aria-valuenow") == "52"
    page.keyboard.press("Home")
    assert handle.get_attribute("aria-valuenow") == "0"
    page.keyboard.press("+")
    page.keyboard.press("0")
    page.keyboard.press("Escape")
    assert not page.locator("#viewer").is_visible()
    assert page.evaluate("document.activeElement.id") == "chart"


def test_names_stay_names(visit, file):
    page = visit(file)
    page.locator("button[data-point]").first.click()
    assert page.locator("#image-table tbody button").all_inner_texts() == sorted(IMAGES)
    assert page.locator("img[src=x]").count() == 0
    hovers = page.evaluate("document.getElementById('scatter')._fullData.at(-1).hovertext")
    assert any("&lt;img src=x onerror='alert(1)'&gt; &amp;" in hover for hover in hovers)


def colours(page):
    """Of text and background, as #rrggbb."""
    found = page.evaluate(
        "() => { const {color, backgroundColor} = getComputedStyle(document.body);"
        " return [color, backgroundColor]; }"
    )
    return ["#" + "".join(f"{int(part):02x}" for part in one[4:-1].split(",")) for one in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it_in_both_themes(visit, file, data, scheme):
    page = visit(file, PHONE, color_scheme=scheme, has_touch=True, is_mobile=True)
    wide = "() => [document.documentElement.scrollWidth, innerWidth]"
    assert page.evaluate(wide) == [390, 390]
    ink, paper = colours(page)
    assert contrast(ink, paper) > 12
    assert (contrast(paper, "#000000") < 2) == (scheme == "dark")
    page.locator("button[data-point]").nth(5).tap()
    page.wait_for_selector("#viewer[open]")
    loaded(page)
    inside = "(box) => [box.scrollWidth, box.clientWidth]"
    assert page.locator("#viewer").evaluate(inside) == [390, 390]
    drawn = page.locator("#panes .stage").first.bounding_box()
    assert (drawn["x"] >= 0, drawn["x"] + drawn["width"] <= 390) == (True, True)
    outside = page.eval_on_selector_all(
        "#viewer button, #viewer .segments label",
        "(all) => all.filter((one) => !one.closest('.scroll') &&"
        " (one.getBoundingClientRect().right > 391 || one.getBoundingClientRect().left < -1))"
        ".map((one) => one.outerHTML)",
    )
    assert outside == []
    page.locator("#viewer-close").tap()
    assert not page.locator("#viewer").is_visible()


def test_the_theme_changes_with_the_readers(visit, file):
    page = visit(file, color_scheme="light")
    jpeg = "() => document.getElementById('chart')._fullData[0].line.color"
    assert page.evaluate(jpeg) == "#000000"
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        "() => document.getElementById('chart')._fullData[0].line.color !== '#000000'"
    )
    assert contrast(page.evaluate(jpeg), colours(page)[1]) >= 4.5
