"""Published archives: found in any usual layout, fetched from copies, refused where they differ."""

import hashlib
import shutil
from pathlib import Path

import pytest
from PIL import Image

from benchmark.commands import fetch as command
from benchmark.datasets import archive as published
from benchmark.datasets.archive import ARCHIVES, Archive, fetch_archive, find_archive_images
from benchmark.datasets.download import MANIFEST, ExpectedFile
from benchmark.datasets.kodak import open_kodak
from benchmark.errors import Unavailable, UsageError
from benchmark.registry import dataset_opener
from conftest import SHARED
from support.files.clic_files import make_clic, png_header
from support.files.file_server import served, zip_of

KODAK = SHARED / "data" / "kodak"
needs_kodak = pytest.mark.skipif(not KODAK.exists(), reason="needs ../shared/data/kodak")


@pytest.mark.parametrize(("name", "place", "count", "size", "first"), [
    ("div2k", "DIV2K_valid_HR", 100, (2040, 1356), "000.png"),
    ("div2k", ".", 100, (2040, 1356), "000.png"),
    ("clic2021", "professional_test_2021", 60, (2048, 1365), "000.png"),
    ("clic2020-valid", "valid", 41, (2048, 1365), "000.png"),
    ("tecnick", "TESTIMAGES/RGB/RGB_OR_1200x1200", 100, (1200, 1200), "000.png"),
    ("clic2022", "image_test_30", 30, (2048, 1365), "000.png"),
    ("clic2024", "clic2024_test_image", 32, (1507, 2048), "000.png"),
    ("clic2024-valid", "clic2024_validation_image", 30, (2048, 1365), "000.png"),
    ("cid22", "CID22_validation_set/original", 49, (512, 512), "000.png"),
    ("flickr2k", "Flickr2K/Flickr2K_HR", 2650, (2040, 1356), "000.png"),
    ("clic2020", "clic2020", 428, (2048, 1371), "000.png"),
    *(
        ("clic2020:professional", place, 250, (2048, 1365), "professional/000.png")
        for place in (
            *("clic2020/professional", "CLIC2020Professional_test/professional"),
            *("CLIC2020Professional_test", "professional"),
        )
    ),
])  # fmt: skip
def test_a_dataset_is_found_as_its_archive_unpacks(name, place, count, size, first, tmp_path):
    (make_clic(tmp_path / "data" / place, count, size) / "._000.png").write_bytes(b"resource fork")
    images = dataset_opener(name)([tmp_path / "empty", tmp_path / "data"]).images
    assert (len(images), images[0].name) == (count, first)


def test_what_is_had_by_hand_says_where_and_a_zip_of_it_is_taken(tmp_path):
    with pytest.raises(Unavailable, match=r"Flickr2K\.tar \(md5:5d3f.+2650 .+r2k$"):
        command.fetch("flickr2k", tmp_path)
    archive = tmp_path / "made.zip"
    picture = png_header(512, 512)
    names = {f"CID22_validation_set/original/{number}.png": picture for number in range(49)}
    zip_of(archive, {**names, "CID22_validation_set/compressed/0.png": picture})
    command.fetch("cid22", tmp_path / "data", [str(archive)])
    assert len(dataset_opener("cid22")([tmp_path / "data"]).images) == 49


@needs_kodak
def test_kodak_under_other_names_is_recognised_by_its_pixels(tmp_path):
    (tmp_path / "kodak").mkdir()
    for number in range(24, 0, -1):
        (tmp_path / "kodak" / f"{25 - number}.png").symlink_to(KODAK / f"kodim{number:02d}.png")
    shutil.copy(tmp_path / "kodak" / "1.png", tmp_path / "kodak" / "copy.png")
    images = open_kodak([tmp_path]).images
    assert [image.name for image in images] == [f"kodim{n:02d}.png" for n in range(1, 25)]
    assert images[0].path.name == "24.png"
    (tmp_path / "kodak" / "24.png").unlink()
    with pytest.raises(Unavailable, match=f" {tmp_path}"):
        open_kodak([tmp_path])


