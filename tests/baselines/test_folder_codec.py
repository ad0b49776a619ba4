"""Reconstructions and sizes from disk: what is found, and one sentence for everything else."""

import csv
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from PIL import Image

from baselines.folder import Folder
from benchmark.codec import Pixels, Setting
from benchmark.errors import BadOption, ImageRefused, Unavailable
from benchmark.spec import load_codec, parse_codec
from support.files.image_files import png

LOW, HIGH = Setting("setting", 0.10), Setting("setting", 3)


def save(path: Path, pixels: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_sizes(folder: Path, *lines: str, header: str = "image,setting,num_bytes") -> Folder:
    (folder / "sizes.csv").write_text("\n".join([header, *lines, ""]))
    return Folder(path=str(folder))


@pytest.fixture
def hific(tmp_path, photo):
    for number, name in enumerate(("kodim01", "mobile/a.b")):
        for setting in ("0.10", "3"):
            save(tmp_path / setting / f"{name}.png", photo + np.uint8(number))
    lines = "kodim01.png,3,9000", "mobile/a.b.png,3,11000", "kodim01.png,0.10,1000"
    write_sizes(tmp_path, *lines, "mobile/a.b.png,0.10,12000")
    return tmp_path


def test_sizes_and_pictures_are_those_on_disk_and_the_sweep_is_by_mean_size(hific, photo):
    codec = Folder(path=str(hific))
    for image in ("kodim01", "kodim01.png", "kodim01.PNG", "kodim01.jpg"):
        assert codec.declared(image, HIGH).num_bytes == 9000
    assert np.array_equal(codec.declared("kodim01.png", HIGH).decoded, photo)
    nested = codec.declared("mobile/a.b", LOW)
    assert nested.num_bytes == 12000
    assert np.array_equal(nested.decoded, photo + np.uint8(1))
    assert codec.sweep == (LOW, HIGH)
    falling = write_sizes(hific, "kodim01,1,900", "kodim01,2,500", "kodim01,3,700")
    assert [setting.value for setting in falling.sweep] == [2, 3, 1]


def test_a_column_may_name_the_file_and_an_image_begin_with_a_hash(hific, photo, tmp_path):
    save(hific / "other" / "first.png", 255 - photo)
    header = "num_bytes,file,image,remark,setting"
    codec = write_sizes(hific, "7,other/first.png,kodim01,,3", "8,,mobile/a.b,,3", header=header)
    assert np.array_equal(codec.declared("kodim01", HIGH).decoded, 255 - photo)
    assert np.array_equal(codec.declared("mobile/a.b", HIGH).decoded, photo + np.uint8(1))
    save(tmp_path / "3" / "#1.png", photo)
    lines = "# made by me, with b.png", "#1.PNG;3;9000", "#comment", "#,", "## c.png;3;2"
    codec = write_sizes(tmp_path, *lines, header="image;setting;num_bytes")
    assert codec.declared("#1.png", HIGH).num_bytes == 9000
    assert codec.sweep == (HIGH,)


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("listed", ["NFC", "NFD"])
@pytest.mark.parametrize("requested_name", ["NFC", "NFD"])
def test_both_forms_of_a_letter_are_one_name(stored, listed, requested_name, tmp_path, photo):
    save(tmp_path / "3" / f"{normalize(stored, 'Café')}.png", photo)
    codec = write_sizes(tmp_path, f"{normalize(listed, 'Café')}.png,3,9000")
    assert codec.declared(f"{normalize(requested_name, 'Café')}.png", HIGH).num_bytes == 9000
    with pytest.raises(BadOption, match=r"line 3 .* line 2"):
        write_sizes(tmp_path, *(f"{normalize(form, 'Café')}.png,3,9" for form in ("NFC", "NFD")))


ODD = ["u\u2028x.png", "v\x0bx.png", "n\x85x.png", "g\x1dx.png", "c\rx.png", "# 1.png", "#1"]


@pytest.mark.parametrize("image", ODD)
def test_every_name_that_csv_can_have_is_found(tmp_path, photo, image):
    save(tmp_path / "3" / "a.png", photo)
    with (tmp_path / "sizes.csv").open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file, quoting=csv.QUOTE_ALL)
        lines.writerow(["image", "setting", "num_bytes", "file"])
        lines.writerows([name, 3, 90 + index, "3/a.png"] for index, name in enumerate(ODD))
    assert Folder(path=str(tmp_path)).declared(image, HIGH).num_bytes == 90 + ODD.index(image)


