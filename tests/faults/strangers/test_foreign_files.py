"""Files of strangers: pipes, links, tars, torch files, downloads, read within limits or refused."""

import io
import os
import tarfile

import numpy as np
import pytest
import torch

from baselines.neural.crdr.authors import read_author_weights
from baselines.neural.training.run import load_state, restoring
from benchmark.datasets import download
from benchmark.errors import StoreError, Unavailable, UsageError
from benchmark.rows.store import Store
from benchmark.rows.streams import FeatureFolder, ImageFeatures
from benchmark.system import foreign_files
from benchmark.system.backbone import ALEXNET
from support.files.file_server import served
from support.files.hostile_files import HEADERS, bomb, extended, tar_of
from support.processes import in_a_process

# Regular files


def test_only_regular_files_within_their_folder_are_opened(tmp_path):
    inside = tmp_path / "theirs"
    (inside / "real").mkdir(parents=True)
    (inside / "a").write_bytes(b"12345")
    (inside / "linked").symlink_to("a")
    (tmp_path / "secret").write_bytes(b"secret")
    (inside / "away").symlink_to(tmp_path / "secret")
    (inside / "folder_away").symlink_to(tmp_path)
    (inside / "zero").symlink_to("/dev/zero")
    os.mkfifo(inside / "pipe")
    assert foreign_files.read_regular(inside / "a", 5, within=inside) == b"12345"
    assert foreign_files.read_regular(inside / "linked", 5, within=inside) == b"12345"
    assert foreign_files.read_regular(inside / "away", 10) == b"secret"  # the user named it
    for name, reason in {
        "away": "link", "folder_away/secret": "link", "zero": "link",
        "pipe": "regular", "real": "regular",
    }.items():  # fmt: skip
        with pytest.raises(OSError, match=reason):
            foreign_files.open_regular(inside / name, within=inside)
    with pytest.raises(OSError, match=r"\b4\b"):
        foreign_files.read_regular(inside / "a", 4, within=inside)


def pipe(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


def test_a_pipe_in_the_place_of_a_file_of_results_is_refused_by_name(work, tmp_path):
    results, store = work.parent, Store(work.parent)
    stream = next(iter(store.streams()))
    with pytest.raises(StoreError, match=f"{stream.name}.*regular"):
        Store(pipe(stream).parents[2]).stream(stream.name)
    pipe(results / "runs" / "x.json")
    with pytest.raises(StoreError, match=r"x\.json.*regular"):
        store.record("x")
    pipe(results / "per_image" / ".shipped-a.parquet.sha256")
    (shard,) = results.glob("per_image/*.parquet")
    shard.rename(shard.with_name("shipped-a.parquet"))
    with pytest.raises(StoreError, match=r"shipped-a.*regular"):
        store.table()
    # Features that are a pipe count as none.
    folder = FeatureFolder(tmp_path)
    features = ImageFeatures("space/1", "a" * 64, np.zeros((2, 3), np.float32))
    folder.keep(features)
    assert folder.read(features.protocol, features.pixels_sha256) is not None
    (path,) = folder.folder.glob("*/*/*.npy")
    pipe(path)
    assert folder.read(features.protocol, features.pixels_sha256) is None
    assert not path.exists()


# Tars


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS.keys())
def test_a_tar_with_hostile_extended_headers_is_refused(tmp_path, header):
    path = tar_of(tmp_path / "pack.tar", {"rows.parquet": b"PAR1"}, header)
    code = "import sys\nfrom pathlib import Path\nfrom benchmark.errors import BadPack\n"
    code += "from benchmark.rows.packs.pack import open_pack\n"
    code += "try:\n    open_pack(Path(sys.argv[1]))\nexcept BadPack as bad:\n    print(bad)"
    message = in_a_process(code, path)
    # Pythons differ in whether they pass over an extended header without a record
    reasons = ["uncompressed tar"]
    if header is HEADERS["a number that does not end"]:
        reasons.append("parquet")
    assert any(reason in message for reason in reasons)
    assert message.count("\n") == 1


def test_a_name_of_a_tar_is_shown_in_part():
    """Of bytes that are no text, each takes six characters."""
    member = tarfile.TarInfo("\udcff" * 255)
    member.size = 1 << 20
    header = member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    with pytest.raises(foreign_files.BadTar, match="archive") as refusal:
        list(foreign_files.files_of_tar(io.BufferedReader(io.BytesIO(header)), pytest.fail))
    assert len(str(refusal.value)) < 500


