"""The page of a study in a real Chromium: answered whole by keys and by touch, then read."""

import threading
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import numpy as np
import pytest

from benchmark.study.form import read_answers, read_key
from benchmark.study.report import read_study
from support.page.opened import DESKTOP, PHONE, opening
from support.rows.study import PER_DOUBLING, simulated


@pytest.fixture
def visit(browser):
    """Opens a page, which asks for nothing from elsewhere."""
    with opening(browser, ["file:", "http://127.0.0.1", "blob:"]) as open_page:
        yield open_page


def address_of(study, rater=""):
    return (study / "page" / "index.html").as_uri() + f"?rater={rater}" * bool(rater)


@pytest.fixture
def host(study):
    """Returns the address of a static host of what raters get."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            if self.path != "/favicon.ico":
                super().do_GET()

    with serving(partial(Quiet, directory=study / "page")) as address:
        yield f"{address}/index.html"


@contextmanager
def serving(handler):
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def ready(page, number):
    page.wait_for_function(
        f"() => state.ready && state.trained === 3 && state.kept.answers.length === {number}"
    )


def by_keys(page, choice):
    for key in ("ArrowLeft", "ArrowRight", str(choice)):
        page.keyboard.press(key)


def by_touch(page, choice):
    page.locator("#pictures").tap()
    page.locator(f"#choose{choice}").tap()


def begin(page, act):
    page.locator("#begin").click()
    for number in range(3):
        page.wait_for_function(f"() => state.ready && state.trained === {number}")
        right = page.evaluate("study.training[state.trained][3]")
        act(page, 3 - right)  # which says to look again
        assert "the other one" in page.locator("#told").inner_text()
        act(page, right)


def saved(page, path):
    with page.expect_download() as download:
        page.locator("#save").click()
    download.value.save_as(path)
    return path


def answer(page, act, choices, first=0):
    for number, choice in enumerate(choices[first:], first):
        ready(page, number)
        act(page, choice)


def test_a_study_answered_by_keys_from_a_disk_survives_a_reload(visit, study, tmp_path):
    key = read_key(study)
    page = visit(address_of(study, 2), viewport=DESKTOP)
    assert page.locator("#number").input_value() == "2"
    begin(page, by_keys)
    choices = [1 + n % 2 for n in range(len(key.lists[1]))]
    answer(page, by_keys, choices[:4])
    ready(page, 4)
    page.reload()
    page.wait_for_function("() => state.ready && state.kept.answers.length === 4")
    page.evaluate("state.trained = 3")
    size = page.locator("#pictures img").first.bounding_box()
    assert (size["width"], size["height"]) == (96, 96)
    answer(page, by_keys, choices, 4)
    answers = read_answers(saved(page, tmp_path / "answers.json"), key)
    expected = [(trial, choice, 1) for trial, choice in enumerate(choices)]
    assert [(one.trial, one.choice, one.flips) for one in answers.answers] == expected
    assert answers.order == 2
    device = answers.device
    assert (device.pixel_ratio, device.screen, device.touch) == (1, (1440, 900), False)


@pytest.mark.slow
def test_a_study_answered_by_touch_on_a_phone_from_a_static_host(visit, host, study, tmp_path):
    key = read_key(study)
    phone = {"viewport": PHONE, "device_scale_factor": 3, "has_touch": True, "is_mobile": True}
    page = visit(host, **phone)
    page.locator("#number").fill("3")
    begin(page, by_touch)
    ready(page, 0)
    size = page.locator("#pictures img").first.bounding_box()
    assert (size["width"] * 3, size["height"] * 3) == (96, 96), "a pixel is a pixel of the screen"
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    choices = [2 - n % 2 for n in range(len(key.lists[2]))]
    answer(page, by_touch, choices)
    answers = read_answers(saved(page, tmp_path / "answers.json"), key)
    assert [one.choice for one in answers.answers] == choices
    assert (answers.order, answers.device.pixel_ratio, answers.device.touch) == (3, 3, True)


def test_answers_are_posted_to_the_organisers_address_which_alone_the_page_may_reach(
    visit, write, measured, tmp_path
):
    sent = []

    class Organiser(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_POST(self):
            sent.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

    with serving(Organiser) as address:
        key = write(tmp_path / "study", questions=4, post=f"{address}/answers")[0]
        page = visit(address_of(tmp_path / "study", 1), viewport=DESKTOP)
        begin(page, by_keys)
        answer(page, by_keys, [1] * len(key.lists[0]))
        page.wait_for_function("() => document.getElementById('sent').textContent.includes('are')")
        assert page.locator("#sent").inner_text() == "The answers are sent."
    answers = read_answers(saved(page, tmp_path / "saved.json"), key)
    assert [one.choice for one in answers.answers] == [1] * len(key.lists[0])
    assert sent == [(tmp_path / "saved.json").read_bytes()]
    assert f"connect-src {address}/answers" in (tmp_path / "study/page/index.html").read_text()


@pytest.mark.slow
def test_the_original_is_in_the_same_place_and_no_answer_taken_before_both_are_seen(visit, study):
    page = visit(address_of(study), viewport=DESKTOP)
    page.locator("#begin").click()
    page.wait_for_function("() => state.ready")
    page.keyboard.press("2")
    assert page.locator("#choose2").is_disabled()
    boxes = "(all) => all.map((one) => JSON.stringify(one.getBoundingClientRect()))"
    places = page.eval_on_selector_all("#pictures img", boxes)
    assert (len(places), len({*places})) == (3, 1)
    is_visible = "(one) => getComputedStyle(one).visibility === 'visible'"
    visible_image = f"() => state.images.findIndex({is_visible})"
    assert page.evaluate(visible_image) == 1
    page.keyboard.down(" ")
    assert page.evaluate(visible_image) == 0
    page.keyboard.up(" ")
    assert page.evaluate(visible_image) == 1
    page.keyboard.press("f")
    page.wait_for_function("() => state.view === 0")
    page.wait_for_function("() => state.view === 1")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(visible_image) == 2
    assert page.locator("#choose1").is_enabled()


@pytest.mark.slow
def test_answers_of_forty_raters_six_on_pages_give_order_and_bits(visit, write, measured, tmp_path):
    study = tmp_path / "study"
    key = write(study, raters=40, questions=24)[0]
    offsets = {"jpeg": -0.8, "webp": 0.0, "jpeg2000": 0.5}
    doublings = np.log2([stimulus.bpp for stimulus in key.stimuli])
    scores = PER_DOUBLING * doublings + [offsets[s.system] for s in key.stimuli]
    rng = np.random.default_rng(0)
    files = []
    for number in range(1, 41):
        simulated_answers = simulated(key, number, scores, rng)
        files.append(tmp_path / f"{number}.json")
        if number > 6:
            files[-1].write_bytes(msgspec.json.encode(simulated_answers))
            continue
        page = visit(address_of(study, number), viewport=DESKTOP)
        page.clock.install()  # before any question is shown: it begins anew with the time
        begin(page, by_keys)
        for place, answer in enumerate(simulated_answers.answers):
            if place and place % 20 == 0:
                page.locator("#resume").click()
            ready(page, place)
            page.clock.fast_forward(3000)
            by_keys(page, answer.choice)
        saved(page, files[-1])
        page.context.close()
    report = read_study(study, files, measured / "results", anchor="webp")
    assert not report.exclusions
    ends = [report.scores.interval(number) for number in range(len(scores))]
    true = scores - scores.mean()
    inside = [low < score < high for (low, high), score in zip(ends, true, strict=True)]
    assert np.mean(inside) >= 0.8
    bits = {rate_change.system: rate_change for rate_change in report.bits}
    assert bits["jpeg2000"].change < 0 < bits["jpeg"].change
    for system, rate_change in bits.items():
        if rate_change.interval:
            change = 100 * (2 ** ((offsets["webp"] - offsets[system]) / PER_DOUBLING) - 1)
            assert rate_change.interval.low < change < rate_change.interval.high
