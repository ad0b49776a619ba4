"""The report page in a real Chromium, opened from disk: curves, controls, keyboard, themes."""

import numpy as np
import pytest
from scipy import stats

from benchmark.rows.store import Store
from benchmark.show.page.content import contrast
from support.page.opened import PHONE, loaded, number_of, open_point, place_of
from support.page.results import data_of, make_page, make_page_of_sets
from support.processes import until
from support.quick import quick
from support.rows.measured import row


def curves_of(page):
    return page.evaluate(
        """() => Object.fromEntries(document.getElementById("chart").chart.series.map(
            (one) => [one.name, one]))"""
    )


def places(curve):
    return [(point["x"], point["y"]) for point in curve["points"]]


def test_the_curves_are_the_means_and_the_controls_do_what_they_say(visit, file, data):
    page = visit(file)

    def means(column, codecs):
        result = {codec: [] for codec in codecs}
        for point in data["points"]:
            if (name := data["codecs"][point["codec"]]["name"]) in result:
                mean = point["means"][column]
                result[name].append((mean["bpp"], mean["place"]))
        return {codec: sorted(points) for codec, points in result.items()}

    def drawn():
        return {name: places(curve) for name, curve in curves_of(page).items()}

    drawable = {p["codec"] for p in data["points"] if "place" in p["means"]["psnr_db"]}
    names = [record["name"] for place, record in enumerate(data["codecs"]) if place in drawable]
    assert len(names) == 4
    assert drawn() == means("psnr_db", names)
    page.locator("#legend label", has_text="webp").click()
    assert not page.locator("#legend label", has_text="webp").locator("input").is_checked()
    names.remove("WebP")
    assert drawn() == means("psnr_db", names)
    page.get_by_role("radio", name="MS-SSIM").check(force=True)
    assert drawn() == means("ms_ssim", names)
    point = next(value for value in data["points"] if value["setting"] == "quality=50")
    mean = point["means"]["ms_ssim"]
    assert mean["place"] == pytest.approx(-10 * np.log10(1 - mean["value"]), rel=1e-4)
    assert page.locator("#chart .interval").count() == 0
    assert "3 images" in page.locator("#curve-caption").inner_text()


@pytest.mark.slow
def test_points_are_drawn_where_their_numbers_are(visit, file):
    """Against the numbers at the axes, read off the drawing."""
    page = visit(file)
    page.evaluate("() => { page.data.linear_rate = true; page.drawCurves(); }")

    def ticks(attribute, kind):
        pair = f"[Number(one.textContent), Number(one.getAttribute('{attribute}'))]"
        script = f"(all) => all.map((one) => {pair})"
        return np.polyfit(*np.array(page.eval_on_selector_all(f"#chart text{kind}", script)).T, 1)

    def drawn():
        series = page.locator("#chart .series").last
        boxes = [marker.bounding_box() for marker in series.locator(".marker").all()]
        chart_x, chart_y = (page.locator("#chart").bounding_box()[name] for name in "xy")
        middles = [(b["x"] + b["width"] / 2, b["y"] + b["height"] / 2) for b in boxes]
        return np.array(middles) - (chart_x, chart_y)

    def expected():
        x, y = ticks("x", ":not([class])"), ticks("y", ".number")
        curve = list(curves_of(page).values())[-1]
        return [(np.polyval(x, rate), np.polyval(y, value) - 4) for rate, value in places(curve)]

    assert np.abs(drawn() - expected()).max() < 1


@pytest.fixture(scope="module")
def kodak(tmp_path_factory):
    """A page of measured and precomputed rows of Kodak, ten codecs, with published curves."""
    folder = tmp_path_factory.mktemp("kodak")
    names = [f"kodim{number:02d}.png" for number in range(1, 25)]
    rows = [row("jpeg", q, name, caveat="a trial") for q in (10, 20, 30, 40) for name in names]
    rows += [row("webp", q, name, recorded=True) for q in (10, 20) for name in names]
    rows += [
        row("jpeg2000", q, name, variant=f"lossy={n}", num_bytes=int(20 * q + 100 + n))
        for n in range(9)
        for q in ((10, 20, 30, 40) if n < 8 else (20, 30, 40, 60))  # the worst shares little
        for name in names
    ]
    Store(folder / "kodak").append(rows)
    return make_page(folder, "kodak")


