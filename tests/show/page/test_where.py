"""Maps of the report page: files, colours, legend, keyboard and link, in a real Chromium."""

import re
import shutil
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from benchmark.metrics.maps import error_map, halve_map, levels, map_scale, scale_end
from benchmark.metrics.metric import MapScale
from benchmark.show.figures.picture_sheet import COLOURS
from support.page.opened import PHONE, click_point, loaded
from support.page.results import data_of, pixels_of
from support.processes import until

LUMA = "psnr_y_db"
REACHES = ([0.2], [0.11, 0.31, 0.7], [0, 0], [], [0.049, 0.051], [900.0, 2.5])


def open_maps(page):
    page.keyboard.press("w")
    page.wait_for_function(
        "() => [...document.querySelectorAll('#panes .map img')].every((one) => one.naturalWidth)"
    )


def test_a_map_is_a_grey_picture_of_half_the_size_named_by_what_it_is_of(file, data):
    names = set()
    for point in data["points"]:
        for index, image in enumerate(point["images"]):
            source = pixels_of(file.parent / data["images"][image]["picture"])
            decoded = pixels_of(file.parent / point["pictures"][index])
            name, _ = point["maps"][index][LUMA]
            names.add(name)
            squares = error_map(source, decoded, "psnr_y") ** 2
            expected = levels(halve_map(squares), map_scale("psnr_y"))
            assert (pixels_of(file.parent / name) == expected[..., None]).all()
    assert len(names) == 48
    assert [entry["column"] for entry in data["maps"]][-1] == LUMA


def test_the_page_and_the_figure_have_one_rule_of_scales_and_the_same_colours(visit, file):
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    page, end = visit(file), "([reaches, root]) => page.where.end(reaches, {root})"
    for scale in (MapScale(1.0), MapScale(128.0**2, root=True)):
        for reaches in filter(None, REACHES):
            assert page.evaluate(end, [reaches, scale.root]) == scale_end(reaches, scale)
    hexes = page.evaluate("() => page.where.INFERNO.map(([hex]) => hex)")
    assert hexes == [to_hex(colormaps[COLOURS](place)) for place in np.linspace(0, 1, 10)]


def test_a_pixel_has_the_colour_of_the_legend_at_its_value(visit, file, data):
    page = visit(file)
    point = click_point(page, data)
    open_maps(page)
    page.locator(f"#where-choice input[value={LUMA}]").check(force=True)
    map_of_luma = page.locator("#panes .map img").first
    page.wait_for_function("() => document.querySelector('#panes .map img').naturalWidth")
    end = page.evaluate("page.where.end(page.viewer.slots().map((one) => "
                        f"one.point.maps[one.at].{LUMA}[1]), page.data.maps.at(-1))")  # fmt: skip
    assert page.locator("#where-end").inner_text() == f"≥ {end:g}"
    name = map_of_luma.get_attribute("src")
    values = pixels_of(file.parent / name)[..., 0] / 255.0 * 128
    page.keyboard.press("1")
    loaded(page)
    box = page.locator("#panes .stage").first.locator(".over > img").bounding_box()
    clip = {name: round(box[name]) for name in ("x", "y", "width", "height")}
    with Image.open(BytesIO(page.screenshot(clip=clip))) as shot:
        pixels = np.asarray(shot.convert("RGB")).astype(float)
    # Where a map is even over 3 x 3, so is what is drawn over its middle.
    index = point["images"].index(page.evaluate("page.viewer.image"))
    decoded = pixels_of(file.parent / point["pictures"][index]).astype(float)
    grey = decoded @ (0.2126, 0.7152, 0.0722)
    ramp = page.evaluate("page.where.INFERNO")
    tints = np.array([[int(h[n : n + 2], 16) for n in (1, 3, 5)] for h, _ in ramp], float)
    steps, hidden = np.linspace(0, 1, len(ramp)), np.array([share for _, share in ramp])
    checked = 0
    for y in range(25, values.shape[0] - 1):
        for x in range(1, values.shape[1] - 1):
            if np.ptp(values[y - 1 : y + 2, x - 1 : x + 2]) > 0.02 * end:
                continue
            share = min(values[y, x] / end, 1)
            tint = np.array([np.interp(share, steps, tints[:, n]) for n in range(3)])
            veil = np.interp(share, steps, hidden)
            expected = veil * tint + (1 - veil) * grey[2 * y, 2 * x]
            assert np.abs(pixels[2 * y, 2 * x] - expected).max() < 14
            checked += 1
    assert checked > 20


