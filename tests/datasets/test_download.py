"""Downloads against a real server that ranges, ignores ranges, breaks off, lies or is not there."""

import errno
import fcntl
import hashlib
import json
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from benchmark.commands.measuring import fetch as command
from benchmark.datasets import clic2020, download, kodak
from benchmark.datasets.archive import Archive, fetch_archive
from benchmark.datasets.clic2020 import MOBILE, open_mobile
from benchmark.datasets.download import MANIFEST, fetch, manifest_objection, unpack_images
from benchmark.datasets.image import read_image
from benchmark.datasets.kodak import Facts, fetch_dataset, open_kodak
from benchmark.errors import Unavailable, UnknownName, UsageError
from benchmark.registry import CODECS
from benchmark.system.digest import pixels_sha256
from benchmark.system.published_weights import NETWORKS, PublishedFile
from support.files.file_server import BODY, Server, served, zip_of

SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with served(monkeypatch) as server:
        yield server


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "new" / "file.bin"


def part_of(target: Path, data: bytes) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    part.write_bytes(data)
    return part


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_under_its_name_and_nothing_else_is_left(server, target):
    fetch(f"{server.url}/file.bin", target, len(BODY), SHA256)
    assert target.read_bytes() == BODY
    assert left_in(target.parent) == ["file.bin"]


def test_a_file_of_which_nothing_is_known_arrives_too(server, target):
    server.says_length = False
    fetch(f"{server.url}/file.bin", target)
    assert target.read_bytes() == BODY


def test_a_file_that_is_there_and_right_is_not_asked_for(server, target):
    part_of(target, b"").rename(target)
    target.write_bytes(BODY)
    fetch(f"{server.url}/file.bin", target, len(BODY), SHA256)
    assert server.asked == []


def test_a_file_that_is_there_and_wrong_is_the_users_to_remove(server, target):
    part_of(target, b"mine").rename(target)
    with pytest.raises(Unavailable, match=rf"{target} has 4 bytes instead of 1000000: remove it"):
        fetch(f"{server.url}/file.bin", target, len(BODY), SHA256)
    assert target.read_bytes() == b"mine"


def test_a_download_resumes_where_it_stopped(server, target):
    part_of(target, BODY[:400_000])
    fetch(f"{server.url}/file.bin", target, len(BODY), SHA256)
    assert server.asked == [("/file.bin", 400_000)]
    assert target.read_bytes() == BODY


def test_a_server_without_ranges_starts_over(server, target):
    server.ranges = False
    part_of(target, BODY[:400_000])
    fetch(f"{server.url}/file.bin", target, len(BODY), SHA256)
    assert target.read_bytes() == BODY


def test_a_server_that_sends_another_range_is_asked_for_everything(server, target):
    server.wrong_start = 7
    part_of(target, BODY[:400_000])
    fetch(f"{server.url}/file.bin", target, len(BODY), SHA256)
    assert server.asked == [("/file.bin", 400_000), ("/file.bin", 0)]
    assert target.read_bytes() == BODY


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("known", [True, False])
def test_a_part_that_is_the_whole_file_is_recognised(ranges, known, server, target):
    server.ranges = ranges
    part_of(target, BODY)
    fetch(f"{server.url}/file.bin", target, len(BODY) if known else None, SHA256)
    assert target.read_bytes() == BODY
    assert len(server.asked) == (0 if known else 1)


@pytest.mark.parametrize("left_over", [b"x" * 400_000, b"x" * len(BODY), b"x" * 1_000_001])
@pytest.mark.parametrize("known", [True, False])
def test_what_was_left_of_another_file_is_thrown_away(left_over, known, server, target):
    part_of(target, left_over)
    fetch(f"{server.url}/file.bin", target, len(BODY) if known else None, SHA256)
    assert target.read_bytes() == BODY


