"""Datasets: which files, in which order, under which name, and never another picture unnoticed."""

import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.datasets import kodak
from benchmark.datasets.archive import CLIC2020_PIXELS, open_clic2020
from benchmark.datasets.dataset import (
    ImageFile,
    data_folders,
    find_images,
    open_dataset,
    open_folder,
    probe,
    refuse_duplicates,
)
from benchmark.datasets.kodak import open_kodak, open_sample
from benchmark.errors import Unavailable, UnknownName, UsageError
from benchmark.registry import dataset_opener
from conftest import SHARED
from support.files.clic_files import make_clic, png_header

KODAK = SHARED / "data" / "kodak"
needs_kodak = pytest.mark.skipif(not KODAK.exists(), reason="needs ../shared/data/kodak")


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def names_of(images: Sequence[ImageFile]) -> list[str]:
    return [image.name for image in images]


# any folder


def test_a_folder_or_list_is_its_images_sorted_by_path_and_nothing_else(tmp_path):
    expected = ["A.PNG", "album.png/1.png", "b.jpeg", "sub/1.png", "sub/deep/c.TIFF", "z.webp"]
    touch(tmp_path, *reversed(expected), "notes.txt", "no_suffix", "x.gif", "x.png.part")
    touch(tmp_path, ".hidden.png", "._a.png", ".cache/d.png", "sub/.thumbs/e.png")
    result = open_folder(tmp_path)
    assert names_of(result.images) == expected
    assert result.unread_files == ("no_suffix", "notes.txt", "x.gif", "x.png.part")
    (tmp_path / "list.csv").write_text("\n".join(["image", *reversed(expected)]))
    assert names_of(open_dataset(tmp_path / "list.csv").images) == expected


def test_links_to_images_count_and_links_to_folders_and_to_themselves_do_not(tmp_path):
    touch(tmp_path, "set/a.png", "elsewhere/b.png")
    (tmp_path / "set/b.png").symlink_to(tmp_path / "elsewhere/b.png")
    (tmp_path / "set/loop").symlink_to(tmp_path / "set")
    (tmp_path / "set/self.png").symlink_to(tmp_path / "set/self.png")
    images = open_folder(tmp_path / "set").images
    assert names_of(images) == ["a.png", "b.png", "self.png"]
    *_, refusal = probe(images, flatten=False, threads=1)
    assert re.fullmatch("self.png .*: Too many levels of symbolic links ", " ".join(refusal))


def test_a_folder_has_one_name_however_it_is_reached_and_no_other_has_it(tmp_path, monkeypatch):
    touch(tmp_path, "images/a.png", "other/images/a.png")
    (tmp_path / "link").symlink_to(tmp_path / "images")
    monkeypatch.chdir(tmp_path / "images")
    paths = [tmp_path / "images", tmp_path / "link", Path("."), Path("../images/")]
    (name,) = {open_folder(path).name for path in paths}
    other_name = open_folder(tmp_path / "other/images").name
    assert (name[:-6], other_name[:-6], name == other_name) == ("images-", "images-", False)


@pytest.mark.parametrize(("title", "folder_name"), [
    ("my: photos/2024", "2024"), ("..dots", "dots"), ("größe", "gr_e"), ("\n", "_"),
    ("...", "images"),
])  # fmt: skip
def test_the_name_of_a_dataset_can_be_the_name_of_a_folder(title, folder_name, tmp_path):
    touch(tmp_path, f"{title}/a.png")
    dataset = open_folder(tmp_path / title)
    assert re.fullmatch("[A-Za-z0-9._-]+", dataset.name)
    assert dataset.folder_title == dataset.name[:-7] == folder_name
    assert dataset.store_name == dataset.name


def test_the_folder_that_a_misspelt_one_is_nearest_to_is_named(tmp_path, monkeypatch):
    touch(tmp_path / "photos", "a.png")
    monkeypatch.chdir(tmp_path)
    for misspelt in ("phtos", "./phtos", tmp_path / "phtos"):
        with pytest.raises(UsageError, match=r"phtos .*\bphotos\b"):
            open_dataset(misspelt)
    with pytest.raises(UnknownName, match="Did you mean 'kodak'"):
        open_dataset("kodac")


def test_a_folder_of_a_phone_is_told_what_it_holds_and_a_file_is_none(tmp_path):
    touch(tmp_path, "IMG_1.HEIC", "IMG_2.heic", "a.dng")
    with pytest.raises(UsageError, match=r"2 \.heic, 1 \.dng"):
        open_folder(tmp_path)
    with pytest.raises(UsageError, match=r"a\.dng"):
        open_folder(tmp_path / "a.dng")


