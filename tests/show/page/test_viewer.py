"""The viewer of the report page in a real Chromium: its pictures are what the streams decode to."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from benchmark.spec import load_codec, parse_codec
from support.page.opened import click_point, loaded, number_of
from support.page.results import HEIGHT, IMAGES, WIDTH, pixels_of
from support.rows.stable_rows import only_store


def shown_pixels(page):
    """The pixels of a pane's picture at one to one, (HEIGHT, WIDTH, 3), and where it begins."""
    page.keyboard.press("1")
    loaded(page)
    box = page.locator("#panes .stage").first.locator(".layer.over > img").bounding_box()
    assert (box["width"], box["height"]) == (WIDTH, HEIGHT)
    box["x"], box["y"] = x, _ = round(box["x"]), round(box["y"])
    with Image.open(BytesIO(page.screenshot(clip=box))) as picture:
        return np.asarray(picture.convert("RGB")).astype(int), x


@pytest.fixture
def page(visit, file, data):
    page = visit(file)
    click_point(page, data)
    return page


@pytest.fixture
def choose(page, measured_once):
    """Opens an image; returns its source, and what WebP's stored stream decodes to."""
    store = only_store(measured_once)

    def open_image(image):
        page.locator("#image-table tbody button", has_text=image).click()
        rows = store.table().filter(image=image, codec="webp", setting_value=40.0)
        stream = store.stream(rows["stream_sha256"].item())
        source = pixels_of(measured_once.parent / "photos" / image)
        return source.astype(int), load_codec(parse_codec("webp")).decode(stream).astype(int)

    return open_image


def test_a_clicked_point_opens_with_its_images_and_their_numbers(page, data):
    point = data["points"][number_of(data, "webp", "quality=40")]
    assert page.locator("#viewer-title").inner_text() == "WebP quality=40"
    assert page.locator("#panes figcaption strong").first.inner_text() == "WebP quality=40"
    lines = page.locator("#image-table tbody tr").all()
    names = (data["images"][image]["name"] for image in point["images"])
    columns = names, point["image_bpp"], *(point["image_values"][m] for m in ("psnr_db", "ms_ssim"))
    expected = [[name, f"{bpp:.3f}", f"{psnr:.2f}", f"{ms_ssim:.4f}"]
                for name, bpp, psnr, ms_ssim in zip(*columns, strict=True)]  # fmt: skip
    result = [line.locator("th, td").all_inner_texts()[:4] for line in lines]
    assert sorted(result) == sorted(expected)
    psnr, ms_ssim = (point["means"][name]["value"] for name in ("psnr_db", "ms_ssim"))
    assert page.locator("#viewer-line").inner_text().split(" · ") == [
        f"{point['bpp']:.3f} bpp", f"PSNR {psnr:.2f} dB", f"MS-SSIM {ms_ssim:.4f}"
    ]  # fmt: skip
    assert page.locator(".viewer-head").bounding_box()["height"] < 70


def test_what_is_seen_is_what_the_stream_decodes_to(page, choose):
    for image in IMAGES:
        source, decoded = choose(image)
        page.keyboard.press("v")
        assert np.array_equal(shown_pixels(page)[0][40:], decoded[40:])  # tags lie above
        page.keyboard.down("o")
        assert np.array_equal(shown_pixels(page)[0][40:], source[40:])
        page.keyboard.up("o")
        assert np.array_equal(shown_pixels(page)[0][40:], decoded[40:])


def test_the_slider_divides_original_from_decoded_where_it_is_dragged(page, choose):
    source, decoded = choose("cup.png")
    _, x = shown_pixels(page)
    handle = page.locator("#panes .handle").first.bounding_box()
    middle = handle["x"] + handle["width"] / 2
    for column in (60, 170):
        height = handle["y"] + handle["height"] / 2
        page.mouse.move(middle, height)
        page.mouse.down()
        page.mouse.move(x + column - 40, height, steps=4)
        page.mouse.move(x + column, height, steps=4)
        page.mouse.up()
        middle = x + column
        pixels, _ = shown_pixels(page)
        near = 25  # of the handle itself
        assert np.array_equal(pixels[40:, : column - near], source[40:, : column - near])
        assert np.array_equal(pixels[40:, column + near :], decoded[40:, column + near :])
        handles = page.locator(".handle").all()
        assert len({one.evaluate("(one) => one.style.left") for one in handles}) == 1


@pytest.mark.slow
def test_the_difference_is_eight_times_the_absolute_one_cut_off(page, choose):
    for image in IMAGES:
        source, decoded = choose(image)
        page.keyboard.press("d")
        difference = np.minimum(8 * abs(source - decoded), 255)
        assert np.array_equal(shown_pixels(page)[0], difference)
        assert (difference == 255).any()


@pytest.mark.slow
def test_flicker_shows_one_after_the_other(page, choose):
    source, decoded = choose("spoon.png")
    page.clock.install(time=0)
    page.clock.pause_at(10)
    page.keyboard.press("f")
    for picture in (decoded, source, decoded):
        assert np.array_equal(shown_pixels(page)[0][40:], picture[40:])
        page.clock.run_for(600)


@pytest.mark.slow
def test_four_codecs_meet_at_the_nearest_rate_and_move_together(page, choose, data):
    point = data["points"][number_of(data, "webp", "quality=40")]
    choose("cup.png")
    left_out = page.locator("#codec-choice input:enabled:not(:checked)")
    while left_out.count():
        left_out.first.click()
    panes = page.locator("#panes figcaption strong").all_inner_texts()
    image = next(n for n, row in enumerate(data["images"]) if row["name"] == "cup.png")
    rate = point["image_bpp"][point["images"].index(image)]
    nearest = {}
    for value in data["points"]:
        name = data["codecs"][value["codec"]]["name"]
        if image in value["images"]:
            away = abs(np.log(value["image_bpp"][value["images"].index(image)] / rate))
            nearest.setdefault(name, []).append((away, value["setting"]))
    assert (len(panes), panes[0]) == (4, "WebP quality=40")
    assert {*panes} == {f"{name} {min(distances)[1]}" for name, distances in nearest.items()}
    stage = page.locator("#panes .stage").nth(2).bounding_box()
    page.mouse.move(stage["x"] + 100, stage["y"] + 50)
    zoom = page.locator("#zoom-now").inner_text()
    page.mouse.wheel(0, -400)
    page.mouse.down()
    page.mouse.move(stage["x"] + 130, stage["y"] + 90, steps=3)
    page.mouse.up()
    assert page.locator("#zoom-now").inner_text() != zoom
    places = page.eval_on_selector_all(
        "#panes .layer > *",
        """(all) => all.map((one) => {
            const mine = one.getBoundingClientRect();
            const {left, top} = one.closest(".stage").getBoundingClientRect();
            return [mine.left - left, mine.top - top, mine.width, mine.height];
        })""",
    )
    assert len(places) == 16  # original, decoded, difference and map of each
    assert np.ptp(places, axis=0).max() < 1e-3
    sizes = page.eval_on_selector_all(
        "#panes .stage", "(all) => all.map((one) => `${one.clientWidth} ${one.clientHeight}`)"
    )
    assert len(set(sizes)) == 1