def test_a_broken_connection_is_taken_up_again(server, target):
    server.breaks_after = [300_000, 300_000, 300_000]
    fetch(f"{server.url}/file.bin", target, len(BODY), SHA256)
    assert server.asked == [("/file.bin", start) for start in (0, 300_000, 600_000, 900_000)]
    assert target.read_bytes() == BODY


def test_a_connection_that_breaks_where_no_length_is_told_is_noticed(server, target):
    server.says_length = False
    server.breaks_after = [300_000]
    fetch(f"{server.url}/file.bin", target, len(BODY), SHA256)
    assert target.read_bytes() == BODY


def test_a_connection_that_always_breaks_is_one_sentence_and_what_came_is_kept(server, target):
    server.breaks_after = [300_000] + [0] * 20
    with pytest.raises(Unavailable, match=r"after 300000 bytes, which are kept .*: fetch again"):
        fetch(f"{server.url}/file.bin", target, len(BODY), SHA256)
    assert left_in(target.parent) == ["file.bin.part"]
    server.breaks_after = []
    fetch(f"{server.url}/file.bin", target, len(BODY), SHA256)
    assert server.asked[-1] == ("/file.bin", 300_000)
    assert target.read_bytes() == BODY


def test_a_server_that_never_gets_on_is_left_alone(server, target):
    server.ranges = False
    server.breaks_after = [300_000] * 20
    with pytest.raises(Unavailable, match="broke off"):
        fetch(f"{server.url}/file.bin", target, len(BODY), SHA256)
    assert len(server.asked) == 2


def test_other_bytes_of_the_right_size_never_get_the_name(server, target):
    server.files["/file.bin"] = BODY[:-1] + b"x"
    with pytest.raises(Unavailable, match=rf"has sha256 .* instead of {SHA256[:16]}"):
        fetch(f"{server.url}/file.bin", target, len(BODY), SHA256)
    assert left_in(target.parent) == []


def test_the_beginning_of_a_hash_is_enough_to_refuse(server, target):
    fetch(f"{server.url}/file.bin", target, digest=SHA256[:8])
    target.unlink()
    with pytest.raises(Unavailable, match="instead of 00000000"):
        fetch(f"{server.url}/file.bin", target, digest="00000000")


def test_a_file_of_another_size_is_refused_before_it_is_downloaded(server, target):
    with pytest.raises(Unavailable, match="now has 1000000 bytes instead of 999999"):
        fetch(f"{server.url}/file.bin", target, len(BODY) - 1, SHA256)
    assert left_in(target.parent) == []


def test_an_address_that_is_gone_is_one_sentence(server, target):
    with pytest.raises(Unavailable, match=rf"/gone answers 404 Not Found: put .* {target}"):
        fetch(f"{server.url}/gone", target)
    assert left_in(target.parent) == []


def test_without_a_network_the_sentence_says_what_to_do(target):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/file.bin"
    with pytest.raises(Unavailable, match=rf"^127\.0\.0\.1 cannot .*refused.* put .* {target}"):
        fetch(url, target, len(BODY))
    with pytest.raises(Unavailable, match=r"or ask a friend$"):
        fetch(url, target, remedy="ask a friend")


def test_a_server_that_says_nothing_runs_into_the_timeout(target, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Unavailable) as refusal:
        fetch(f"http://127.0.0.1:{silent.getsockname()[1]}/file.bin", target)
    assert "timed out" in str(refusal.value)


def test_two_downloads_of_one_file_do_not_mix(server, target):
    with part_of(target, b"").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(Unavailable, match="another process"):
            fetch(f"{server.url}/file.bin", target)


def test_a_folder_that_cannot_be_written_is_one_sentence(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable, match=r"file/below/file\.bin cannot be written: Not a direc"):
        fetch(f"{server.url}/file.bin", tmp_path / "file" / "below" / "file.bin")


def test_too_little_space_is_noticed_before_anything_is_asked_for(server, target, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=999_999))
    with pytest.raises(Unavailable, match="room for 999999 bytes, and 1000000 are needed"):
        fetch(f"{server.url}/file.bin", target, len(BODY))
    assert server.asked == []


