"""Answers of a review from made-up streams and rows: every count, verdict and sentence."""

from collections import Counter
from hashlib import sha256
from itertools import product
from random import Random
from types import SimpleNamespace

import pytest

from benchmark.answer import Absent
from benchmark.compare.curves import Delta
from benchmark.compare.interval import Interval
from benchmark.published.curve_file import NamedCurve
from benchmark.review import field, measured
from benchmark.review.again import Again, Pair, _encode, differences, labelled, speed
from benchmark.review.claim import Judged, parse_claim
from benchmark.review.evidence import Reviewed
from support.rows.measured import failed, row


def stream(state="equal", image="a", quality=30.0, values=None, **changes):
    columns = {"width_px": 1000, "height_px": 500, **changes.pop("columns", {})}
    made = row("webp", quality, image, psnr_db=30.0, **columns)
    values = {"psnr_db": 30.0} if values is None else values
    return Again(made, state, **{"twice": True, "values": values, "num_bytes": 100, **changes})


def reviewed(*again, **changes):
    nothing = dict.fromkeys(("declared", "curves", "claims", "trained_on", "anchors", "points"), ())
    places = {"photographs": {}, "missing": {}, "metrics": ("psnr",), "left_out": ()}
    return Reviewed(**{"again": again, **nothing, **places, "dataset": "set", "year": 2026,
                       **changes})  # fmt: skip


DATA = b"x" * 104
SAME = {"stream_sha256": sha256(DATA).hexdigest()}


@pytest.mark.parametrize(
    ("sent", "of_sent", "others", "length", "label", "ends"),
    [
        (100, SAME, (), 104, "equal", ""),
        (100, {}, (), 104, "near", "has 104 bytes, not 100"),
        (100, {}, (None, 104), 104, "near", "not 100"),
        (100, {}, ((104, SAME),), 104, "other", "as that sent for quality=60"),
        (100, {}, (111,), 111, "other", "as that sent for quality=60"),
        (100, {}, (124,), 111, "near", "not 100"),
        (100, {}, (109,), 109, "near", "not 100"),
        (100, {}, (), 149, "near", "not 100"),
        (100, {}, (), 151, "other", "not 100"),
        (151, {}, (), 100, "other", "not 151"),
    ],
)
def test_a_picture_encoded_again_is_near_unless_another_setting_is_nearer(
    sent, of_sent, others, length, label, ends
):
    mine = stream(num_bytes=sent, columns={"stream_sha256": "0" * 64, **of_sent})
    alike = [mine]
    for other in others:
        size, columns = other if isinstance(other, tuple) else (other, {})
        columns = {"stream_sha256": "1" * 64, **columns}
        alike.append(stream(quality=60.0, num_bytes=size, columns=columns))
    said, why = labelled(mine, (DATA * 2)[:length], alike)
    assert (said, why.endswith(ends)) == (label, True)


def test_differences_are_told_from_the_largest_and_relative_to_the_value_here():
    off = [stream(image=image, values={"psnr_db": 30.0 + by})
           for image, by in (("a", 0.1), ("b", 0.3), ("c", 1e-7), ("d", 0))]  # fmt: skip
    assert differences(off, ["psnr"]) == [
        "psnr_db of b at quality=30 is 30.3, not 30",
        "psnr_db of a at quality=30 is 30.1, not 30",
    ]
    pairs = ((2.0, 2.0), (3.0, 2.0), (1.0, 2.0), (1.0, 0.0))
    assert [Pair(*pair, True).gap for pair in pairs] == [0, 0.5, 0.5, 1]


def test_speed_is_the_median_of_the_seconds_for_a_megapixel():
    assert speed([stream(decode_seconds=s) for s in (1.0, 4.0, None, 2.0)]) == 4.0
    assert speed([stream()]) is None