def test_eight_curves_are_shown_and_others_are_folded_in_the_legend(visit, kodak):
    page = visit(kodak)
    data = data_of(kodak)
    names = [data["codecs"][place]["name"] for place in data["shown"]["codecs"]]
    assert len(names) == 8
    assert set(curves_of(page)) == {name + "*" * (name == "JPEG") for name in names}
    fold = page.locator("#legend details", has_text="3 more codecs")
    assert fold.locator("input:checked").count() == 0
    fold.locator("summary").click()
    fold.locator("label").first.click()
    assert len(curves_of(page)) == 9
    assert fold.locator("label").first.is_visible()  # it stays open
    for label in fold.locator("label").all()[1:]:
        label.click()
    assert len(curves_of(page)) == 11


@pytest.mark.slow
def test_a_folded_codec_can_stand_beside_a_point(visit, kodak):
    page = visit(kodak)
    open_point(page)
    assert page.locator("#codec-choice > label").count() == 8
    page.locator("#codec-choice details summary").click()
    page.locator("#codec-choice details label").first.click()
    assert page.locator("#codec-choice > label").count() == 9
    assert page.locator("#panes .pane").count() == 2
    assert page.locator("#codec-choice input:focus").is_checked()


@pytest.mark.slow
def test_a_published_curve_can_be_shown_and_its_hover_names_the_source(visit, kodak):
    name = "VTM (CompressAI, published)"
    [vtm] = [entry for entry in data_of(kodak)["published"]["psnr_db"] if entry["name"] == name]
    page = visit(kodak)
    page.locator("#legend details", has_text="published").locator("summary").click()
    legend = page.locator("#legend label", has_text=name)
    legend.click()
    result = curves_of(page)[name]
    assert (result["filled"], result["dashes"]) == (False, "none")
    assert all(curve["filled"] for name, curve in curves_of(page).items() if name[:3] != "VTM")
    assert "* a trial." in page.locator("#curve-caption").inner_text()
    point = result["points"][3]
    page.mouse.move(*place_of(page, point["x"], point["y"]))
    message = page.locator("#chart .tip").inner_text()
    assert vtm["source"] in message
    assert len(message.splitlines()) <= 5
    assert vtm["points"][0]["reference"] in legend.get_attribute("title")
    page.locator("#all-points summary").click()
    page.locator("#all-points a").first.click()
    absent = page.locator("#panes .absent").first
    assert "bench run --codecs jpeg" in absent.inner_text()
    assert absent.locator("button").inner_text().startswith("bench run --codecs jpeg")


@pytest.mark.slow
def test_a_metric_of_sets_has_its_interval_and_no_number_of_an_image(visit, tmp_path):
    file = tmp_path / "page.html"
    values = np.array(make_page_of_sets(file))
    page = visit(file)
    [curve] = curves_of(page).values()
    low, high = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values))
    [point] = curve["points"]
    assert point["y"] == pytest.approx(values.mean())
    assert point["ends"] == pytest.approx([low, high], rel=1e-4)
    assert f"interval: {low:.4f} to {high:.4f}" in " ".join(point["hover"]).replace("−", "-")
    assert page.locator("#chart .interval").count() == 1
    assert page.locator("#legend label").all_inner_texts() == ["jpeg*"]
    page.locator("#all-points summary").click()
    page.locator("#all-points a").click()
    assert page.locator("#image-table thead th").all_inner_texts() == ["image", "bpp"]


@pytest.mark.slow
def test_two_settings_are_compared_image_by_image(visit, file, data):
    page = visit(file)
    page.evaluate(f"location.hash = '{data['dataset']}/webp/quality=40/cup.png?beside=jpeg'")
    page.wait_for_selector("#viewer[open]")
    setting = page.locator("#panes figcaption strong").last.inner_text().split(" ")[1]
    numbers = [number_of(data, "webp", "quality=40"), number_of(data, "jpeg", setting)]
    webp, jpeg = (np.array(data["points"][n]["image_values"]["psnr_db"]) for n in numbers)
    test = stats.ttest_rel(webp, jpeg).confidence_interval(0.95)
    message = page.locator("#finding").inner_text().replace("−", "-")
    interval = f"(paired 95 % interval {test.low:+.2f} to {test.high:+.2f})"
    assert f"PSNR {np.mean(webp - jpeg):+.2f} dB {interval}" in message
    assert f"better in {np.count_nonzero(webp > jpeg)} of 3 images" in message
    page.locator("#image-table thead button", has_text="Δ PSNR").click()
    cells = page.locator("#image-table tbody td:last-child").all_inner_texts()
    assert cells == [f"{difference:+.2f}".replace("-", "−") for difference in sorted(webp - jpeg)]
    names = [data["images"][n]["name"] for n in data["points"][numbers[0]]["images"]]
    order = [names[place] for place in np.argsort(webp - jpeg)]
    assert page.locator("#image-table tbody th").all_inner_texts() == order


