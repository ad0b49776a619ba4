"""Packs and checkpoints from strangers: no code runs, nothing grows or is written elsewhere."""

import tarfile
from pathlib import Path

import polars as pl
import pytest

from benchmark.errors import BadPack, UnknownName, UsageError
from benchmark.measure.cells import plan
from benchmark.measure.request import parse_points
from benchmark.measure.select import select
from benchmark.registry import CODECS
from benchmark.rows.codecs import ALL_CODECS
from benchmark.rows.packs.contents import export_pack, import_pack
from benchmark.rows.packs.pack import MAX_ROWS_BYTES, open_pack
from benchmark.rows.store import Store
from benchmark.spec import CodecSpec, load_codec
from support.codecs.files import keep, sources_in
from support.files.hostile_files import tar_of
from support.files.noise import noise_images
from support.packs.honest_pack import edit_rows

JPEG = CodecSpec("jpeg", ())


@pytest.fixture(scope="module")
def author_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("strangers")
    sources = sources_in(noise_images(folder / "photos", [(40, 30)]))
    contenders = select(["jpeg"], parse_points(["jpeg.quality=30,50"])).contenders
    store = keep(Store(folder / "test"), plan(contenders, "test", sources))
    export_pack(folder / "pack", [store], [JPEG], ())
    export_pack(folder / "pack.tar", [store], [JPEG], ())
    return folder


def files(pack):
    return {p.relative_to(pack).as_posix(): p.read_bytes() for p in pack.rglob("*") if p.is_file()}


def write_files(folder, content):
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "tar"])
def test_rows_that_claim_gigabytes_are_not_read(author_folder, packed, tmp_path):
    name, claimed = "rows.parquet", MAX_ROWS_BYTES + 1
    path = write_files(tmp_path / "pack", files(author_folder / "pack"))
    if packed:
        sound = files(path)
        sound[name] = sound.pop(name)  # the hostile one comes last
        path = tar_of(tmp_path / "pack.tar", sound)
        with tarfile.open(path) as tar:
            member = tar.getmember(name)
        member.size = claimed
        with path.open("r+b") as file:
            file.seek(member.offset)
            file.write(member.tobuf())
            file.truncate(member.offset + 512 + claimed + 20_000)  # a hole: takes no room
    else:
        with (path / name).open("r+b") as file:
            file.truncate(claimed)
    with pytest.raises(BadPack, match=f"{name}.*{MAX_ROWS_BYTES} bytes"):
        open_pack(path)


def test_rows_that_unpack_to_gigabytes_are_not_read(author_folder, tmp_path):
    """A column of one value that is repeated takes next to nothing in a file."""
    pack = write_files(tmp_path / "pack", files(author_folder / "pack"))
    first = pl.read_parquet(pack / "rows.parquet")[:1]
    first.select(pl.all().repeat_by(400_000).explode()).write_parquet(pack / "rows.parquet")
    assert (pack / "rows.parquet").stat().st_size < MAX_ROWS_BYTES
    with pytest.raises(BadPack, match=r"memory|200000"):
        open_pack(pack)


def test_a_row_or_a_member_twice_is_refused(author_folder, tmp_path):
    """The last of two would count, and the first be shown to nobody."""
    pack = write_files(tmp_path / "pack", files(author_folder / "pack"))
    edit_rows(pack, lambda rows: rows.append({**rows[1], "image": "other.png"}))
    with pytest.raises(BadPack, match=r"row 3 .*jpeg quality=50"):
        open_pack(pack)
    members = [*files(author_folder / "pack").items(), ("rows.parquet", b"")]
    with pytest.raises(BadPack, match=r"twice\.tar .*rows\.parquet"):
        open_pack(tar_of(tmp_path / "twice.tar", members))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_members_that_are_no_files_are_refused_by_name(kind, tmp_path):
    path = tmp_path / "pack.tar"
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("rows.parquet")
        info.type, info.linkname = kind, "../../secret"
        tar.addfile(info)
    with pytest.raises(BadPack, match=r"rows\.parquet: .*(link|file)"):
        open_pack(path)


def test_members_elsewhere_are_never_written(author_folder, tmp_path):
    path = tmp_path / "in" / "pack.tar"
    path.parent.mkdir()
    prefixes, members = ("../../", "/tmp/rdrbench-escaped/", ""), files(author_folder / "pack")
    tar_of(path, {prefix + name: members[name] for name in members for prefix in prefixes})
    pack = open_pack(path)
    assert [pack.read(stream) for stream in pack.rows.values()]
    import_pack(pack, tmp_path / "results")
    assert {entry.name for entry in tmp_path.iterdir()} == {"in", "results"}
    assert not Path("/tmp/rdrbench-escaped").exists()


@pytest.mark.parametrize(("codec", "variant"), [
    ("subprocess:Popen", "args=touch"),
    ("command", r"decode=touch {in} {out}:encode=cp {in} {out}:values=1"),
    ("./mine.py:Mine", ""),
])  # fmt: skip
def test_a_pack_naming_what_to_run_is_not_run(author_folder, codec, variant, tmp_path, monkeypatch):
    for name, ours in (("CODECS", {"jpeg": CODECS["jpeg"]}), ("ALIASES", {})):  # of "all", a few
        monkeypatch.setattr(f"benchmark.measure.select.{name}", ours)
    place = write_files(tmp_path / "pack", files(author_folder / "pack"))
    edit_rows(place, lambda rows: [row.update(codec=codec, variant=variant) for row in rows])
    pack = open_pack(place)
    with pytest.raises(UsageError, match=codec):
        pack.select_codecs(ALL_CODECS)
    selection = select(["all"], {}, [pack])
    specs = {contender.spec for contender in selection.contenders}
    assert CodecSpec.parse(codec, variant) not in specs
    assert any(name.startswith(codec) for name, *_ in selection.skipped)
    if codec.startswith("subprocess"):
        with pytest.raises(UnknownName, match="'subprocess:Popen'"):
            load_codec(CodecSpec.parse(codec, variant))
