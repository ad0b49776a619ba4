"""What `bench fetch` brings: archives unpacked, folders whole or absent, weights for torch."""

import hashlib
import json
import os
from unittest.mock import Mock

import pytest
from PIL import Image

from benchmark.commands import fetch as command
from benchmark.datasets import download, kodak
from benchmark.datasets.archive import ARCHIVES, fetch_archive
from benchmark.datasets.download import MANIFEST, manifest_objection, unpack_images
from benchmark.datasets.image import read_image
from benchmark.datasets.kodak import PictureFacts, fetch_dataset, open_kodak
from benchmark.errors import Unavailable, UnknownName, UsageError
from benchmark.registry import CODECS, dataset_opener
from benchmark.system.digest import pixels_sha256
from benchmark.system.settings import NETWORKS, PublishedFile
from support.files.file_server import BODY, SHA256, left_in, zip_of


def test_an_archive_gives_its_images_and_nothing_else_nor_elsewhere(tmp_path):
    images = ["set/1.png", "set/2.PNG", "../../up.png", "/absolute.png", "c/d/../e.png"]
    other_names = ["__MACOSX/set/._1.png", "__MACOSX/3.png", "set/.4.png", "set/readme.txt"]
    members = {name: name.encode() for name in (*images, *other_names)}
    unpack_images(zip_of(tmp_path / "a.zip", {"set/": b"", **members}), tmp_path / "in" / "out", 5)
    unpacked = {path.name: path.read_bytes() for path in (tmp_path / "in" / "out").iterdir()}
    assert unpacked == {name.rpartition("/")[2]: name.encode() for name in images}
    assert left_in(tmp_path) == ["a.zip", "in"]


