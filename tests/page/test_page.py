"""The report page in a real Chromium, opened from disk: clicked, dragged, typed at, looked at."""

import shutil
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from benchmark.codec_spec import CodecSpec, load_codec
from benchmark.figures.contrast import contrast
from benchmark.rows.store import Store
from support.page.opened import CHROMIUM, PHONE, click_point, loaded, number_of, place_of
from support.page.results import (
    HEIGHT,
    IMAGES,
    WIDTH,
    data_of,
    make_page,
    make_page_of_sets,
    pixels_of,
)
from support.rows.measured import row

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")


@pytest.fixture(scope="module")
def results(measured_once):
    return measured_once


def seen(page, pane=0):
    """The pixels of a pane's picture at one to one, (HEIGHT, WIDTH, 3), and where it begins."""
    page.keyboard.press("1")
    loaded(page)
    image = page.locator("#panes .stage").nth(pane).locator(".layer.over > img")
    box = image.bounding_box()
    assert (box["width"], box["height"]) == (WIDTH, HEIGHT)
    box["x"], box["y"] = left, _ = round(box["x"]), round(box["y"])
    shot = page.screenshot(clip=box)
    with Image.open(BytesIO(shot)) as picture:
        return np.asarray(picture.convert("RGB")).astype(int), left


def truth(results, image, codec="webp", setting=40.0):
    """The source, and what the stored stream decodes to: the codec asked, not the page."""
    [folder] = [path.parent for path in results.glob("*/per_image")]
    store = Store(folder)
    name, _, variant = codec.partition(":")
    [one] = [
        row
        for row in store.table().to_pylist()
        if (row["image"], row["codec"], row["variant"], row["setting_value"])
        == (image, name, variant, setting)
    ]
    decoded = load_codec(CodecSpec.of(name, variant)).decode(store.stream(one["stream_sha256"]))
    return SimpleNamespace(
        source=pixels_of(results.parent / "photos" / image).astype(int), decoded=decoded.astype(int)
    )


def test_a_clicked_point_opens_with_its_images_and_their_numbers(visit, file, data):
    page = visit(file)
    point = click_point(page, data)
    assert page.locator("#viewer-title").inner_text() == "webp quality=40"
    assert page.locator("#panes figcaption strong").first.inner_text() == "webp quality=40"
    lines = page.locator("#image-table tbody tr").all()
    found = {
        line.locator("th").inner_text(): [cell.inner_text() for cell in line.locator("td").all()]
        for line in lines
    }
    expected = {
        data["images"][image]["name"]: [
            f"{point['image_bpp'][at]:.3f}",
            f"{point['image_values']['psnr_db'][at]:.2f}",
            f"{point['image_values']['ms_ssim'][at]:.4f}",
        ]
        for at, image in enumerate(point["images"])
    }
    assert found == expected
    facts = page.locator("#viewer-facts").inner_text()
    assert all(one in facts for one in ("3 images", "coding/1", "psnr-rgb8/1", "libwebp"))


def test_what_is_seen_is_what_the_stream_decodes_to(visit, file, data, results):
    page = visit(file)
    click_point(page, data)
    for image in IMAGES:
        page.locator("#image-table tbody button", has_text=image).click()
        page.keyboard.press("v")
        expected = truth(results, image)
        assert np.array_equal(seen(page)[0][40:], expected.decoded[40:])  # tags lie above
        page.keyboard.down("o")
        assert np.array_equal(seen(page)[0][40:], expected.source[40:])
        page.keyboard.up("o")
        assert np.array_equal(seen(page)[0][40:], expected.decoded[40:])


