"""The page of a study in a real Chromium: answered whole by keys and by touch, then read."""

import threading
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from benchmark.study.form import read_answers, read_key
from benchmark.study.report import read_study
from support.page.opened import DESKTOP, PHONE
from support.rows.study import PER_DOUBLING, simulated


@pytest.fixture
def visit(browser):
    """Opens a page; at the end nothing was complained of, and nothing asked from elsewhere."""
    contexts, text, urls = [], [], []

    def open_page(address, **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: text.append(message.text))
        page.on("pageerror", lambda error: text.append(str(error)))
        page.on("request", lambda request: urls.append(request.url))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert text == []
    assert not [url for url in urls if not url.startswith(("file:", "http://127.0.0.1", "blob:"))]


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


def answer(page, act, choices, number=0):
    for choice in choices[number:]:
        ready(page, number)
        act(page, choice)
        number += 1


def test_a_study_answered_by_keys_from_a_disk_survives_a_reload(visit, study, tmp_path):
    key = read_key(study)
    page = visit(f"{(study / 'page' / 'index.html').as_uri()}?rater=2", viewport=DESKTOP)
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
    assert [(one.trial, one.choice) for one in answers.answers] == [*enumerate(choices)]
    assert answers.order == 2
    device = answers.device
    assert (device.pixel_ratio, device.screen, device.touch) == (1, (1440, 900), False)
    assert all(trial_answer.flips == 1 for trial_answer in answers.answers)


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
    assert [trial_answer.choice for trial_answer in answers.answers] == choices
    assert answers.order == 3
    assert answers.device.pixel_ratio == 3
    assert answers.device.touch


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
        page = visit(f"{(tmp_path / 'study/page/index.html').as_uri()}?rater=1", viewport=DESKTOP)
        begin(page, by_keys)
        answer(page, by_keys, [1] * len(key.lists[0]))
        page.wait_for_function("() => document.getElementById('sent').textContent.includes('are')")
        assert page.locator("#sent").inner_text() == "The answers are sent."
    (content,) = sent
    (tmp_path / "posted.json").write_bytes(content)
    answers = read_answers(tmp_path / "posted.json", key)
    assert [trial_answer.choice for trial_answer in answers.answers] == [1] * len(key.lists[0])
    assert content == saved(page, tmp_path / "saved.json").read_bytes()
    policy = (tmp_path / "study/page/index.html").read_text()
    assert f"connect-src {address}/answers" in policy


@pytest.mark.slow
def test_the_original_is_in_the_same_place_and_no_answer_is_taken_before_both_are_seen(
    visit, study
):
    page = visit((study / "page" / "index.html").as_uri(), viewport=DESKTOP)
    page.locator("#begin").click()
    page.wait_for_function("() => state.ready")
    page.keyboard.press("2")
    assert page.locator("#choose2").is_disabled()
    boxes = "(all) => all.map((one) => JSON.stringify(one.getBoundingClientRect()))"
    places = page.eval_on_selector_all("#pictures img", boxes)
    assert len(places) == 3
    assert len(set(places)) == 1
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
def test_forty_raters_answer_through_the_page_and_their_order_and_bits_come_out(
    visit, write, measured, tmp_path
):
    study = tmp_path / "study"
    key = write(study, raters=40, questions=24)[0]
    offsets = {"jpeg": -0.8, "webp": 0.0, "jpeg2000": 0.5}
    doublings = np.log2([stimulus.bpp for stimulus in key.stimuli])
    scores = PER_DOUBLING * doublings + [offsets[s.system] for s in key.stimuli]
    rng = np.random.default_rng(0)
    files = []
    for number in range(1, 41):
        simulated_answers = simulated(key, number, scores, rng)
        page = visit(f"{(study / 'page' / 'index.html').as_uri()}?rater={number}", viewport=DESKTOP)
        page.clock.install()  # before any question is shown: it begins anew with the time
        begin(page, by_keys)
        for place, answer in enumerate(simulated_answers.answers):
            if place and place % 20 == 0:
                page.locator("#resume").click()
            ready(page, place)
            page.clock.fast_forward(3000)
            by_keys(page, answer.choice)
        files.append(saved(page, tmp_path / f"{number}.json"))
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