def test_a_spec_on_the_command_line_makes_one_whose_rows_say_that_bytes_are_declared(hific):
    (hific / "sizes.csv").rename(hific / "bytes.csv")
    codec = load_codec(parse_codec(f"folder:path={hific}:csv=bytes.csv:name=HiFiC"))
    assert codec.name == "HiFiC"
    assert codec.declared("kodim01", HIGH).num_bytes == 9000
    info = codec.describe()
    assert (info.caveat, info.version) == ("bytes=declared", "HiFiC, coded elsewhere")
    for call in (lambda: codec.encode(None, HIGH), lambda: codec.decode(b"anything")):
        with pytest.raises(Unavailable, match=r"^HiFiC "):
            call()


def test_the_fingerprint_follows_sizes_and_pictures_and_not_their_place(hific, photo):
    def fingerprint(folder: Path) -> str:
        return Folder(path=str(folder)).describe().fingerprint

    first = fingerprint(hific)
    save(hific / "3" / "kodim01.png", 255 - photo)
    second = fingerprint(hific)
    with (hific / "sizes.csv").open("a") as file:
        file.write("kodim02,3,5\n")
    third = fingerprint(hific)
    assert len({first, second, third}) == 3
    assert fingerprint(hific.rename(hific.parent / "moved")) == third


def test_a_missing_csv_is_unavailable_and_says_what_belongs_in_it(tmp_path):
    with pytest.raises(Unavailable, match=r"sizes\.csv .* image,setting,num_bytes"):
        Folder(path=str(tmp_path / "none"))
    with pytest.raises(Unavailable, match=r"other\.csv"):
        Folder(path=str(tmp_path), csv="other.csv")
    with pytest.raises(Unavailable, match=r"sizes\.csv .*pictures"):
        Folder(path=str(tmp_path))


HEADER, LINE = "image,setting,num_bytes\n", "^line 3 of .*sizes.csv"
SIZES = "0", "-5", "12.5", "", "9" * 5000, "9" * 19, "000", "٣"


@pytest.mark.parametrize(("text", "message"), [
    ("other,setting,num_bytes\na,1,2\n", "sizes.csv .*'image'"),
    ("image,other,num_bytes\na,1,2\n", "sizes.csv .*'setting'"),
    ("image,setting,other\na,1,2\n", "sizes.csv .*'num_bytes'"),
    *((f"{HEADER}a,1,7\na,2,{size}\n", f"{LINE}: num_bytes .*'{size}'") for size in SIZES),
    (HEADER + "a,1,7\na,best,7\n", f"{LINE}: setting .*'best'"),
    (HEADER + "a,1,7\na,nan,7\n", f"{LINE}: setting .*'nan'"),
    (HEADER + "a,0_3,7\n", "setting .*'0_3'"), (HEADER + "a,1,7\n,2,7\n", f"{LINE} .*image"),
    (HEADER + "a.png,1,7\nb.png,1,7\na,1.0,8\n", r"^line 4 .*csv .* line 2$"),
    ("# sizes\nname;setting;num_bytes\nkodim01;3;9\n", "'name, setting, num_bytes"),
    (HEADER, r"sizes\.csv .*header"), (HEADER + "\udcff\udcfe,1,2\n", r"sizes\.csv .*UTF-8"),
])  # fmt: skip
def test_a_csv_that_cannot_be_is_refused_with_the_line(tmp_path, text, message):
    (tmp_path / "sizes.csv").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(BadOption, match=message):
        Folder(path=str(tmp_path))


def test_an_image_without_a_line_is_refused_alone(hific):
    for image, setting in (("b", "setting=3"), ("kodim01", "setting=4"), ("kodim01", "quality=3")):
        name, _, value = setting.partition("=")
        with pytest.raises(ImageRefused, match=rf"sizes\.csv .*'{image}' at {setting}"):
            Folder(path=str(hific)).declared(image, Setting(name, float(value)))


def one_pixel(depth, colour, samples, *extra):
    return png(1, 1, depth, colour, b"\0" + samples, *extra)


RGB = one_pixel(8, 2, bytes(3))


@pytest.mark.parametrize(("contents", "reason"), [
    (one_pixel(16, 2, bytes(6)), ".* 16 bits"), (one_pixel(16, 0, bytes(2)), ".* 16 bits"),
    (one_pixel(8, 6, bytes(4)), ".* transparency"),
    (one_pixel(8, 4, bytes(2)), ".* transparency"),
    (one_pixel(8, 2, bytes(3), b"tRNS" + bytes(6)), ".* transparency"), (None, ".* No such file"),
    (RGB[:-30], ".* PNG"), (RGB[:40] + b"?" + RGB[41:], ".* PNG"),
    (b"", ".* PNG"), (b"\xff\xd8\xff\xe0 a JPEG", ".* PNG"),
])  # fmt: skip
def test_a_picture_that_would_not_be_the_reconstruction_is_refused(hific, contents, reason):
    picture = hific / "3" / "kodim01.png"
    picture.unlink()
    if contents is not None:
        picture.write_bytes(contents)
    with pytest.raises(ImageRefused, match=rf"kodim01\.png \(line 2 of .*sizes\.csv\) {reason}"):
        Folder(path=str(hific)).declared("kodim01", HIGH)