def test_a_disk_that_fills_up_is_one_sentence(server, target, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download.os, "fsync", fail)
    with pytest.raises(Unavailable, match="cannot be written: No space left on device"):
        fetch(f"{server.url}/file.bin", target)


def test_progress_is_told_from_where_it_starts_to_the_end(server, target):
    told: list[tuple[str, int, int | None]] = []
    part_of(target, BODY[:400_000])
    fetch(f"{server.url}/file.bin", target, progress=lambda *now: told.append(now))
    assert told[0][1] > 400_000
    assert told == sorted(told)
    assert told[-1] == ("file.bin", len(BODY), len(BODY))


# archives


def test_an_archive_gives_its_images_and_nothing_else(tmp_path):
    archive = zip_of(
        tmp_path / "a.zip",
        {
            "set/": b"",
            "set/1.png": b"one",
            "set/2.PNG": b"two",
            "__MACOSX/set/._1.png": b"fork",
            "__MACOSX/3.png": b"fork",
            "set/.4.png": b"hidden",
            "set/readme.txt": b"text",
        },
    )
    unpack_images(archive, tmp_path / "out", 2)
    found = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert found == {"1.png": b"one", "2.PNG": b"two"}


def test_no_member_ends_up_elsewhere(tmp_path):
    names = ["../../up.png", "/absolute.png", "a/../../b.png", "c/d/../e.png"]
    archive = zip_of(tmp_path / "a.zip", dict.fromkeys(names, b"x"))
    unpack_images(archive, tmp_path / "in" / "out", 4)
    assert left_in(tmp_path / "in" / "out") == ["absolute.png", "b.png", "e.png", "up.png"]
    assert left_in(tmp_path) == ["a.zip", "in"]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"1.png": b""}, "holds 1 PNG files instead of 2: it is the archive of another"),
        (dict.fromkeys(["1.png", "2.png", "3.png"], b""), "holds 3 PNG files instead of 2"),
        ({"a/1.png": b"", "b/1.png": b""}, r"two files called 1\.png"),
    ],
)
def test_another_archive_is_refused_before_it_is_unpacked(members, reason, tmp_path):
    with pytest.raises(Unavailable, match=reason):
        unpack_images(zip_of(tmp_path / "a.zip", members), tmp_path / "out", 2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", ["cut", "flipped", "text"])
def test_a_damaged_archive_is_refused(damage, tmp_path):
    archive = zip_of(tmp_path / "a.zip", {"1.png": BODY[:5000]})
    data = bytearray(archive.read_bytes())
    data[2000] ^= 1
    damaged = {"cut": data[:3000], "flipped": data, "text": b"<html>"}
    archive.write_bytes(damaged[damage])
    with pytest.raises(Unavailable, match="not a whole zip archive"):
        unpack_images(archive, tmp_path / "out", 1)


# whole datasets


@pytest.fixture
def small_kodak(server, tmp_path, monkeypatch):
    """Twenty-four flat pictures in Kodak's place, on the server and in the table."""
    pictures = {}
    for number in range(1, 25):
        name, path = f"kodim{number:02d}.png", tmp_path / "picture.png"
        size = (512, 768) if number % 5 == 4 else (768, 512)
        Image.new("RGB", size, (number, 0, 0)).save(path, compress_level=1)
        data = path.read_bytes()
        server.files[f"/{name}"] = data
        digest = pixels_sha256(read_image(path).pixels)[:16]
        pictures[name] = Facts(hashlib.sha256(data).hexdigest(), len(data), digest)
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
    with pytest.raises(Unavailable, match=r"404.*kodim01\.png to kodim24\.png into .*/kodak your"):
        fetch_dataset("kodak", [], tmp_path)
    with pytest.raises(Unavailable, match="not in"):
        open_kodak([tmp_path])
    small_kodak.files["/kodim24.png"] = last
    small_kodak.asked.clear()
    fetch_dataset("kodak", [], tmp_path)
    assert small_kodak.asked == [("/kodim24.png", 0)]
    assert len(open_kodak([tmp_path]).images) == 24


def test_a_folder_of_the_users_own_is_never_replaced(small_kodak, tmp_path):
    (tmp_path / "kodak").mkdir()
    (tmp_path / "kodak" / "kodim01.png").write_bytes(b"mine")
    with pytest.raises(Unavailable, match="kodak is there, but is not the whole dataset"):
        command.fetch("kodak", tmp_path)
    assert (tmp_path / "kodak" / "kodim01.png").read_bytes() == b"mine"
    assert small_kodak.asked == []


@pytest.fixture
def small_clic(server, tmp_path, monkeypatch) -> Archive:
    """An archive of three pictures in the place of CLIC's mobile one."""
    Image.new("RGB", (80, 70)).save(tmp_path / "p.png")
    data = (tmp_path / "p.png").read_bytes()
    archive = zip_of(tmp_path / "m.zip", {f"mobile/{name}.png": data for name in "abc"})
    body = archive.read_bytes()
    server.files["/CLIC2020Mobile_test.zip"] = body
    small = MOBILE._replace(
        url=f"{server.url}/{MOBILE.file_name}",
        num_images=3,
        size_bytes=len(body),
        digest=hashlib.sha256(body).hexdigest(),
    )
    monkeypatch.setattr(clic2020, "MOBILE", small)
    return small


def test_clic_is_fetched_unpacked_and_the_archive_goes(small_clic, tmp_path, server, capsys):
    data = tmp_path / "data"
    command.fetch("clic2020:mobile", data)
    images = open_mobile([data]).images
    assert [image.name for image in images] == ["mobile/a.png", "mobile/b.png", "mobile/c.png"]
    assert left_in(data / "clic2020") == ["mobile"]
    assert left_in(data / "clic2020/mobile") == ["a.png", "b.png", "c.png", MANIFEST]
    command.fetch("clic2020:mobile", data)
    assert len(server.asked) == 1
    assert capsys.readouterr().out.splitlines()[0] == (
        f"clic2020:mobile: 3 images in {data / 'clic2020/mobile'}"
    )


def test_a_folder_of_clic_that_is_not_whole_is_never_replaced(small_clic, tmp_path, server):
    folder = tmp_path / "clic2020" / "mobile"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(b"mine")
    with pytest.raises(Unavailable, match="mobile is there, but is not the whole dataset"):
        command.fetch("clic2020:mobile", tmp_path)
    assert server.asked == []


def test_an_archive_that_the_user_brought_is_used_and_stays(small_clic, tmp_path, server):
    home = tmp_path / "data" / "clic2020"
    home.mkdir(parents=True)
    shutil.copy(tmp_path / "m.zip", home / small_clic.file_name)
    fetch_archive(small_clic, tmp_path / "data")
    assert left_in(home) == [small_clic.file_name, "mobile"]
    assert server.asked == []


def test_unpacking_that_was_interrupted_leaves_nothing_that_counts(
    small_clic, tmp_path, monkeypatch
):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download, "publish", stop)
        with pytest.raises(KeyboardInterrupt):
            fetch_archive(small_clic, tmp_path)
    with pytest.raises(Unavailable, match="is not in"):
        open_mobile([tmp_path])
    fetch_archive(small_clic, tmp_path)
    assert len(open_mobile([tmp_path]).images) == 3


