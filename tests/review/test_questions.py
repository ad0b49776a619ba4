"""Answers of a review from made-up streams and rows: every count, verdict and sentence."""

from types import SimpleNamespace

import pytest

from benchmark.compare.rule import USUAL_RULE, Rule
from benchmark.published.curve_file import NamedCurve
from benchmark.review import questions
from benchmark.review.claim import Judgement, answer_claim, compare_with_claim, parse_claim
from benchmark.review.decode import DecodedStream, ValuePair, describe_differences
from benchmark.review.questions import Evidence
from support.rows.measured import failed, row


def stream(state="equal", image="a", quality=30.0, values=None, **changes):
    columns = {"width_px": 1000, "height_px": 500, **changes.pop("columns", {})}
    stored_row = row("webp", quality, image, psnr_db=30.0, **columns)
    values = {"psnr_db": 30.0} if values is None else values
    return DecodedStream(stored_row, state, **{"values": values, "num_bytes": 100, **changes})


def reviewed(*streams, **changes):
    nothing = {"reconstructions": (), "curves": (), "photographs": {}, "missing": {}}
    return Evidence(**{"streams": streams, **nothing, "metrics": ("psnr",), "dataset": "set",
                       **changes})  # fmt: skip


def test_differences_are_told_from_the_largest_and_relative_to_the_value_here():
    off = [stream(image=image, values={"psnr_db": 30.0 + by})
           for image, by in (("a", 0.1), ("b", 0.3), ("c", 1e-7), ("d", 0))]  # fmt: skip
    largest_first = [("b", 30.3), ("a", 30.1)]
    sentences = [f"psnr_db of {n} at quality=30 is {value}, not 30" for n, value in largest_first]
    assert describe_differences(off, ["psnr"]) == sentences
    pairs = ((2.0, 2.0), (3.0, 2.0), (1.0, 2.0), (1.0, 0.0))
    assert [ValuePair(*pair, True).gap for pair in pairs] == [0, 0.5, 0.5, 1]


@pytest.mark.parametrize(("streams", "verdict", "ends", "cells"), [
    ([stream(), stream()], "yes", "pixels", "2000000"),
    ([stream(), stream("rounded")], "partly", " 0.001 dB of the recorded PSNR", "1100000"),
    ([stream("rounded", reason="a by .0001 dB")], "partly", "PSNR (a by .0001 dB)", "0100000"),
    ([stream(), stream("other", reason="why")], "no", "; why", "1010000"),
    ([stream("other", reason="why")] * 2, "no", "; why (1 more differ)", "0020000"),
    ([stream("blind", reason="why"), stream()], "unknown", " PSNR is missing: why",
     "1001000"),
    ([stream("failed", reason="why")], "no", "; webp quality=30 a: why", "0000100"),
    ([stream("damaged", reason="why")], "no", "; webp quality=30 a: why", "0000010"),
    ([stream("not run", reason="why")], "unknown", " for 1 stream: why",
     "0000001"),
    ([stream(wrong_size="too short")], "no", "; too short", "1000000"),
])  # fmt: skip
def test_streams_are_counted_by_what_came_out(streams, verdict, ends, cells):
    answer = questions.check_streams(reviewed(*streams))
    assert (answer.verdict, answer.sentence.endswith(ends)) == (verdict, True), answer.sentence
    assert [row[2:] for row in answer.tables["streams"].rows] == [tuple(cells)]
    assert answer.sentence.startswith(f"{cells[0]} of {len(streams)} stream")


def test_without_streams_every_rate_is_only_stated():
    sizes = [row("ours", 30.0, "a"), failed("ours", 30.0, "b", "encode", "no")]
    evidence = reviewed(reconstructions=sizes, curves=[curve("vtm", (1, 30))])
    answer = questions.check_streams(evidence)
    assert (answer.verdict, "no stream" in answer.sentence) == ("unknown", True)
    cells = {row[:2] for row in answer.tables["streams"].rows}
    assert {(name, what[:2]) for name, what in cells} == {("ours", "1 "), ("vtm", "1 ")}
    for record, verdict, count in ((sizes[0], "unknown", 2), (sizes[1], "yes", 1)):
        answer = questions.check_streams(reviewed(stream(), reconstructions=[record]))
        assert (answer.verdict, len(answer.tables["streams"].rows)) == (verdict, count)
    assert questions.check_streams(reviewed(stream(), reconstructions=sizes)).verdict == "unknown"