@pytest.mark.parametrize(("members", "reason"), [
    ({"1.png": b""}, r" 1 .* 2\b"),
    (dict.fromkeys(["1.png", "2.png", "3.png"], b""), r" 3 .* 2\b"),
    ({"a/1.png": b"", "b/1.png": b""}, r"a\.zip .* 1\.png"),
])  # fmt: skip
def test_another_archive_is_refused_before_it_is_unpacked(members, reason, tmp_path):
    with pytest.raises(Unavailable, match=reason):
        unpack_images(zip_of(tmp_path / "a.zip", members), tmp_path / "out", 2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", ["cut", "flipped", "text", "LZMA", "name"])
def test_a_damaged_archive_is_refused(damage, tmp_path):
    archive = zip_of(tmp_path / "a.zip", {"ä.png": BODY[:5000]})
    data = bytearray(archive.read_bytes())
    lzma = data.copy()
    lzma[8], lzma[data.index(b"PK\1\2") + 10] = 14, 14
    name = data.replace("ä".encode(), b"\xff\xff")  # is no UTF-8
    data[2000] ^= 1
    damaged = {"cut": data[:3000], "flipped": data, "text": b"<html>", "LZMA": lzma, "name": name}
    archive.write_bytes(damaged[damage])
    with pytest.raises(Unavailable, match="zip"):
        unpack_images(archive, tmp_path / "out", 1)


def test_no_pipe_is_waited_for(tmp_path):
    pipes = [tmp_path / "a.zip", *(tmp_path / "tecnick" / f"{i}.png" for i in range(100))]
    pipes[1].parent.mkdir()
    for pipe in pipes:
        os.mkfifo(pipe)
    for name in ("kodak", "tecnick"):
        with pytest.raises(Unavailable, match=r"a\.zip .*regular"):
            command.fetch(name, tmp_path / "data", [str(pipes[0])])
    with pytest.raises(Unavailable, match=r"0\.png .*regular"):
        dataset_opener("tecnick")([tmp_path])


@pytest.fixture
def small_kodak(server, tmp_path, monkeypatch):
    pictures = {}
    for number in range(1, 25):
        name, path = f"kodim{number:02d}.png", tmp_path / "picture.png"
        size = (512, 768) if number % 5 == 4 else (768, 512)
        Image.new("RGB", size, (number, 0, 0)).save(path, compress_level=1)
        data = path.read_bytes()
        server.files[f"/{name}"] = data
        digest = pixels_sha256(read_image(path).pixels)[:16]
        pictures[name] = PictureFacts(hashlib.sha256(data).hexdigest(), len(data), digest)
    monkeypatch.setattr(kodak, "PICTURES", pictures)
    monkeypatch.setattr(kodak, "ADDRESS", server.url)
    return server


def test_kodak_is_fetched_once_and_then_found(small_kodak, tmp_path, capsys):
    data = tmp_path / "data"
    command.fetch("kodak", data)
    assert len(open_kodak([data]).images) == 24
    manifest = json.loads((data / "kodak" / MANIFEST).read_text())
    assert len(manifest["files"]) == len(manifest["urls"]) == len(small_kodak.asked) == 24
    assert left_in(data) == ["kodak"]
    command.fetch("kodak", data)
    assert len(small_kodak.asked) == 24
    assert capsys.readouterr().out.splitlines() == [f"kodak: 24 images in {data / 'kodak'}"] * 2


def test_an_interrupted_kodak_is_absent_and_resumes(small_kodak, tmp_path):
    last = small_kodak.files.pop("/kodim24.png")
    with pytest.raises(Unavailable, match=r"404.*kodim24\.png .*/kodak "):
        fetch_dataset("kodak", [], tmp_path)
    with pytest.raises(Unavailable, match="bench fetch"):
        open_kodak([tmp_path])
    small_kodak.files["/kodim24.png"] = last
    small_kodak.asked.clear()
    fetch_dataset("kodak", [], tmp_path)
    assert small_kodak.asked == [("/kodim24.png", 0)]
    assert len(open_kodak([tmp_path]).images) == 24


def test_a_folder_of_the_users_own_is_never_replaced(small_kodak, tmp_path):
    (tmp_path / "kodak").mkdir()
    (tmp_path / "kodak" / "kodim01.png").write_bytes(b"mine")
    with pytest.raises(Unavailable, match="/kodak "):
        command.fetch("kodak", tmp_path)
    assert (tmp_path / "kodak" / "kodim01.png").read_bytes() == b"mine"
    assert small_kodak.asked == []


def test_kodak_comes_out_of_a_zip_that_one_has(small_kodak, tmp_path):
    pictures = {f"k{name}": data for name, data in small_kodak.files.items() if "kodim" in name}
    command.fetch("kodak", tmp_path / "data", [str(zip_of(tmp_path / "k.zip", pictures))])
    assert len(open_kodak([tmp_path / "data"]).images) == 24
    pictures["k/kodim01.png"] = pictures["k/kodim02.png"]
    with pytest.raises(Unavailable, match=r"kodim01\.png"):
        command.fetch("kodak", tmp_path / "other", [str(zip_of(tmp_path / "o.zip", pictures))])
    assert not (tmp_path / "other" / "kodak").exists()


@pytest.fixture
def small_clic(server, tmp_path, monkeypatch):
    """An archive of three pictures in the place of CLIC's mobile one."""
    Image.new("RGB", (80, 70)).save(tmp_path / "p.png")
    data = (tmp_path / "p.png").read_bytes()
    body = zip_of(tmp_path / "m.zip", {f"mobile/{name}.png": data for name in "abc"}).read_bytes()
    server.files["/CLIC2020Mobile_test.zip"] = body
    mobile = ARCHIVES["clic2020:mobile"]
    facts = {"num_images": 3, "size_bytes": len(body), "digest": hashlib.sha256(body).hexdigest()}
    small = mobile._replace(url=f"{server.url}/{mobile.file_name}", **facts)
    monkeypatch.setitem(ARCHIVES, "clic2020:mobile", small)
    return small


def test_clic_is_fetched_unpacked_and_the_archive_goes(small_clic, tmp_path, server, capsys):
    data = tmp_path / "data"
    command.fetch("clic2020:mobile", data)
    images = dataset_opener("clic2020:mobile")([data]).images
    assert [image.name for image in images] == ["mobile/a.png", "mobile/b.png", "mobile/c.png"]
    assert left_in(data / "clic2020") == ["mobile"]
    assert left_in(data / "clic2020/mobile") == ["a.png", "b.png", "c.png", MANIFEST]
    command.fetch("clic2020:mobile", data)
    assert len(server.asked) == 1
    (line, *_) = capsys.readouterr().out.splitlines()
    assert line == f"clic2020:mobile: 3 images in {data / 'clic2020/mobile'}"


def test_interrupted_unpacking_leaves_nothing_that_counts(small_clic, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(download, "write_file", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            fetch_archive(small_clic, tmp_path)
    with pytest.raises(Unavailable, match="clic2020:mobile"):
        dataset_opener("clic2020:mobile")([tmp_path])
    fetch_archive(small_clic, tmp_path)
    assert len(dataset_opener("clic2020:mobile")([tmp_path]).images) == 3


def test_a_folder_is_what_its_manifest_says_or_without_one_whole(small_clic, tmp_path):
    folder, open_mobile = fetch_archive(small_clic, tmp_path), dataset_opener("clic2020:mobile")
    picture, other, manifest = folder / "b.png", folder / "other.png", folder / MANIFEST
    assert manifest_objection(folder) == ""
    for change, reason in (
        (lambda: picture.write_bytes(b"short"), r"b\.png .* \d+ bytes"),
        (lambda: picture.rename(other), r"b\.png "),
        (lambda: manifest.write_text("{"), r"manifest\.json "),
        (manifest.unlink, r"other\.png "),
        (other.unlink, r" 2 .* 3\b"),
    ):
        change()
        with pytest.raises(Unavailable, match=reason):
            open_mobile([tmp_path])


def test_weights_go_where_torch_looks_for_them(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    weights = PublishedFile(f"{server.url}/file.bin", "net.pth", SHA256[:8], len(BODY))
    monkeypatch.setitem(NETWORKS, "alexnet", (weights,))
    command.fetch("alexnet")
    path = tmp_path / "torch" / "hub" / "checkpoints" / "net.pth"
    assert path.read_bytes() == BODY
    assert capsys.readouterr().out == f"net.pth: {path}\n"
    monkeypatch.setenv("BENCH_WEIGHTS", str(path.parent))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "elsewhere"))
    command.fetch("alexnet")
    assert len(server.asked) == 1


class Learned:
    """A codec with two published files, whose address is that of the test's server."""

    url, sha256 = "", ""

    @classmethod
    def published_weights(cls, options):
        stem = f"{options['model']}-{options['metric']}"
        return [PublishedFile(cls.url, f"{stem}-{quality}.pth", cls.sha256) for quality in (1, 2)]


@pytest.fixture
def learned_folder(server, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(Learned, "url", f"{server.url}/file.bin")
    monkeypatch.setitem(CODECS, "learned", f"{__name__}:Learned")
    return tmp_path / "hub/checkpoints"


def test_a_learned_codec_names_the_files_for_its_options(learned_folder, monkeypatch, capsys):
    monkeypatch.setattr(Learned, "sha256", SHA256[:8])
    command.fetch("learned:model=tiny:metric=ms-ssim")
    assert left_in(learned_folder) == ["tiny-ms-ssim-1.pth", "tiny-ms-ssim-2.pth"]
    assert len(capsys.readouterr().out.splitlines()) == 2
    with pytest.raises(UsageError, match=r"jpeg .*weights"):
        command.fetch("jpeg")


def test_without_a_published_digest_that_of_the_first_download_is_required(learned_folder, capsys):
    command.fetch("learned:model=tiny:metric=mse")
    files = [f"tiny-mse-{number}.pth{end}" for number in (1, 2) for end in ("", ".sha256")]
    assert left_in(learned_folder) == files
    assert capsys.readouterr().out.count(f"sha256 {SHA256}, ") == 2
    record = learned_folder / "tiny-mse-1.pth.sha256"
    assert record.read_text() == f"{SHA256}  tiny-mse-1.pth\n"
    record.write_text(record.read_text().replace(SHA256, "0" * 64))
    with pytest.raises(Unavailable, match=r"tiny-mse-1\.pth .* 0000"):
        command.fetch("learned:model=tiny:metric=mse")
    (learned_folder / "tiny-mse-1.pth").unlink()
    with pytest.raises(Unavailable, match=r"file\.bin now .* 0000"):
        command.fetch("learned:model=tiny:metric=mse")


def test_what_needs_no_fetch_says_so_and_what_is_unknown_is_guessed(capsys):
    command.fetch("sample")
    assert "scikit-image" in capsys.readouterr().out
    with pytest.raises(UnknownName, match="Did you mean 'kodak'"):
        command.fetch("kodac")