def test_w_shows_maps_and_a_link_restores_the_metric(visit, file, data):
    page = visit(file)
    click_point(page, data)
    assert not page.locator("#where").is_visible()
    assert page.locator("#panes .map img").first.get_attribute("src") is None  # not yet loaded
    open_maps(page)
    assert page.locator("#panes .stage").first.get_attribute("data-mode") == "where"
    assert page.locator("#where").is_visible()
    assert f"where={data['maps'][0]['column']}" in page.url
    page.locator(f"#where-choice input[value={LUMA}]").check(force=True)
    assert until(lambda: f"where={LUMA}" in page.url, 20)
    second_page = page.context.new_page()
    second_page.goto(page.url)
    second_page.wait_for_selector("#viewer[open]")
    assert second_page.locator("#where-choice input:checked").get_attribute("value") == LUMA
    assert second_page.locator("#mode-choice input:checked").get_attribute("value") == "where"
    assert second_page.locator("#viewer-notice").inner_text() == ""
    page.keyboard.press("s")
    assert "where=" not in page.url
    assert not page.locator("#where").is_visible()


def test_a_link_to_a_map_that_is_not_there_is_said(visit, file, data):
    page = visit(file)
    page.evaluate(f"location.hash = '{data['dataset']}/webp/quality=40/cup.png?where=vmaf'")
    page.wait_for_selector("#viewer[open]")
    assert "the map “vmaf”, which this page does" in page.locator("#viewer-notice").inner_text()
    assert page.locator("#mode-choice input:checked").get_attribute("value") == "slider"


def test_one_click_below_the_strip_shows_where_each_is_worse(visit, file, data):
    page = visit(file)
    strip, chart = (page.locator(selector).bounding_box() for selector in ("#crops", "#chart"))
    assert strip["y"] + strip["height"] <= chart["y"]
    page.locator("#crops").get_by_role("link", name="Maps of their errors").click()
    page.wait_for_selector("#viewer[open]")
    assert page.locator("#panes .stage").first.get_attribute("data-mode") == "where"
    assert page.locator("#panes .pane").count() == 4


@pytest.mark.slow
def test_on_a_phone_the_legend_stays_above_the_maps(visit, file, data):
    page = visit(file, PHONE, has_touch=True, is_mobile=True)
    page.locator("#crops a").first.tap()
    page.wait_for_selector("#viewer[open]")
    page.locator("#mode-choice label", has_text="Where").tap()
    legend, stage = (
        page.locator(selector).first.bounding_box() for selector in ("#where", "#panes .stage")
    )
    assert legend["y"] + legend["height"] <= stage["y"]
    page.locator("#viewer").evaluate("(box) => box.scrollTo(0, 400)")
    assert page.locator("#where").bounding_box()["y"] >= 0


@pytest.mark.slow
def test_a_page_without_maps_offers_none(visit, file, tmp_path):
    copy = shutil.copytree(file.parent, tmp_path / "copy") / file.name
    copy.write_text(re.sub(r'"maps":\[\{"column"[^]]*\]', '"maps":[]', copy.read_text()))
    assert data_of(copy)["maps"] == []
    page = visit(copy)
    page.locator("#crops a").first.click()
    page.wait_for_selector("#viewer[open]")
    page.keyboard.press("w")
    assert page.locator("#mode-choice label").count() == 4
    assert page.evaluate("page.sight.mode") == "slider"