@pytest.mark.parametrize(("streams", "fields", "verdict", "ends", "cells"), [
    ([stream(), stream(image="b")], {}, "yes", "rounding", ("30.000", "30.000", "0", "2", "0")),
    ([stream("rounded", values={"psnr_db": 30.0005})], {}, "partly",
     "psnr_db of a at quality=30 is 30.0005, not 30",
     ("30.000", "30.000", "0.0005", "1", "0")),
    ([stream(), stream(image="b", values={"psnr_db": 32.0})], {}, "no",
     "psnr_db of b at quality=30 is 32, not 30", ("30.000", "31.000", "2", "2", "1")),
    ([stream()], {"reconstructions": [row("ours", 30.0, "a")]}, "yes", "rounding", None),
    ([stream(values={})], {}, "unknown", "no value", None),
    ([stream(values={})], {"missing": {"set": "gone"}}, "unknown", ": gone", None),
    ([], {"reconstructions": [row("webp", 30.0, "a", psnr_db=30.0)]}, "unknown",
     "nothing", ("–", "30.000", "–", "1", "0")),
])  # fmt: skip
def test_points_are_means_of_what_was_sent_beside_those_here(streams, fields, verdict, ends, cells):
    answer = questions.check_numbers(reviewed(*streams, **fields))
    assert (answer.verdict, ends in answer.sentence) == (verdict, True), answer.sentence
    if cells:
        assert answer.tables["values"].rows == (("set", "webp", "quality=30", "PSNR (dB)", *cells),)


def photographs(names):
    return [SimpleNamespace(sha256=name, file=SimpleNamespace(name=name)) for name in names]


def test_images_of_a_point_are_those_of_its_dataset_or_of_the_folder_that_was_named():
    rows = [row("webp", 30.0, name, image_sha256=name, dataset="set") for name in "ab"]
    fields = {"photographs": {"theirs": photographs("ab")}, "dataset": "theirs"}
    answer = questions.check_numbers(reviewed(reconstructions=rows, **fields))
    assert answer.tables["images"].rows[0][-2:] == ("2", "2")
    assert answer.verdict == "unknown", "no value was sent"
    partial_answer = questions.check_numbers(reviewed(reconstructions=rows[:1], **fields))
    assert (partial_answer.verdict, partial_answer.tables["images"].rows[0][3]) == ("no", "b")
    assert "webp at quality=30 has 1 of 2 images " in partial_answer.sentence
    extra_rows = [*rows, row("webp", 30.0, "z", image_sha256="z", dataset="other")]
    evidence = reviewed(reconstructions=extra_rows, **fields)
    assert questions.check_numbers(evidence).tables["images"].rows[0][-2:] == ("1", "–")
    assert [record["dataset"] for record in evidence.dataset_rows] == ["set", "set"]


def test_a_stream_that_does_not_decode_has_its_reason_among_the_images_that_a_point_lacks():
    broken = stream("damaged", reason="cut off", columns={"image_sha256": "s"})
    answer = questions.check_numbers(reviewed(broken, photographs={"set": photographs("s")}))
    assert answer.verdict == "no"
    cells = ("set", "webp", "quality=30", "s", "a: cut off", "0", "1")
    assert answer.tables["images"].rows == (cells,)


def curve(name, *points, column="psnr_db", db_columns=()):
    return NamedCurve(name, {column: tuple(zip(*points, strict=True))}, db_columns)


@pytest.mark.parametrize(("rate", "value", "agreement"), [
    (1.0, 30.0, "yes"), (1.0049, 30.0, "yes"), (1.0051, 30.0, "no"), (0.9951, 30.0, "yes"),
    (1.0, 30.0099, "yes"), (1.0, 29.9899, "no"), (0.5, 30.0, "no"),
])  # fmt: skip
def test_a_curve_meets_rows_to_half_a_percent_and_a_hundredth_of_a_decibel(rate, value, agreement):
    rows = [stream(image=i, columns={"bpp": 1.0, "num_bytes": 62500}, num_bytes=None) for i in "ab"]
    rows.append(stream(quality=60.0, columns={"bpp": 9.0}, num_bytes=None))
    answer = questions.check_numbers(reviewed(*rows, curves=[curve("webp", (rate, value))]))
    (cells,) = answer.tables["curves"].rows
    assert cells[4:] == ("1.0000", "30.0000", agreement)
    assert answer.verdict == ("yes" if agreement == "yes" else "no")
    assert f"{int(agreement == 'yes')} of 1 " in answer.sentence


def compared(percent, low, high, overlap=1.0):
    """A BD-rate with its interval, as a claim is judged by."""
    rates = {"bd_rate_percent": percent, "bd_rate_low_percent": low, "bd_rate_high_percent": high}
    return rates | {"bd_rate_overlap": overlap, "doubtful": overlap < 0.5}


