"""`bench export images`: exactly the scored pixels, under names that say what they are."""

import re
import shutil
from itertools import product

import numpy as np
import pytest
from PIL import Image

import benchmark
from benchmark.datasets.image import read_image
from benchmark.errors import Unavailable, UsageError
from benchmark.rows.store import Store
from benchmark.show.report.exported_pictures import picture_names
from benchmark.system.digest import pixels_sha256
from support.bench.command import output_of
from support.codecs.files import FAKES
from support.packs.honest_pack import rewrite
from support.rows.bundled_results import bundled_results
from support.rows.measured import row

POINTS = {"jpeg.quality": [10, 40, 80], "webp.quality": [5, 60]}


@pytest.fixture(scope="module")
def measured(tmp_path_factory, coffee):
    """Folders `photos` (two photographs) and `results` (two codecs, streams kept)."""
    folder = tmp_path_factory.mktemp("pictures")
    photos = folder / "photos"
    photos.mkdir()
    for name, x in (("cup.png", 0), ("spoon.png", 300)):
        Image.fromarray(coffee[100:200, x : x + 120]).save(photos / name)
    outcome = benchmark.run(
        "jpeg,webp", str(photos), metrics="psnr", points=POINTS, results=folder / "results", jobs=1
    )
    assert (outcome.measured, len(outcome.failures)) == (10, 0)
    return folder


@pytest.fixture
def folder(measured, tmp_path):
    """A copy of the results of photographs that are elsewhere now, to be changed."""
    shutil.copytree(measured / "results", tmp_path / "results")
    shutil.copytree(measured / "photos", tmp_path / "photos")  # another path, and so another name
    (old,) = (tmp_path / "results").glob("photos-*")
    for record in old.glob("runs/*.json"):
        rewrite(record, str(measured / "photos"), str(tmp_path / "gone"), -1)
    old.rename(old.with_name("garden"))
    return tmp_path


def store_of(folder):
    return Store(folder / "results" / "garden")


def rows_of(folder):
    return store_of(folder).table().rows(named=True)


def stream_of(folder, row):
    digest = row["stream_sha256"]
    return folder / "results" / "garden" / "streams" / digest[:2] / digest


def export(folder, *words, code=0, to="out"):
    place = folder / "results", "garden", folder / to
    if code != 2:
        return images(*place, *words, code=code)
    with pytest.raises((UsageError, Unavailable)) as error:
        images(*place, *words)
    return str(error.value)


def images(results, dataset, to, *words, code=0):
    words = ("--results", results, "--dataset", dataset, "--to", to, *words)
    return output_of("export", "images", *words, code=code)


def pictures(folder, to="out"):
    return {path.name for path in (folder / to).glob("*.png")}


def test_a_file_has_the_pixels_that_were_scored_and_a_name_that_says_what_it_is(folder):
    message = export(folder)
    assert re.search(r"\b10 pictures .*\b0 ", message)
    assert " quality=10, quality=40, quality=80\n" in message
    for record in rows_of(folder):
        image, codec, quality = record["image"][:-4], record["codec"], record["setting_value"]
        name = f"{image}__{codec}__quality={quality:g}__{record['bpp']:.3f}bpp.png"
        truth = benchmark.open_codec(codec).decode(store_of(folder).stream(record["stream_sha256"]))
        with Image.open(folder / "out" / name) as picture:
            assert np.array_equal(np.asarray(picture), truth)
    assert len(pictures(folder)) == 10


def test_what_is_there_stays_and_a_second_export_writes_the_others(folder):
    export(folder, "--codecs", "webp")
    first_times = {name: (folder / "out" / name).stat().st_mtime_ns for name in pictures(folder)}
    for record in rows_of(folder):
        if record["codec"] == "webp":  # so that decoding again would fail
            stream_of(folder, record).write_bytes(b"")
    assert "6 pictures " in export(folder, "--codecs", "webp,jpeg")
    assert {name: (folder / "out" / name).stat().st_mtime_ns for name in first_times} == first_times


