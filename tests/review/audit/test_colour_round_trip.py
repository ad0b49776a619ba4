"""The audit of colour conversions: known ceilings are found, and each way to be wrong is told."""

import math
from dataclasses import replace

import numpy as np
import pytest

from baselines.formats.ycbcr import conversion_alone
from baselines.video import X265
from benchmark.codec import CodecInfo, Setting
from benchmark.errors import Unavailable, UsageError
from benchmark.registry import CODECS
from benchmark.review.audit import colour_round_trip as round_trip
from benchmark.review.audit.colour_round_trip import (
    chosen_codecs,
    converting_codecs,
    measure_round_trip,
    measure_round_trips,
)
from benchmark.rows.packs.pack import open_pack, shipped_packs
from benchmark.spec import CodecSpec, parse_codec


class Converts:
    """Codes nothing, converts as told, and takes as many bytes as told."""

    name = "converts"
    sweep = tuple(Setting("step", value) for value in (1, 2, 3))
    conversion_floor_db = 52.0
    conversions = ({},)

    def __init__(self, *, rounding: str = "nearest", sizes: str = "1,2,3") -> None:
        if rounding == "absent":
            raise Unavailable("no such library")
        self._rounding, self._sizes = rounding, [int(size) for size in sizes.split(",")]

    def describe(self):
        return CodecInfo("1", "{step}", "MIT", "0" * 64, 1, "nothing")

    def encode(self, pixels, setting):
        return bytes(self._sizes[int(setting.value) - 1])

    def convert_only(self, pixels, truncated=False):
        return conversion_alone(pixels, 8, 444, "down" if truncated else self._rounding)


@pytest.fixture(autouse=True)
def no_vtm(monkeypatch, tmp_path):
    """Its encoder would take minutes; the conversion is the same without it."""
    monkeypatch.delenv("VTM_DIR", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture
def converts(monkeypatch):
    monkeypatch.setitem(CODECS, "converts", f"{__name__}:Converts")

    def measure(images, **options):
        spec = CodecSpec("converts", tuple(sorted(options.items())))
        return measure_round_trip(spec, (), images)

    return measure


@pytest.fixture
def crop(coffee):
    return np.ascontiguousarray(coffee[100:196, 200:328])


def test_every_adapter_that_converts_is_audited_in_each_of_its_formats():
    texts = {spec.text for spec in converting_codecs()}
    assert texts == {
        *("avif", "avif:depth=8", "avif:subsampling=420"),
        *("x265", "x265:depth=10", "x265:subsampling=420", "vvenc", "vtm", "vtm:depth=10"),
    }


def test_eight_bits_keep_53_db_when_rounded_and_44_when_cut_off_and_ten_bits_everything(coffee):
    """53 and 43.7 dB are the published ceilings on Kodak."""
    packs = shipped_packs()
    eight = measure_round_trip(parse_codec("vtm"), packs, [coffee])
    assert eight.rounded_db == pytest.approx(53.2, abs=0.3)
    assert eight.truncated_db == pytest.approx(43.7, abs=0.5)
    ten = measure_round_trip(parse_codec("vtm:depth=10"), packs, [coffee])
    assert ten.rounded_db == math.inf
    assert eight.wrong == ten.wrong == ()


def test_the_bytes_of_a_pack_are_the_sums_of_its_streams(coffee):
    (pack,) = (entry for entry in shipped_packs() if entry.name == "vtm-23.13")
    result = measure_round_trip(parse_codec("vtm"), [pack], [coffee]).num_bytes
    assert [setting.value for setting in result] == [47, 42, 37, 32, 27, 22]
    streams = open_pack(pack.path).streams.values()
    assert sum(result.values()) == sum(stream.num_bytes for stream in streams) == 4_159_240


def test_the_bytes_of_a_pack_are_over_the_images_that_every_setting_has(coffee):
    (path,) = (entry.path for entry in shipped_packs() if entry.name == "vtm-23.13")
    pack = open_pack(path)
    image = next(iter(pack.streams.values())).image_sha256
    kept = {key: of for key, of in pack.streams.items()
            if of.setting.value != 22 or of.image_sha256 == image}  # fmt: skip
    result = measure_round_trip(parse_codec("vtm"), [replace(pack, streams=kept)], [coffee])
    assert result.wrong == ()
    of_image = [of.num_bytes for of in kept.values() if of.image_sha256 == image]
    assert sum(result.num_bytes.values()) == sum(of_image)


def test_a_real_encoder_is_run_on_a_crop(coffee, crop):
    result = measure_round_trip(parse_codec("x265:preset=ultrafast"), (), [crop])
    expected = [len(X265(preset="ultrafast").encode(crop, one)) for one in X265.sweep]
    assert (list(result.num_bytes.values()), result.wrong) == (expected, ())


def test_a_truncating_adapter_is_told(converts, crop):
    (reported,) = converts([crop], rounding="down").wrong
    assert reported.startswith("conversion alone leaves 4")
    assert reported.endswith("dB, a right one 52 or more")
    assert converts([crop]).wrong == ()


def test_bytes_that_do_not_rise_are_told(converts, crop):
    assert converts([crop], sizes="1,3,3").wrong == ("step=3 takes 3 bytes, step=2 before it 3",)
    assert converts([crop], sizes="1,2").wrong[0].startswith("it cannot encode: IndexError")


def test_the_worst_image_counts(converts, crop):
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    alone = [converts([image]).rounded_db for image in (crop, noise)]
    assert converts([crop, noise]).rounded_db == min(alone)


def test_without_its_encoder_the_conversion_is_audited_all_the_same(crop):
    result = measure_round_trip(parse_codec("vtm:depth=10"), (), [crop])
    assert (result.rounded_db, dict(result.num_bytes)) == (math.inf, {})
    assert "EncoderAppStatic" in result.unmeasured


def test_codecs_are_chosen_by_their_specs_and_those_that_are_absent_have_a_reason(converts, crop):
    assert chosen_codecs(["all"]) == converting_codecs()
    spec = CodecSpec("converts", (("rounding", "down"),))
    assert chosen_codecs([" converts:rounding=down"]) == [spec]
    with pytest.raises(UsageError, match="jpeg has no colour conversion of its own to measure"):
        chosen_codecs(["jpeg"])
    absent = CodecSpec("converts", (("rounding", "absent"),))
    done, skipped = measure_round_trips([absent, spec], (), [crop])
    assert [of.label for of in done] == ["converts:rounding=down"]
    assert skipped == {"converts:rounding=absent": "no such library"}


def test_a_codec_without_its_library_is_left_out_of_the_list(monkeypatch):
    monkeypatch.setattr(round_trip, "CODECS", {"lost": "no_such_wheel:Codec", "raw": CODECS["raw"]})
    monkeypatch.setitem(CODECS, "lost", "no_such_wheel:Codec")
    assert converting_codecs() == []