@pytest.mark.parametrize(
    ("streams", "verdict", "ends", "cells"),
    [
        ([stream(), stream()], "yes", "2 the author's pixels", ("2", "2", "0", "0", "0", "–")),
        ([stream(), stream("rounded")], "partly", "1 others within 0.001 dB of the author's PSNR",
         ("2", "1", "1", "0", "0", "–")),
        ([stream(), stream("other", reason="why")], "no", "; why", ("2", "1", "0", "1", "0", "–")),
        ([stream("other", reason="why")] * 2, "no", "; why (1 more differ)",
         ("2", "0", "0", "2", "0", "–")),
        ([stream("blind", reason="why"), stream()], "unknown", "not known by how much: why",
         ("2", "1", "0", "0", "1", "–")),
        ([stream(twice=False, decode_seconds=1.0)], "no",
         "webp quality=30 a decodes to other pixels the second time",
         ("0", "1", "0", "0", "0", "2")),
        ([stream(twice=None), stream()], "unknown", "author's pixels",
         ("1", "2", "0", "0", "0", "–")),
        ([stream("failed", twice=None)], "unknown", "no stream was decoded", None),
    ],
)  # fmt: skip
def test_pictures_are_counted_by_what_came_out(streams, verdict, ends, cells):
    answer = measured.pictures(reviewed(*streams))
    assert (answer.verdict, answer.sentence.endswith(ends)) == (verdict, True), answer.sentence
    if cells:
        assert answer.table.rows == (("webp", "Some CPU, 2 cores", *cells),)
        assert answer.sentence.startswith(f"{cells[0]} of {len(streams)} decoded stream")


class Recording:
    """A decoder that notes which pictures it encodes."""

    where = None

    def __init__(self):
        self.encoded = []

    def encode(self, pixels, setting, left):
        self.encoded.append((pixels, setting.value))
        return b"data"


def test_any_two_streams_of_each_image_may_be_encoded_again_in_any_order():
    qualities, images = (10.0, 20.0, 30.0, 40.0, 50.0), "abcd"
    of_seed = {}
    for seed in range(60):
        known = {"stream_sha256": ""}
        sent = [stream(image=i, quality=q, columns=known) for i in images for q in qualities]
        done = {str(number): each for number, each in enumerate(sent)}
        originals = SimpleNamespace(original=lambda row: SimpleNamespace(pixels=row["image"]))
        _encode(decoder := Recording(), done, originals, Random(seed))
        of_seed[seed] = decoder.encoded
    for drawn in of_seed.values():
        assert Counter(image for image, _ in drawn) == dict.fromkeys(images, 2)
        assert len({*drawn}) == len(drawn)
    assert {pair for drawn in of_seed.values() for pair in drawn} == {*product(images, qualities)}
    assert {drawn[0][0] for drawn in of_seed.values()} == {*images}, "a minute may end early"


@pytest.mark.parametrize(
    ("made", "verdict", "sentence", "cells"),
    [
        (["equal", "equal"], "yes", "2 of 2 pictures", ("", "2", "0", "0")),
        (["equal", "near"], "partly", "1 of 2 pictures", ("why", "1", "1", "0")),
        (["equal", "other"], "no", "1 of 2 pictures", ("why", "1", "0", "1")),
        (["equal", ""], "yes", "1 of 1 picture ", ("why", "1", "0", "0")),
        (["", ""], "unknown", "0 of 0 pictures", ("why", "0", "0", "0")),
    ],
)
def test_labels_are_counted_by_what_encoding_again_gave(made, verdict, sentence, cells):
    streams = [stream(label=label, encoded="" if label == "equal" else "why") for label in made]
    answer = measured.labels(reviewed(*streams))
    assert (answer.verdict, answer.table.rows) == (verdict, (("webp", *cells),))
    assert answer.sentence.startswith(sentence)
    assert ("none of webp was encoded" in answer.sentence) == (verdict == "unknown")
    assert answer.sentence.endswith("; why") == (verdict == "no")


@pytest.mark.parametrize(
    ("streams", "more", "verdict", "ends", "cells"),
    [
        ([stream(), stream(image="b")], {}, "yes", "rounding",
         ("30.000", "30.000", "0", "2", "0")),
        ([stream("rounded", values={"psnr_db": 30.0005})], {}, "partly", "rounding",
         ("30.000", "30.000", "0.0005", "1", "0")),
        ([stream(), stream(image="b", values={"psnr_db": 32.0})], {}, "no",
         "psnr_db of b at quality=30 is 32, not 30", ("30.000", "31.000", "2", "2", "1")),
        ([stream()], {"declared": [row("ours", 30.0, "a")]}, "yes", "rounding", None),
        ([stream(values={})], {}, "unknown", "photographs are not known here", None),
        ([stream(values={})], {"metrics": ("vmaf",)}, "unknown",
         "no value to compare came with the streams", None),
        ([stream(values={})], {"missing": {"set": "gone"}}, "unknown", ": gone", None),
        ([stream("failed", values={})], {}, "unknown", "no stream was decoded", None),
        ([], {"declared": [row("webp", 30.0, "a", psnr_db=30.0)]}, "unknown",
         "1 mean measured here; none was sent with its row", ("–", "30.000", "–", "1", "0")),
    ],
)  # fmt: skip
def test_points_are_means_of_what_was_sent_beside_those_here(streams, more, verdict, ends, cells):
    answer = measured.points(reviewed(*streams, **more))
    assert (answer.verdict, ends in answer.sentence) == (verdict, True), answer.sentence
    if cells:
        assert answer.table.rows == (("set", "webp", "quality=30", "PSNR (dB)", *cells),)