def test_an_animation_or_a_name_that_no_file_can_have_is_refused(hific, photo, tmp_path):
    frames = [Image.fromarray(photo), Image.fromarray(255 - photo)]
    frames[0].save(hific / "3" / "kodim01.png", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageRefused, match=r"kodim01\.png .*animation"):
        Folder(path=str(hific)).declared("kodim01", HIGH)
    codec = write_sizes(tmp_path, "a.png,1,9,b\0c.png", header="image,setting,num_bytes,file")
    with pytest.raises(ImageRefused, match=r"b\0c\.png .*null"):
        codec.declared("a.png", Setting("setting", 1))


def test_a_picture_without_a_fault_is_read_as_a_source_is(hific, photo):
    picture, codec = hific / "3" / "kodim01.png", Folder(path=str(hific))
    coloured, white = one_pixel(8, 2, bytes([1, 2, 3])), one_pixel(1, 0, b"\x80")
    for contents, expected in ((coloured, [1, 2, 3]), (white, [255] * 3)):
        picture.write_bytes(contents)
        assert codec.declared("kodim01", HIGH).decoded.tolist() == [[expected]]
    save(picture, np.concatenate([photo, np.full((*photo.shape[:2], 1), 255, np.uint8)], axis=2))
    assert np.array_equal(codec.declared("kodim01", HIGH).decoded, photo)


@pytest.mark.parametrize("name", ["../out.png", "{}/out.png", "a/../../out.png", "a\\out.png"])
def test_a_picture_outside_the_folder_is_refused_and_not_read(tmp_path, name):
    (tmp_path / "in").mkdir()
    save(tmp_path / "out.png", np.zeros((8, 8, 3), np.uint8))
    line = f"a.png,1,9,{name.format(tmp_path)}"
    codec = write_sizes(tmp_path / "in", line, header="image,setting,num_bytes,file")
    with pytest.raises(ImageRefused, match=r"out.* in\b"):
        codec.declared("a.png", Setting("setting", 1))
    fingerprint_before = codec.describe().fingerprint
    save(tmp_path / "out.png", np.ones((8, 8, 3), np.uint8))
    assert codec.describe().fingerprint == fingerprint_before


@pytest.mark.parametrize(("lines", "shared"), [
    (("a.png,10,500",), True), (("a,10,500",), True),
    (("a.png,10,500,x/a.png", "a.jpg,10,600,x/b.png"), False),
])  # fmt: skip
def test_no_picture_is_scored_against_another_image(tmp_path, photo, lines, shared):
    for name in ("10/a", "x/a", "x/b"):
        save(tmp_path / f"{name}.png", photo + np.uint8(name == "x/b"))
    header = "image,setting,num_bytes" + (",file" if not shared else "")
    codec = write_sizes(tmp_path, *lines, header=header)
    codec.require_distinct(["a.png", "b.png"])
    if shared:
        with pytest.raises(BadOption, match=r"line 2 .*a\.jpg.* a\.png"):
            codec.require_distinct(["a.jpg", "a.png"])
        return
    codec.require_distinct(["a.jpg", "a.png"])
    setting = Setting("setting", 10)
    assert codec.declared("a.jpg", setting).num_bytes == 600
    assert np.array_equal(codec.declared("a.jpg", setting).decoded, photo + np.uint8(1))
    with pytest.raises(ImageRefused, match="several"):
        codec.declared("a.webp", setting)


@pytest.mark.parametrize("text", [
    "\ufeffimage, setting, num_bytes\r\nkodim01, 3, 9000\r\n",
    "image;setting;num_bytes\nkodim01;3;9000\n", "Image\tSetting\tNum_Bytes\nkodim01\t3\t9000\n",
    "# made by hand\n\nimage, setting, num_bytes\n# the first\nkodim01.png, 3, 9000\n",
    '"image","setting","num_bytes"\r\n"kodim01","3","9000"\r\n',
    'image,setting,num_bytes\n# a, "b\nkodim01,3,9000\n#, "\n',
])  # fmt: skip
def test_usual_forms_of_csv_are_read(hific, text):
    (hific / "sizes.csv").write_bytes(text.encode())
    assert Folder(path=str(hific)).declared("kodim01.png", HIGH).num_bytes == 9000