@pytest.mark.parametrize(("comparison", "states", "verdict", "part"), [
    (compared(-12.0, -13.0, -11.0), ["equal"], "yes", "-12.0 % [-13.0, -11.0], claimed -10 %"),
    (compared(-10.0, -10.5, -9.5), ["equal"], "yes", "-9.5], claimed -10 %"),
    (compared(-12.0, -13.0, -11.0, 0.2), ["equal"], "partly", " 20 %"),
    (compared(-12.0, -13.0, -11.0), ["blind"], "unknown", " 1 row "),
    (compared(-12.0, -13.0, -11.0), ["failed"], "unknown", "; without 1 stream"),
    (compared(-5.0, -6.0, -4.0), ["blind"], "no", " 1 row "),
    (compared(-10.0, -12.0, -8.0), ["equal"], "partly", "part "),
    (None, ["equal"], "unknown", ": no overlap"),
])  # fmt: skip
def test_a_claim_stands_by_interval_overlap_and_measurements(comparison, states, verdict, part):
    claim = parse_claim("webp 10 % fewer bits than jpeg")
    judged = Judgement(claim, USUAL_RULE, reason="no overlap", images=24, labels=("webp", ""))
    if comparison is not None:
        choose_verdict, words = compare_with_claim(claim, comparison)
        judged = judged._replace(comparison=comparison, verdict=choose_verdict, words=words)
    streams = [stream(state, values=None if state == "equal" else {}) for state in states]
    answer = answer_claim(judged, reviewed(*streams))
    assert (answer.verdict, part in answer.sentence) == (verdict, True), answer.sentence
    assert ("not measured here" in answer.sentence) == ("blind" in states)
    overlap = "–" if comparison is None else f"{100 * comparison['bd_rate_overlap']:.0f} %"
    assert answer.tables["claim"].rows[0][7] == overlap


def test_a_claim_says_what_was_not_measured_of_the_system_or_the_anchor_and_its_own_digits():
    claim = parse_claim("webp 12.00 % fewer bits than jpeg")
    comparison = compared(-12.004, -12.006, -12.002)
    verdict, words = compare_with_claim(claim, comparison)
    facts = verdict, words, "", comparison, 2
    judged = Judgement(claim, Rule(bd="pchip"), *facts, labels=("webp", "jpeg"))
    jpeg = stream("blind", values={}, columns={"dataset": "set"})
    jpeg = jpeg._replace(row={**jpeg.row, "codec": "jpeg"})
    answer = answer_claim(judged, reviewed(stream(), jpeg, jpeg))
    assert answer.verdict == "unknown"
    assert " 2 rows " in answer.sentence
    assert "BD-rate -12.004 % [-12.006, -12.002], by PCHIP, claimed -12.00 %" in answer.sentence
    elsewhere = stream("blind", values={}, columns={"dataset": "elsewhere"})
    answer = answer_claim(judged, reviewed(stream(), elsewhere))
    assert (answer.verdict, "not measured here" in answer.sentence) == ("yes", False)
    other_judgement = judged._replace(claim=parse_claim("webp 5 % more bits than jpeg"))
    answer = answer_claim(other_judgement, reviewed(stream()))
    assert (answer.verdict, "whole" in answer.sentence) == ("yes", True)


@pytest.mark.parametrize(
    ("decibels", "agreement"), [(20.0, "yes"), (20.4, "no"), (20.92, "yes"), (20.8, "no")]
)
def test_a_curve_in_decibels_is_compared_in_them_by_the_mean_or_of_the_mean(decibels, agreement):
    rows = [row("webp", 30.0, "a", ms_ssim=0.98413), row("webp", 30.0, "b", ms_ssim=0.99587)]
    sent = curve("webp", (rows[0]["bpp"], 1 - 10 ** (-decibels / 10)), column="ms_ssim",
                 db_columns=("ms_ssim",))  # fmt: skip
    rows[1] |= {"bpp": rows[0]["bpp"]}
    answer = questions.check_numbers(reviewed(reconstructions=rows, curves=[sent]))
    assert answer.tables["curves"].rows[0][-1] == agreement


def test_a_curve_is_of_the_codec_of_its_name_before_those_that_contain_it():
    rows = [row("webp", 30.0, "a", psnr_db=30.0), row("webp", 30.0, "a", psnr_db=40.0)]
    rows[1] |= {"codec": "webp-fast"}
    sent = curve("webp", (rows[0]["bpp"], 40))
    assert questions.check_numbers(reviewed(reconstructions=rows, curves=[sent])).verdict == "no"