def contents_of(path, refuse=pytest.fail):
    with path.open("rb") as file:
        members = list(foreign_files.files_of_tar(file, refuse))
        return {m.name: os.pread(file.fileno(), m.size, m.offset_data) for m in members}


def test_a_tar_that_others_write_is_read(tmp_path):
    """The names of bsdtar and GNU tar, beyond a header's 100 characters, are understood."""
    for layout in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        path = tmp_path / f"{layout}.tar"
        names = [f"{'n' * 60}/{'s' * 70}", "short", "ümlaut"]
        with tarfile.open(path, "w", format=layout) as tar:
            for name in names:
                info = tarfile.TarInfo(name)
                info.size, info.mtime = 5, 1.5 if layout == tarfile.PAX_FORMAT else 1
                tar.addfile(info, io.BytesIO(name[:5].encode()[:5].ljust(5)))
        assert contents_of(path) == {name: name[:5].encode()[:5].ljust(5) for name in names}
    assert foreign_files.MAX_EXTENSION_BYTES < 10_000


def test_a_hard_link_is_its_file_and_other_members_are_named_with_the_reason(tmp_path):
    """GNU tar writes the second of two hard-linked files as a link, without its bytes."""
    kinds = {"late": tarfile.LNKTYPE, "soft": tarfile.SYMTYPE, "pipe": tarfile.FIFOTYPE}
    kinds |= {"folder": tarfile.DIRTYPE, "hard": tarfile.LNKTYPE, "sparse": tarfile.GNUTYPE_SPARSE}
    path, reasons = tmp_path / "a.tar", {}
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("first")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"data"))
        for name, kind in kinds.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "sparse" if name == "late" else "first"
            tar.addfile(info)
    assert contents_of(path, reasons.__setitem__) == {"first": b"data", "hard": b"data"}
    words = {"late": "link", "soft": "link", "pipe": "regular", "sparse": "sparse"}
    assert reasons.keys() == words.keys()
    assert [name for name in words if words[name] not in reasons[name]] == []


# Torch files


@pytest.mark.parametrize("zeros", [0, 66_500, 200_000])
def test_a_zip_is_judged_where_torch_begins_to_read_it(tmp_path, zeros):
    with pytest.raises(Unavailable, match=r"compressed|damaged"):
        foreign_files.load_tensors(bomb(tmp_path / "w.pth", zeros))


def test_every_reader_of_torch_files_refuses_what_unpacks_to_more_than_itself(tmp_path):
    path = bomb(tmp_path / "state.pt", 66_500)
    with pytest.raises(Unavailable, match=r"state\.pt"):
        ALEXNET.load(path, "cpu", torch.float32)
    with pytest.raises(Unavailable, match=r"state\.pt"):
        read_author_weights(path)
    with pytest.raises(UsageError, match=r"state\.pt"):
        load_state(tmp_path, torch.device("cpu"))
    torch.save({"a": torch.zeros(1).expand(1 << 40)}, tmp_path / "w.pth")
    with pytest.raises(Unavailable, match="elements"):
        foreign_files.load_tensors(tmp_path / "w.pth")
    path = tar_of(tmp_path / "w.pth", {"a": b"b"}, prefix=extended(b"x", b"9" * 160_000))
    with pytest.raises(Unavailable, match="2017"):
        foreign_files.load_tensors(path)


def test_a_state_that_lacks_a_part_is_named(tmp_path):
    torch.save({"step": 1}, tmp_path / "state.pt")
    state = load_state(tmp_path, torch.device("cpu"))
    with pytest.raises(UsageError, match=r"state\.pt"), restoring(tmp_path):
        state["index"]


# Downloads


def test_a_download_without_a_length_ends_at_the_expected_size(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "MAX_UNKNOWN_BYTES", 3 << 20)
    with served(monkeypatch) as server:
        server.files["/w.pth"], server.says_length = bytes(64 << 20), False
        for size, limit in ((1 << 20, 1 << 20), (None, 3 << 20)):
            with pytest.raises(Unavailable, match=f"{limit} bytes"):
                download.fetch(f"{server.url}/w.pth", tmp_path / "w.pth", size)
            assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 0