def test_everything_can_be_done_from_the_keyboard(visit, file, data):
    page = visit(file)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the curves"
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.point')"):
            break
    reported = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert page.locator("#tip").inner_text().startswith(reported.partition(",")[0])
    page.keyboard.press("Enter")
    page.wait_for_selector("#viewer[open]")
    assert reported.startswith(page.locator("#viewer-title").inner_text() + ",")
    for key, mode in (("f", "flicker"), ("v", "decoded"), ("s", "slider")):
        page.keyboard.press(key)
        assert page.locator("#mode-choice input:checked").get_attribute("value") == mode
        assert page.locator("#panes .stage").first.get_attribute("data-mode") == mode
    current = page.locator("#image-table [aria-current]")
    first_image = current.inner_text()
    page.keyboard.press("n")
    assert current.inner_text() != first_image
    page.keyboard.press("p")
    assert current.inner_text() == first_image
    title = page.locator("#viewer-title").inner_text()
    page.keyboard.press("]" if page.locator("#rate-up").is_enabled() else "[")
    assert page.locator("#viewer-title").inner_text() != title
    page.keyboard.press(".")
    assert page.evaluate("page.sight.split") == pytest.approx(0.52)
    page.keyboard.press("+")
    page.keyboard.press("0")
    page.keyboard.press("Escape")
    assert until(lambda: not page.locator("#viewer").is_visible(), 20)
    focused = "document.activeElement.getAttribute('aria-label')"
    assert until(lambda: page.evaluate(focused) == reported, 20)


def hex_of(colour):
    return "#" + "".join(f"{int(part):02x}" for part in colour[4:-1].split(","))


def colours(page):
    style = "getComputedStyle(document.body)"
    return [*map(hex_of, page.evaluate(f"[{style}.color, {style}.backgroundColor]"))]


@pytest.mark.parametrize("scheme", quick(["light", "dark"], "dark"))
def test_a_phone_shows_all_of_it_in_both_themes(visit, file, data, scheme):
    page = visit(file, PHONE, color_scheme=scheme, has_touch=True, is_mobile=True)
    assert page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]") == [390, 390]
    ink, paper = colours(page)
    assert contrast(ink, paper) > 12
    assert (contrast(paper, "#000000") < 2) == (scheme == "dark")
    page.locator("#crops a").first.tap()
    page.wait_for_selector("#viewer[open]")
    loaded(page)
    inside = "(box) => [box.scrollWidth, box.clientWidth]"
    assert page.locator("#viewer").evaluate(inside) == [390, 390]
    stage_box = page.locator("#panes .stage").first.bounding_box()
    assert (stage_box["x"] >= 0, stage_box["x"] + stage_box["width"] <= 390) == (True, True)
    outside = page.eval_on_selector_all(
        "#viewer button, #viewer .segments label",
        "(all) => all.filter((one) => !one.closest('.scroll') &&"
        " (one.getBoundingClientRect().right > 391 || one.getBoundingClientRect().left < -1))"
        ".map((one) => one.outerHTML)",
    )
    assert outside == []
    page.locator("#viewer-close").tap()
    assert not page.locator("#viewer").is_visible()


@pytest.mark.slow
def test_the_theme_changes_with_the_readers(visit, file):
    page = visit(file, color_scheme="light")

    def stroke():
        place = [*curves_of(page)].index("JPEG (subsampling 444)")
        series = page.locator("#chart .series").nth(place)
        return hex_of(series.evaluate("(one) => getComputedStyle(one).stroke"))

    light = stroke()
    assert contrast(light, "#ffffff") >= 4.5
    page.emulate_media(color_scheme="dark")
    assert until(lambda: stroke() != light, 20)
    assert contrast(stroke(), colours(page)[1]) >= 4.5