def test_a_file_of_other_content_gives_way(folder):
    words = "--codecs", "jpeg", "--images", "cup"
    export(folder, *words)
    first, *_, last = (folder / "out" / name for name in sorted(pictures(folder)))
    right = last.read_bytes()
    for wrong in (b"notes", right[:-40], first.read_bytes()):
        last.write_bytes(wrong)
        assert re.search(r"\b1 pictures .*\b2 ", export(folder, *words))
        assert last.read_bytes() == right


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_stream_that_decodes_to_other_pixels_gets_no_file_and_exit_code_1(folder, device):
    changed = next(record for record in rows_of(folder) if record["codec"] == "webp")
    changed_row = {**changed, "decoded_sha256": "0" * 64, "finished_utc": "2099", "device": device}
    store_of(folder).append([changed_row])
    message = export(folder, "--codecs", "webp", code=1)
    cell = f"webp quality={changed['setting_value']:g} {changed['image']}"
    (line,) = (line for line in message.splitlines() if cell in line)
    assert "pixels" in line
    assert ("cuda" in line) == (device == "cuda")
    assert len(pictures(folder)) == 3


def test_a_damaged_stream_is_named_and_the_others_are_written(folder):
    stream = stream_of(folder, rows_of(folder)[0])
    stream.write_bytes(b"short")
    assert str(stream) in export(folder, code=1)
    assert len(pictures(folder)) == 9


def test_streams_that_were_not_kept_are_one_line_with_the_command_that_makes_them(folder, measured):
    photos = measured / "photos"  # no dataset is called "garden"
    for record in (folder / "results" / "garden").glob("runs/*.json"):
        rewrite(record, str(folder / "gone"), str(photos), -1)
    for record in rows_of(folder):
        if record["codec"] == "jpeg":
            stream_of(folder, record).unlink()
    message = export(folder)
    command = f"bench run --codecs jpeg --dataset {photos} --results again"
    assert re.search(f"6 pictures: .*; `{command}`", message)
    assert len(pictures(folder)) == 4
    message = export(folder, "--codecs", "jpeg", "--points", "jpeg.quality=10", code=2, to="none")
    assert ": 2 pictures: " in message
    assert f"--dataset {photos} --points jpeg.quality=10 --results again`" in message
    assert not (folder / "none").exists()


def test_images_and_settings_are_chosen_by_name(folder):
    for to, words in (("one", ("--images", "s*n,cup.png")), ("first", ())):
        export(folder, *words, "--limit", "1", to=to)
        assert {name.partition("__")[0] for name in pictures(folder, to)} == {"cup"}
    assert "'co,mma'" in export(folder, "--images", r"co\,mma", code=2, to="none")
    export(folder, "--points", "jpeg.quality=10,80,webp.quality=5", to="points")
    settings = {"__".join(name.split("__")[1:3]) for name in pictures(folder, "points")}
    assert settings == {"jpeg__quality=10", "jpeg__quality=80", "webp__quality=5"}
    export(folder, "--points", "jpeg.quality=10", to="only")
    assert {name.split("__")[1] for name in pictures(folder, "only")} == {"jpeg"}


MISTAKES = [
    (("--images", "cop"), "'cop'"),
    (("--points", "jpeg.quality=11"), " 10, 40, 80"),
    (("--points", "jpeg.q=10"), "'q'"),
    (("--points", "avif.crf=10"), "'avif'"),
    (("--points", "jpeg"), "codec.setting=1,2,3"),
    (("--bpp", "0"), "--bpp 0"),
    (("--dataset", "all"), "--dataset all"),
]


def test_what_no_row_has_is_refused_in_one_sentence(folder):
    shutil.copytree(folder / "results" / "garden", folder / "results" / "more")
    message = export(folder, "--dataset", "garden,more", code=2)
    assert message.startswith("--dataset garden,more ")
    for words, text in MISTAKES:
        message = export(folder, *words, code=2)
        assert text in message
        assert "\n" not in message
        assert not (folder / "out").exists()


def test_at_one_rate_each_image_and_codec_has_its_nearest_setting(folder):
    rows = rows_of(folder)
    rate = sorted(record["bpp"] for record in rows if record["codec"] == "jpeg")[2]
    message = export(folder, "--bpp", rate)
    expected = {}
    for key in product(("cup.png", "spoon.png"), ("jpeg", "webp")):
        rates = [record["bpp"] for record in rows if (record["image"], record["codec"]) == key]
        nearest = min(rates, key=lambda bpp: abs(np.log(bpp / rate)))
        if abs(np.log(nearest / rate)) <= np.log(1.6):
            expected[key] = nearest
    parts = [name.removesuffix("bpp.png").split("__") for name in pictures(folder)]
    result = {(f"{image}.png", codec): float(bpp) for image, codec, _, bpp in parts}
    assert result == pytest.approx(expected, abs=5e-4)
    low, high = sorted(bpp for (_, codec), bpp in expected.items() if codec == "jpeg")
    line = next(line for line in message.splitlines() if line.startswith("jpeg "))
    assert line.split(maxsplit=1)[1].startswith(f"{low:.3f} to {high:.3f} bpp at quality=")
    far = export(folder, "--bpp", 900, code=2)
    assert re.search(r"4 pictures: .*1\.6 .*900 bpp \(jpeg, webp\)", far)