def test_images_of_an_unknown_dataset_are_those_of_the_folder_that_has_most_of_them():
    def photographs(names):
        return [SimpleNamespace(sha256=name, file=SimpleNamespace(name=name)) for name in names]

    rows = [row("webp", 30.0, name, image_sha256=name, dataset="set") for name in "ab"]
    folders = {"larger": photographs("bcdef"), "theirs": photographs("ab")}
    answer = measured.images(reviewed(declared=rows, photographs=folders))
    assert (answer.verdict, answer.table.rows[0][-3:]) == ("yes", ("2", "2", "–"))
    rows += [row("webp", 30.0, "z", image_sha256="z", dataset="other")]
    both = reviewed(declared=rows, photographs=folders, dataset="theirs")
    answer = measured.images(both)
    assert (answer.verdict, answer.sentence) == (
        "unknown", "1 of 2 points are over exactly the images of the dataset; the images of other "
        "are not known here: name its folder with --dataset")  # fmt: skip
    assert [row["dataset"] for row in both.rows_of_dataset] == ["set", "set"]


def test_a_stream_that_does_not_decode_has_its_reason_among_the_images_that_a_point_lacks():
    photograph = SimpleNamespace(sha256="s", file=SimpleNamespace(name="a"))
    broken = stream("damaged", reason="cut off", columns={"image_sha256": "s"})
    answer = measured.images(reviewed(broken, photographs={"set": [photograph]}))
    assert answer.verdict == "no"
    cells = ("set", "webp", "quality=30", "a", "a: cut off", "0", "1", "–")
    assert answer.table.rows == (cells,)


def curve(name, *points, column="psnr_db", in_db=()):
    return NamedCurve(name, {column: tuple(zip(*points, strict=True))}, in_db)


@pytest.mark.parametrize(
    ("rate", "value", "same"),
    [
        (1.0, 30.0, "yes"), (1.0049, 30.0, "yes"), (1.0051, 30.0, "no"), (0.9951, 30.0, "yes"),
        (1.0, 30.0099, "yes"), (1.0, 29.9899, "no"), (0.5, 30.0, "no"),
    ],
)  # fmt: skip
def test_a_curve_is_that_of_the_rows_to_half_a_percent_and_a_hundredth_of_a_decibel(
    rate, value, same
):
    rows = [stream(image=i, columns={"bpp": 1.0, "num_bytes": 62500}, num_bytes=None) for i in "ab"]
    rows.append(stream(quality=60.0, columns={"bpp": 9.0}, num_bytes=None))
    answer = measured.curves(reviewed(*rows, curves=[curve("webp", (rate, value))]))
    (cells,) = answer.table.rows
    assert cells[4:] == ("1.0000", "30.0000", same)
    assert answer.verdict == ("yes" if same == "yes" else "no")
    assert answer.sentence.startswith(f"{int(same == 'yes')} of 1 value ")


@pytest.mark.parametrize(
    ("rate", "interval", "states", "verdict", "part"),
    [
        (
            Delta(-12.0, 1.0),
            Interval(-13.0, -11.0),
            ["equal"],
            "yes",
            "-12.0 % [-13.0, -11.0], claimed -10 %",
        ),
        (Delta(-12.0, 0.2), Interval(-13.0, -11.0), ["equal"], "partly", "share only 20 %"),
        (Delta(-12.0, 1.0), Interval(-13.0, -11.0), ["blind"], "unknown", "of 1 row the"),
        (Delta(-12.0, 1.0), Interval(-13.0, -11.0), ["failed"], "unknown", "; without 1 stream"),
        (Delta(-5.0, 1.0), Interval(-6.0, -4.0), ["blind"], "no", "of 1 row the values"),
        (Delta(-10.0, 1.0), Interval(-12.0, -8.0), ["equal"], "partly", "do not decide"),
        (None, None, ["equal"], "unknown", "there is no number: no overlap"),
    ],
)
def test_a_claim_survives_by_its_interval_its_overlap_and_what_was_measured(
    rate, interval, states, verdict, part
):
    claim = parse_claim("webp 10 % fewer bits than jpeg")
    high = interval.high if interval else 0
    survival = "refused" if rate is None else "supported" if high <= -9.5 else "undecided"
    survival = "contradicted" if rate and interval.low > -9.5 else survival
    judged = Judged(claim, survival, rate, interval, 24, reason="no overlap", label="webp")
    streams = [stream(state, values=None if state == "equal" else {}) for state in states]
    answer = field.claim(judged, reviewed(*streams))
    assert (answer.verdict, part in answer.sentence) == (verdict, True), answer.sentence
    assert ("as sent" in answer.sentence) == ("blind" in states)
    assert answer.table.rows[0][8] == ("–" if rate is None else f"{100 * rate.overlap:.0f} %")