def test_folders_are_searched_in_the_order_that_is_promised(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", f"/first{os.pathsep}{os.pathsep}/second")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    expected = [Path("/first"), Path("/second"), Path("/cache/rdrbench/datasets")]
    assert data_folders() == expected
    assert data_folders(tmp_path) == [tmp_path, *expected]
    with pytest.raises(UsageError, match="--data-dir /nowhere"):
        data_folders(Path("/nowhere"))


def test_the_first_whole_place_wins_and_the_first_objection_is_told(tmp_path):
    def images_in(place: Path) -> list[ImageFile]:
        if "broken" in place.name:
            raise Unavailable(f"{place} lacks b.png")
        return [ImageFile(name, place / name) for name in "ba"] if place.name == "whole" else []

    images = find_images("set", [tmp_path], ["none", "broken", "whole"], images_in)
    assert images == (ImageFile("a", tmp_path / "whole/a"), ImageFile("b", tmp_path / "whole/b"))
    with pytest.raises(Unavailable, match=r"b\.png.*bench fetch set"):
        find_images("set", [tmp_path], ["none", "broken", "broken too"], images_in)
    place = tmp_path / "broken"  # which is said last where it is a data folder itself
    message = rf"none .*{place}; {place} .*b\.png.* {place}/none \("
    with pytest.raises(Unavailable, match=message):
        find_images("set", [place], ["none", "."], images_in)


def test_a_picture_that_is_there_twice_counts_once_and_a_turned_one_is_another(tmp_path):
    pixels = np.zeros((2, 3, 3), np.uint8)
    for name, picture in {"a": pixels, "b": pixels, "c": pixels.reshape(3, 2, 3)}.items():
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    (tmp_path / "d.png").write_bytes(b"")
    a, b, c, d = refuse_duplicates(probe(open_folder(tmp_path).images, False, 2))
    assert (a.width_px, a.height_px, c.width_px, c.height_px) == (3, 2, 2, 3)
    assert (b[0], "a.png" in b[1], b[2]) == ("b.png", True, "")
    assert d == ("d.png", "is empty", "")


# sample


def test_a_sample_that_is_missing_or_changed_is_one_clear_error(tmp_path, monkeypatch):
    shutil.copytree(open_sample([]).images[0].path.parent, tmp_path / "data")
    monkeypatch.setattr(kodak, "package_folder", lambda name: tmp_path)
    assert len(open_sample([]).images) == 4
    with (tmp_path / "data" / "coffee.png").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(Unavailable, match=r"coffee\.png "):
        open_sample([])
    (tmp_path / "data" / "coffee.png").unlink()
    with pytest.raises(Unavailable, match=r"coffee\.png .*No such file"):
        open_sample([])


# kodak


@needs_kodak
def test_the_table_of_kodak_agrees_with_the_published_sums():
    lines = (KODAK / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, name in (line.split() for line in lines)}
    assert {
        name: (facts.file_sha256, facts.size_bytes) for name, facts in kodak.PICTURES.items()
    } == {name: (digest, (KODAK / name).stat().st_size) for name, digest in sums.items()}


@pytest.fixture
def kodak_copy(tmp_path):
    folder = tmp_path / "copy" / "kodak"
    folder.mkdir(parents=True)
    for name in kodak.PICTURES:
        (folder / name).symlink_to(KODAK / name)
    return folder


def replace(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    pixels = np.array(Image.open(path))
    path.unlink()
    Image.fromarray(change(pixels)).save(path, compress_level=1)


@needs_kodak
def test_kodak_compressed_anew_is_the_same_24_pictures_in_either_folder(kodak_copy):
    replace(kodak_copy / "kodim07.png", lambda pixels: pixels)
    for folder in (kodak_copy, kodak_copy.parent):
        images = open_kodak([folder]).images
        assert names_of(images) == [f"kodim{number:02d}.png" for number in range(1, 25)]


@needs_kodak
def test_another_picture_or_a_broken_one_is_not_kodaks(kodak_copy):
    path, last_sample = kodak_copy / "kodim07.png", np.zeros((512, 768, 3), np.uint8)
    last_sample[511, 767, 2] = 1
    for change in (
        lambda p: p.reshape(256, 1536, 3),
        lambda p: p.reshape(512, 768, 3) ^ last_sample,
    ):
        replace(path, change)
        with pytest.raises(Unavailable, match=r"kodim07\.png "):
            open_kodak([kodak_copy.parent])
    path.write_bytes((KODAK / "kodim07.png").read_bytes()[:5000])
    with pytest.raises(Unavailable, match=r"kodim07\.png .*truncated"):
        open_kodak([kodak_copy.parent])


@needs_kodak
def test_a_copy_of_kodak_that_lacks_a_picture_names_it_and_the_next_folder_is_tried(kodak_copy):
    (kodak_copy / "kodim24.png").unlink()
    with pytest.raises(Unavailable, match=r"kodim24\.png.*fetch kodak"):
        open_kodak([kodak_copy.parent])
    assert open_kodak([kodak_copy.parent, KODAK.parent]).images[23].path.parent == KODAK


# CLIC 2020


def test_an_image_of_an_impossible_size_is_named(tmp_path):
    folder = make_clic(tmp_path / "clic2020/professional", 250)
    for width, height in ((9000, 1000), (1000, 9000), (40, 1000), (1000, 40)):
        (folder / "007.png").write_bytes(png_header(width, height))
        with pytest.raises(Unavailable, match=rf"007\.png .*{width} x {height}"):
            dataset_opener("clic2020:professional")([tmp_path])
    (folder / "007.png").write_bytes(b"<html>not found</html> and more")
    with pytest.raises(Unavailable, match=r"007\.png .* PNG"):
        dataset_opener("clic2020:professional")([tmp_path])


def test_what_is_missing_of_clic_is_named_and_a_copy_in_half_size_is_refused(tmp_path):
    with pytest.raises(Unavailable, match=r"428 .*fetch clic2020`"):
        open_clic2020([tmp_path])
    make_clic(tmp_path / "clic2020/professional", 250)
    with pytest.raises(Unavailable, match=r"clic2020/mobile .*178"):
        open_clic2020([tmp_path])
    for half, count in (("professional", 250), ("mobile", 178)):
        make_clic(tmp_path / "small/clic2020" / half, count, (1024, 685))
    assert round(CLIC2020_PIXELS) == 1_202_157_653
    with pytest.raises(Unavailable, match=r"1\.202e\+09"):
        open_clic2020([tmp_path / "small"])