def test_at_one_rate_a_setting_without_a_stream_gives_way_to_the_next_that_is_near(folder):
    rows = sorted(rows_of(folder), key=lambda record: record["bpp"])
    first, second, _ = (
        record for record in rows if (record["image"], record["codec"]) == ("cup.png", "jpeg")
    )
    stream_of(folder, first).unlink()
    words = "--codecs", "jpeg", "--images", "cup", "--bpp"
    both_near = (first["bpp"] * second["bpp"]) ** 0.5 * 0.99  # the first is nearer
    assert second["bpp"] / both_near < 1.6
    export(folder, *words, both_near)
    assert [f"{second['bpp']:.3f}bpp.png" in name for name in pictures(folder)] == [True]
    reported = export(folder, *words, first["bpp"] / 1.2, code=2, to="none")  # far from others
    assert "1 picture" in reported


def test_code_that_rows_name_runs_only_where_it_is_named(folder):
    spec = f"{FAKES}:Honest"
    photos = folder / "photos"
    outcome = benchmark.run(spec, str(photos), metrics="psnr", results=folder / "more", jobs=1)
    assert not outcome.failures
    for options in ([], ["--codecs", "fakes.py:Honest"]):  # a label chooses rows alone
        with pytest.raises(Unavailable, match=r"fakes\.py:Honest"):
            images(folder / "more", photos, folder / "all", *options)
    images(folder / "more", photos, folder / "named", "--codecs", spec)
    assert len(pictures(folder, "named")) == len(outcome.cells)


def test_reconstructions_with_declared_sizes_are_exported_too(folder):
    pixels = read_image(folder / "photos" / "cup.png").pixels // 2
    theirs = folder / "theirs"
    (theirs / "1").mkdir(parents=True)
    Image.fromarray(pixels).save(theirs / "1" / "cup.png")
    (theirs / "sizes.csv").write_text("image,setting,num_bytes\ncup,1,1200\n")
    spec, photos = f"folder:path={theirs}:name=Theirs", str(folder / "photos")
    benchmark.run(spec, photos, metrics="psnr", limit=1, results=folder / "more", jobs=1)
    images(folder / "more", photos, folder / "out")
    (name,) = pictures(folder)
    assert name == "cup__Theirs__setting=1__0.800bpp.png"
    assert np.array_equal(read_image(folder / "out" / name).pixels, pixels)


def test_bundled_streams_of_a_pack_need_no_encoder(tmp_path):
    words = "--codecs", "vtm", "--limit", "1", "--points", "vtm.qp=37"
    images(bundled_results(), "sample", tmp_path, *words)
    (decoded,) = tmp_path.glob("*.png")
    assert re.fullmatch(r"astronaut__vtm__qp=37__\d\.\d{3}bpp\.png", decoded.name)
    rows = Store(bundled_results() / "sample").table().filter(codec="vtm", setting_value=37.0)
    (row_,) = rows.filter(image="astronaut.png").rows(named=True)
    assert pixels_sha256(read_image(decoded).pixels) == row_["decoded_sha256"]


def test_names_are_valid_on_every_system_and_distinct_where_case_is_ignored():
    rows = [
        row("ours", 10.0, "mobile/IMG 1.jpg", variant="beta=3.84", bpp=0.38412),
        row('a<b>c"d|e?f*g\\h', 10.0, "x:y.png"),
        row("jpeg", 10.0, "a/b.png"), row("jpeg", 10.0, "a_B.png"),
        row("mine.py:" + "long" * 80, 10.0, "ä" * 200 + ".png"),
    ]  # fmt: skip
    names = picture_names(rows)
    assert names[0] == "mobile_IMG 1__ours_beta=3.84__quality=10__0.384bpp.png"
    assert len({name.casefold() for name in names}) == len(names)
    for name in names:
        assert not re.search(r'[<>:"/\\|?*\x00-\x1f]', name)
        assert len(name.encode()) <= 255
        assert name.endswith(".png")