def test_what_the_manifest_promises_has_to_be_there(small_clic, tmp_path):
    folder = fetch_archive(small_clic, tmp_path)
    assert manifest_objection(folder) == ""
    (folder / "b.png").write_bytes(b"short")
    with pytest.raises(Unavailable, match=r"b\.png does not have the \d+ bytes it was fetched"):
        open_mobile([tmp_path])
    (folder / "b.png").rename(folder / "other.png")
    with pytest.raises(Unavailable, match=r"b\.png is missing"):
        open_mobile([tmp_path])
    (folder / MANIFEST).write_text("{")
    with pytest.raises(Unavailable, match=r"manifest\.json cannot be read"):
        open_mobile([tmp_path])


# the command


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_go_where_torch_looks_for_them(server, tmp_path, monkeypatch, capsys, name):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    weights = PublishedFile(f"{server.url}/file.bin", f"{name}.pth", SHA256[:8], len(BODY))
    monkeypatch.setitem(NETWORKS, name, (weights,))
    command.fetch(name)
    path = tmp_path / "torch" / "hub" / "checkpoints" / f"{name}.pth"
    assert path.read_bytes() == BODY
    assert capsys.readouterr().out == f"{name}.pth: {path}\n"
    monkeypatch.setenv("BENCH_WEIGHTS", str(path.parent))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "elsewhere"))
    command.fetch(name)
    assert len(server.asked) == 1