@pytest.mark.parametrize(("digest", "objection"), [
    ("", ""), (hashlib.sha256(b"abc").hexdigest(), ""),
    (hashlib.sha256(b"abc").hexdigest()[:8], ""),
    ("sha1:" + hashlib.sha1(b"abc").hexdigest(), ""),
    ("sha1:" + hashlib.sha1(b"abd").hexdigest(), "has sha1 a9993e364706816a..."),
    (hashlib.sha256(b"abd").hexdigest(), "has sha256 ba7816bf8f01cfea..."),
])  # fmt: skip
def test_a_digest_names_its_algorithm(digest, objection, tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    result = ExpectedFile(3, digest).objection_to(tmp_path / "file")
    assert result.startswith(objection)
    assert bool(result) == bool(objection)
    assert " 3 bytes " in ExpectedFile(4, digest).objection_to(tmp_path / "file")


@pytest.fixture
def halves(tmp_path, monkeypatch):
    """Small archives in the place of both of CLIC 2020's; their addresses answer nothing."""
    result = {}
    for number, name in enumerate(("clic2020:professional", "clic2020:mobile")):
        Image.new("RGB", (80 + number, 70)).save(tmp_path / "picture.png")
        data = (tmp_path / "picture.png").read_bytes()
        archive: Archive = ARCHIVES[name]
        folder = archive.image_folder
        zip_path = zip_of(tmp_path / f"{folder}.zip", {f"{folder}/{c}.png": data for c in "ab"})
        digest = hashlib.sha256(zip_path.read_bytes()).hexdigest()
        facts = {"num_images": 2, "size_bytes": None, "digest": digest}
        result[folder] = archive._replace(url=f"http://127.0.0.1:9/{archive.file_name}", **facts)
        monkeypatch.setitem(ARCHIVES, name, result[folder])
    monkeypatch.setattr(published, "CLIC2020_PIXELS", 2 * 80 * 70 + 2 * 81 * 70)
    return result


def test_archives_that_one_has_are_told_apart_and_others_refused(halves, tmp_path, capsys):
    other_archive = zip_of(tmp_path / "other.zip", {"mobile/a.png": b"-"})
    with pytest.raises(UsageError, match=r"other\.zip .*sha256"):
        command.fetch("clic2020", tmp_path / "data", [str(other_archive)])
    with pytest.raises(UsageError, match=r"CLIC2020Professional_test\.zip"):
        command.fetch("clic2020", tmp_path / "data", [str(tmp_path / "mobile.zip")])
    with pytest.raises(Unavailable, match=r"gone\.zip "):
        command.fetch("clic2020", tmp_path / "data", [str(tmp_path / "gone.zip")])
    assert not (tmp_path / "data" / "clic2020").exists()
    files = [str(tmp_path / name) for name in ("mobile.zip", "professional.zip")]
    command.fetch("clic2020", tmp_path / "data", files)
    names = [image.name for image in dataset_opener("clic2020")([tmp_path / "data"]).images]
    assert names == ["mobile/a.png", "mobile/b.png", "professional/a.png", "professional/b.png"]
    assert all(Path(file).exists() for file in files)
    assert (tmp_path / "data/clic2020/mobile" / MANIFEST).exists()


def test_another_address_is_resumed_and_its_digest_decides(halves, tmp_path, monkeypatch):
    body = (tmp_path / "mobile.zip").read_bytes()
    with served(monkeypatch) as server:
        server.files = {"/mirror/m.zip": body}
        part = tmp_path / "data/clic2020/CLIC2020Mobile_test.zip.part"
        part.parent.mkdir(parents=True)
        part.write_bytes(body[:100])
        command.fetch("clic2020:mobile", tmp_path / "data", [f"{server.url}/mirror/m.zip"])
        assert server.asked == [("/mirror/m.zip", 100)]
        server.files = {"/mirror/m.zip": body[:-1] + b"x"}
        with pytest.raises(Unavailable, match=r"m\.zip .*sha256"):
            command.fetch("clic2020:mobile", tmp_path / "other", [f"{server.url}/mirror/m.zip"])
        with pytest.raises(UsageError, match=r"m\.zip .*CLIC2020P"):
            command.fetch("clic2020", tmp_path / "third", [f"{server.url}/mirror/m.zip"])
    assert not part.exists()
    assert not (tmp_path / "other/clic2020/mobile").exists()


def test_only_the_sampling_that_is_meant_is_unpacked(tmp_path, monkeypatch):
    large, small = (png_header(side, side) for side in (1200, 600))
    names = {"RGB/RGB_OR_1200x1200/RGB_OR_1200x1200_001.png": large,
             "RGB/RGB_R02_0600x0600/RGB_R02_0600x0600_001.png": small,
             "B01C00/RGB_OR_1200x1200.png": small}  # fmt: skip
    archive = zip_of(tmp_path / "t.zip", {f"TESTIMAGES/{name}": names[name] for name in names})
    tecnick = ARCHIVES["tecnick"]._replace(num_images=1)
    fetch_archive(tecnick, tmp_path / "data", origin=str(archive))
    (image,) = find_archive_images(tecnick, [tmp_path / "data"])
    assert (image.name, image.path.read_bytes()) == ("RGB_OR_1200x1200_001.png", large)
