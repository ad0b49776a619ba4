"""Links into the report page, and the browser's history, in a real Chromium."""

from urllib.parse import quote

import pytest

from support.page.opened import DESKTOP, click_point, loaded, number_of
from support.page.results import HOSTILE
from support.quick import quick


def opened(page):
    """What the viewer shows: title, image, names of the panes."""
    page.wait_for_selector("#viewer[open]")
    return (
        page.locator("#viewer-title").inner_text(),
        page.locator("#image-table [aria-current]").inner_text(),
        page.locator("#panes figcaption strong").all_inner_texts(),
    )


@pytest.fixture
def follow(visit, file):
    """Opens the page at a part after #, as from a colleague's message."""

    def open_link(part, viewport=DESKTOP, **options):
        page = visit(file, viewport, **options)
        page.goto("about:blank")
        page.goto(f"{file.as_uri()}#{part}")
        page.wait_for_selector("#chart .point")
        return page

    return open_link


@pytest.mark.parametrize("encoded", quick([False, True], True))  # as messengers do
def test_a_link_opens_a_point_its_image_its_neighbours_and_the_metric(follow, data, encoded):
    codec, setting = ("jpeg:subsampling=444", "quality=50") if encoded else ("webp", "quality=40")
    parts = [quote(part, safe="") if encoded else part for part in (codec, setting)]
    image = "spoon" if encoded else "spoon.png"
    path = "/".join([data["dataset"], *parts, image])
    page = follow(f"{path}?beside=jpeg2000,jpeg&metric=ms_ssim")
    title, image, panes = opened(page)
    name = next(value["name"] for value in data["codecs"] if value["label"] == codec)
    assert (title, image) == (f"{name} {setting}", "spoon.png")
    assert panes[0] == title
    assert [pane.rpartition(" ")[0] for pane in panes[1:]] == ["JPEG 2000", "JPEG"]
    assert page.locator("#metric-choice input:checked").get_attribute("value") == "ms_ssim"
    assert page.locator("#viewer-notice").inner_text() == ""
    loaded(page)


def test_the_address_of_what_is_open_opens_it_again(visit, file, data):
    page = visit(file)
    page.get_by_role("radio", name="MS-SSIM").check(force=True)
    page.locator("#crops a").first.click()
    page.locator("#image-table tbody button", has_text=HOSTILE).click()
    page.locator("#codec-choice input:enabled:not(:checked)").last.click()
    page.keyboard.press("]" if page.locator("#rate-up").is_enabled() else "[")
    view, address = opened(page), page.url
    assert len(view[2]) == 3
    assert HOSTILE not in address
    assert "jpeg:subsampling=444" in address  # its signs stay legible
    second_page = page.context.new_page()
    second_page.goto(address)
    assert opened(second_page) == view
    assert second_page.url == address
    assert second_page.locator("#metric-choice input:checked").get_attribute("value") == "ms_ssim"


@pytest.mark.slow
@pytest.mark.parametrize(("part", "message"), [
    ("{set}/nocodec/q=2/cup", "The link names the codec “nocodec”, which this page does not"),
    ("{set}/webp/quality=41/cup", "the setting of webp “quality=41”, which this page"),
    ("nothing", "“#nothing”, which is not a link into this page."),
    ("%E0%A4%A/webp/quality=40", "which is not a link into this page."),
    ("codec=webp&setting=quality%3D40", "which is not a link into this page."),
])  # fmt: skip
def test_a_link_to_what_is_not_there_is_a_sentence_above_the_curves(follow, data, part, message):
    page = follow(part.format(set=data["dataset"]))
    notice = page.locator("#notice")
    assert message in notice.inner_text()
    assert not page.locator("#viewer").is_visible()
    page.get_by_role("link", name="Ranking").click()
    notice.wait_for(state="hidden")


@pytest.mark.slow
def test_the_rest_of_a_link_opens_and_what_is_not_there_is_said(follow):
    page = follow("another/webp/quality=40/missing.png?beside=jpeg,nocodec&metric=lpips")
    title, _, panes = opened(page)
    assert title == "WebP quality=40"
    assert [pane.split()[0] for pane in panes] == ["WebP", "JPEG"]
    assert page.locator("#viewer-notice").inner_text() == (
        "The link names the dataset “another”, the image “missing.png”, the codec “nocodec”, "
        "the metric “lpips”, which this page does not have."
    )


@pytest.mark.slow
@pytest.mark.parametrize("leave", ["Back", "Escape", "Close"])
def test_back_and_escape_and_close_lead_to_the_page_as_it_was(visit, file, data, leave):
    page = visit(file)
    page.get_by_role("link", name="Curves", exact=True).click()
    address, length = page.url, page.evaluate("history.length")
    click_point(page, data)
    page.keyboard.press("n")
    page.keyboard.press("[")
    assert page.evaluate("history.length") == length + 1  # moving about is no step
    close = page.locator("#viewer-close").click
    acts = {"Back": page.go_back, "Escape": lambda: page.keyboard.press("Escape"), "Close": close}
    acts[leave]()
    page.wait_for_url(address)
    page.locator("#viewer").wait_for(state="hidden")
    page.wait_for_selector("#chart .point:focus")


@pytest.mark.slow
def test_forward_opens_again_and_back_from_a_link_stays_on_the_page(follow, file, data):
    page = follow(f"{data['dataset']}/webp/quality=40/spoon.png")
    view = opened(page)
    page.go_back()
    page.wait_for_url(file.as_uri())
    page.locator("#viewer").wait_for(state="hidden")
    page.go_forward()
    assert opened(page) == view


@pytest.mark.slow
def test_a_close_event_that_comes_after_forward_closes_nothing(follow, file, data):
    """A browser on a busy machine reports the close only once the viewer is open again."""
    page = follow(f"{data['dataset']}/webp/quality=40/spoon.png")
    view = opened(page)
    page.evaluate("document.querySelector('#viewer').dispatchEvent(new Event('close'))")
    assert opened(page) == view
    assert page.url.startswith(f"{file.as_uri()}#")


@pytest.mark.slow
def test_an_edited_address_moves_the_open_viewer(follow, data):
    page = follow(f"{data['dataset']}/webp/quality=40/spoon.png")
    opened(page)
    page.evaluate(f"location.hash = '{data['dataset']}/jpeg2000/ratio=24/cup.png'")
    page.locator("#viewer-title", has_text="24").wait_for()
    assert opened(page)[:2] == ("JPEG 2000 ratio=24", "cup.png")
    page.keyboard.press("Escape")
    page.wait_for_selector("#viewer", state="hidden")


@pytest.mark.slow
def test_settings_in_the_table_are_links_to_their_images(visit, file, data):
    page = visit(file)
    page.locator("#all-points summary").click()
    point = data["points"][number_of(data, "webp", "quality=40")]
    codec = data["codecs"][point["codec"]]["name"]
    row = page.locator("#all-points tr", has_text=codec).filter(has_text="quality=40")
    assert row.locator("a").get_attribute("href") == f"#{data['dataset']}/webp/quality=40"
    row.locator("a").click()
    assert opened(page)[0] == f"{codec} quality=40"