class Learned:
    """A codec with two published files, whose address is that of the test's server."""

    url, sha256 = "", SHA256[:8]

    @classmethod
    def published_weights(cls, options):
        stem = f"{options['model']}-{options['metric']}"
        return [PublishedFile(cls.url, f"{stem}-{quality}.pth", cls.sha256) for quality in (1, 2)]


def test_a_learned_codec_names_the_files_that_are_fetched_for_its_options(
    server, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(Learned, "url", f"{server.url}/file.bin")
    monkeypatch.setitem(CODECS, "learned", f"{__name__}:Learned")
    command.fetch("learned:model=tiny:metric=ms-ssim")
    assert left_in(tmp_path / "hub/checkpoints") == ["tiny-ms-ssim-1.pth", "tiny-ms-ssim-2.pth"]
    assert len(capsys.readouterr().out.splitlines()) == 2
    with pytest.raises(UsageError, match="jpeg has no published weights"):
        command.fetch("jpeg")


def test_where_authors_publish_no_digest_that_of_the_first_download_is_recorded_and_required(
    server, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(Learned, "url", f"{server.url}/file.bin")
    monkeypatch.setattr(Learned, "sha256", "")
    monkeypatch.setitem(CODECS, "learned", f"{__name__}:Learned")
    folder = tmp_path / "hub/checkpoints"
    command.fetch("learned:model=tiny:metric=mse")
    files = ["tiny-mse-1.pth", "tiny-mse-2.pth"]
    assert left_in(folder) == sorted(files + [f"{name}.sha256" for name in files])
    told = capsys.readouterr().out
    assert told.count(f"sha256 {SHA256}, recorded here: its authors publish none") == 2
    record = folder / "tiny-mse-1.pth.sha256"
    assert record.read_text() == f"{SHA256}  tiny-mse-1.pth\n"
    record.write_text(record.read_text().replace(SHA256, "0" * 64))
    with pytest.raises(Unavailable, match=r"tiny-mse-1\.pth has sha256 .* instead of 0000"):
        command.fetch("learned:model=tiny:metric=mse")
    (folder / "tiny-mse-1.pth").unlink()
    with pytest.raises(Unavailable, match=r"file\.bin now has sha256 .* instead of 0000"):
        command.fetch("learned:model=tiny:metric=mse")


def test_what_needs_no_fetch_says_so_and_what_is_unknown_is_guessed(capsys):
    command.fetch("sample")
    assert "nothing to fetch" in capsys.readouterr().out
    with pytest.raises(UnknownName, match="Did you mean 'kodak'"):
        command.fetch("kodac")


def test_outside_a_terminal_progress_is_a_line_when_a_file_is_there(server, tmp_path, capsys):
    with command._shown() as progress:
        fetch(f"{server.url}/file.bin", tmp_path / "file.bin", progress=progress)
    assert capsys.readouterr().err == "file.bin: 1000000 of 1000000 bytes\n"


def test_on_a_terminal_progress_is_a_bar(server, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with command._shown() as progress:
        fetch(f"{server.url}/file.bin", tmp_path / "file.bin", progress=progress)
    assert "file.bin" in capsys.readouterr().err
