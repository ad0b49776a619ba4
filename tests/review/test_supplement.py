"""Supplements of strangers: what is copied, what is left out, and what is refused."""

import gzip
import os
import tarfile
import zipfile

import pytest

from benchmark.errors import UsageError
from benchmark.review.supplement import open_supplement
from benchmark.system import unpacked
from support.files.hostile_files import tar_of

CURVE = b"bpp,psnr\n.1,30\n.2,32\n"


def opened(path, tmp_path):
    into = tmp_path / f"into-{path.name}"
    into.mkdir()
    result = open_supplement(path, into)
    assert not [*tmp_path.rglob("evil*")]
    assert not [place for place in into.rglob("*") if place.is_symlink()]
    return result


def zip_of(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


MEMBERS = {"ours.csv": CURVE, "../evil": b"1", "/tmp/evil": b"2", "a/../../evil": b"3"}


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_names_that_lead_out_of_an_archive_are_left_out(tmp_path, kind):
    path = tmp_path / f"sent.{kind}"
    (zip_of if kind == "zip" else tar_of)(path, MEMBERS)
    if kind == "tar.gz":
        path.write_bytes(gzip.compress(path.read_bytes()))
    result = opened(path, tmp_path)
    assert [curve.name for curve in result.curves] == ["ours"]
    assert {entry.what for entry in result.left_out} == MEMBERS.keys() - {"ours.csv"}


def test_links_and_devices_of_archives_and_folders_are_not_followed(tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_bytes(CURVE)
    path, folder = tmp_path / "sent.tar", tmp_path / "folder"
    with tarfile.open(path, "w") as tar:
        for name, kind in (("l.csv", tarfile.SYMTYPE), ("d.csv", tarfile.CHRTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, str(secret)
            tar.addfile(member)
    with pytest.raises(UsageError, match=r"sizes\.csv"):
        opened(path, tmp_path)
    folder.mkdir()
    (folder / "l.csv").symlink_to(secret)
    (folder / "up").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe.csv")
    with pytest.raises(UsageError, match="link"):
        opened(folder, tmp_path)
    linked = zip_of(tmp_path / "linked.zip", {"ours.csv": CURVE})
    with zipfile.ZipFile(linked, "a") as file:
        info = zipfile.ZipInfo("l.csv")
        info.external_attr = 0o120777 << 16
        file.writestr(info, str(secret))
    assert [entry.what for entry in opened(linked, tmp_path).left_out] == ["l.csv"]


def test_bombs_and_endless_lists_of_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacked, "MAX_BYTES", 1 << 20)
    bomb = zip_of(tmp_path / "bomb.zip", {f"{n}.csv": bytes(1 << 19) for n in range(4)})
    with pytest.raises(UsageError, match="unpacked"):
        opened(bomb, tmp_path)
    packed = tmp_path / "bomb.tar.gz"
    packed.write_bytes(gzip.compress(bytes(1 << 21)))
    with pytest.raises(UsageError, match="unpacked"):
        opened(packed, tmp_path)
    monkeypatch.setattr(unpacked, "MAX_FILES", 3)
    with pytest.raises(UsageError, match=" 3 files"):
        opened(zip_of(tmp_path / "many.zip", {f"{n}.csv": CURVE for n in range(4)}), tmp_path)


def test_what_cannot_be_read_is_left_out_with_its_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacked, "MAX_FOLDER_DEPTH", 3)
    whys = {
        "words.csv": "words.csv", "deep": " 3 ",
        "bent": "rows.parquet: ",
        "results/kodak/per_image": "`bench pack export`",
    }  # fmt: skip
    folder = tmp_path / "sent"
    for name, content in {
        "ours.csv": CURVE, "words.csv": b"some,words\n1,2\n", "notes.json": b"{}",
        "a/b/c/deep/x": b"", "bent/rows.parquet": b"{}",
        "results/kodak/per_image/x.parquet": b"PAR1",
    }.items():  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    result = opened(folder, tmp_path)
    assert [curve.name for curve in result.curves] == ["ours"]
    assert {entry.what for entry in result.left_out} == whys.keys()
    assert all(whys[entry.what] in entry.why for entry in result.left_out), result.left_out


def test_members_of_a_zip_that_are_not_read_are_left_out_and_a_larger_form_is_refused(tmp_path):
    path = zip_of(tmp_path / "sent.zip", {"ours.csv": CURVE, "folder/": b"", "secret.csv": CURVE})
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("small.csv", CURVE, zipfile.ZIP_BZIP2)
    data = bytearray(path.read_bytes())
    data[data.rfind(b"PK\1\2", 0, data.rfind(b"PK\1\2")) + 8] |= 1  # flags of the last but one
    path.write_bytes(data)
    assert {entry.what: entry.why for entry in opened(path, tmp_path).left_out} == {
        "secret.csv": "it is encrypted", "small.csv": "its compression is not supported"
    }  # fmt: skip
    with zipfile.ZipFile(path, "a") as file:
        file.comment = b"PK\6\7"
    with pytest.raises(UsageError, match="65,535"):
        open_supplement(path, tmp_path / "again")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\3\4rest", b"\x1f\x8b broken"])
def test_what_is_no_archive_is_one_sentence(tmp_path, content):
    path = tmp_path / "sent.zip"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"sent\.zip (cannot|holds)"):
        opened(path, tmp_path)
    with pytest.raises(UsageError, match="No such file"):
        open_supplement(tmp_path / "absent.zip", tmp_path / "into" / "x")