def test_the_slider_divides_original_from_decoded_where_it_is_dragged(visit, file, data, results):
    page = visit(file)
    click_point(page, data)
    page.locator("#image-table tbody button", has_text="cup.png").click()
    expected = truth(results, "cup.png")
    _, left = seen(page)
    handle = page.locator("#panes .handle").first.bounding_box()
    middle = handle["x"] + handle["width"] / 2
    for column in (60, 170):
        height = handle["y"] + handle["height"] / 2
        page.mouse.move(middle, height)
        page.mouse.down()
        page.mouse.move(left + column - 40, height, steps=4)
        page.mouse.move(left + column, height, steps=4)
        page.mouse.up()
        middle = left + column
        now, _ = seen(page)
        near = 25  # of the handle itself
        assert np.array_equal(now[40:, : column - near], expected.source[40:, : column - near])
        assert np.array_equal(now[40:, column + near :], expected.decoded[40:, column + near :])
        assert not np.array_equal(expected.source, expected.decoded)
        line = [one.evaluate("(one) => one.style.left") for one in page.locator(".handle").all()]
        assert len(set(line)) == 1  # every pane's


def test_the_difference_is_eight_times_the_absolute_one_cut_off(visit, file, data, results):
    page = visit(file)
    click_point(page, data)
    for image in IMAGES:
        page.locator("#image-table tbody button", has_text=image).click()
        page.keyboard.press("d")
        expected = truth(results, image)
        wanted = np.minimum(8 * abs(expected.source - expected.decoded), 255)
        assert np.array_equal(seen(page)[0], wanted)
        assert (wanted == 255).any()


def test_flicker_shows_one_after_the_other(visit, file, data, results):
    page = visit(file)
    click_point(page, data)
    page.locator("#image-table tbody button", has_text="spoon.png").click()
    page.clock.install(time=0)
    page.clock.pause_at(10)
    page.keyboard.press("f")
    expected = truth(results, "spoon.png")
    for wanted in (expected.decoded, expected.source, expected.decoded):
        assert np.array_equal(seen(page)[0][40:], wanted[40:])
        page.clock.run_for(600)


def test_four_codecs_meet_at_the_nearest_rate_and_move_together(visit, file, data, results):
    page = visit(file)
    point = click_point(page, data)
    page.locator("#image-table tbody button", has_text="cup.png").click()
    left_out = page.locator("#codec-choice button:enabled[aria-pressed=false]")
    while left_out.count():
        left_out.first.click()
    panes = page.locator("#panes figcaption strong").all_inner_texts()
    image = next(n for n, one in enumerate(data["images"]) if one["name"] == "cup.png")
    rate = point["image_bpp"][point["images"].index(image)]
    nearest = {}
    for one in data["points"]:
        name = data["codecs"][one["codec"]]["name"]
        if image in one["images"]:
            away = abs(np.log(one["image_bpp"][one["images"].index(image)] / rate))
            nearest.setdefault(name, []).append((away, one["setting"]))
    best = {f"{name} {min(found)[1]}" for name, found in nearest.items()}
    assert len(panes) == 4
    assert panes[0] == "webp quality=40"
    assert set(panes) == best
    stage = page.locator("#panes .stage").nth(2).bounding_box()
    page.mouse.move(stage["x"] + 100, stage["y"] + 50)
    before = page.locator("#zoom-now").inner_text()
    page.mouse.wheel(0, -400)
    page.mouse.down()
    page.mouse.move(stage["x"] + 130, stage["y"] + 90, steps=3)
    page.mouse.up()
    assert page.locator("#zoom-now").inner_text() != before
    places = page.eval_on_selector_all(
        "#panes .layer > *",
        """(all) => all.map((one) => {
            const mine = one.getBoundingClientRect();
            const {left, top} = one.closest(".stage").getBoundingClientRect();
            return [mine.left - left, mine.top - top, mine.width, mine.height];
        })""",
    )
    assert len(places) == 12
    assert np.ptp(places, axis=0).max() < 1e-3
    sizes = page.eval_on_selector_all(
        "#panes .stage", "(all) => all.map((one) => `${one.clientWidth} ${one.clientHeight}`)"
    )
    assert len(set(sizes)) == 1


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


def test_a_picture_that_is_not_there_is_a_sentence(visit, results, tmp_path):
    copied = shutil.copytree(results, tmp_path / "results")
    file = make_page(copied, str(results.parent / "photos"), images="1")
    data = data_of(file)
    page = visit(file)
    click_point(page, data)
    without = next(one["name"] for one in data["images"] if one["picture"] is None)
    page.locator("#image-table tbody button", has_text=without).click()
    assert "--page-images all" in page.locator("#panes .absent").first.inner_text()