def test_a_claim_says_what_was_only_stated_of_the_system_or_the_anchor_and_its_own_digits():
    claim = parse_claim("webp 12.00 % fewer bits than jpeg")
    judged = Judged(claim, "supported", Delta(-12.004, 1.0), Interval(-12.006, -12.002), 2,
                    label="webp", anchor="jpeg")  # fmt: skip
    stated = [row("jpeg", 30.0, image) for image in "ab"]
    answer = field.claim(judged, reviewed(stream(), declared=stated, unmeasured=stated))
    assert (answer.verdict, "of 2 rows the values are as sent" in answer.sentence) == (
        "unknown", True)  # fmt: skip
    assert "BD-rate -12.004 % [-12.006, -12.002], claimed -12.00 %" in answer.sentence
    elsewhere = stream("blind", values={}, columns={"dataset": "elsewhere"})
    answer = field.claim(judged, reviewed(stream(), elsewhere))
    assert (answer.verdict, "as sent" in answer.sentence) == ("yes", False)
    more = judged._replace(claim=parse_claim("webp 5 % more bits than jpeg"))
    answer = field.claim(more, reviewed(stream()))
    assert (answer.verdict, answer.sentence.partition(":")[0]) == (
        "yes", "the whole interval is at most what is claimed")  # fmt: skip


def test_only_rows_that_were_measured_here_are_said_to_be_and_failed_ones_have_no_size():
    stated = [row("webp", 30.0, "a", psnr_db=30.0), failed("webp", 30.0, "b", "encode", "no")]
    of = reviewed(declared=stated, unmeasured=stated)
    answer = measured.points(of)
    assert answer.table.rows[0][4:6] == ("30.000", "–")
    assert answer.sentence == "1 mean only stated"
    answer = measured.points(reviewed(declared=[*stated, row("ours", 30.0, "a")],
                                      unmeasured=stated))  # fmt: skip
    assert answer.sentence.startswith("1 mean only stated; 1 mean measured here; none was sent")
    assert measured.bits(of).table.rows == (("webp", "stated sizes", "1"),)


@pytest.mark.parametrize(
    ("decibels", "same"), [(20.0, "yes"), (20.4, "no"), (20.92, "yes"), (20.8, "no")]
)
def test_a_curve_in_decibels_is_compared_in_them_by_the_mean_or_of_the_mean(decibels, same):
    rows = [row("webp", 30.0, "a", ms_ssim=0.98413), row("webp", 30.0, "b", ms_ssim=0.99587)]
    sent = curve("webp", (rows[0]["bpp"], 1 - 10 ** (-decibels / 10)), column="ms_ssim",
                 in_db=("ms_ssim",))  # fmt: skip
    rows[1] |= {"bpp": rows[0]["bpp"]}
    answer = measured.curves(reviewed(declared=rows, curves=[sent]))
    assert answer.table.rows[0][-1] == same


def test_a_curve_is_of_the_codec_of_its_name_before_those_that_contain_it():
    rows = [row("webp", 30.0, "a", psnr_db=30.0), row("webp", 30.0, "a", psnr_db=40.0)]
    rows[1] |= {"codec": "webp-fast"}
    answer = measured.curves(reviewed(declared=rows, curves=[curve("webp", (rows[0]["bpp"], 40))]))
    assert answer.verdict == "no"


def test_two_hundred_files_that_were_not_read_are_listed_with_their_reasons():
    files = [Absent(str(n), "w") for n in range(201)]
    answer = field.left_out(files)
    assert (answer.verdict, answer.sentence) == ("no", "201 files were not read")
    assert answer.table.rows == tuple((str(n), "w") for n in range(200))
