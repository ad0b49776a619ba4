"""Packs and checkpoints from strangers: no code runs, nothing grows or is written elsewhere."""

import io
import json
import re
import tarfile
from pathlib import Path

import pytest

from benchmark.errors import BadPack, BenchError, UnknownName, UsageError
from benchmark.measure.cells import Conditions
from benchmark.measure.request import Request
from benchmark.measure.select import open_matrix, select
from benchmark.measure.workbench import Workbench
from benchmark.rows.codecs import EVERY
from benchmark.rows.packs.contents import export_pack, import_pack
from benchmark.rows.packs.pack import LARGEST_INDEX_BYTES, open_pack
from benchmark.spec import CodecSpec, load_codec
from support.files.noise import noise_images

JPEG = CodecSpec("jpeg", ())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the files of a pack of two streams."""

    folder = tmp_path_factory.mktemp("strangers")
    photos = noise_images(folder / "photos", [(40, 30)])
    request = Request(
        dataset=str(photos), results=folder / "results", metrics=("psnr",),
        codecs=("jpeg",), points=("jpeg.quality=30,50",), jobs=1,
    )  # fmt: skip
    matrix = open_matrix(request)
    bench = Workbench(Conditions.of(request, matrix.store.folder, jobs=1))
    matrix.store.begin("r", {})
    for cell in matrix.cells:
        done = bench.carry_out(cell)
        matrix.store.keep(done.stream)
        matrix.store.append([done.row])
    export_pack(folder / "pack", [matrix.store], [JPEG], ())
    export_pack(folder / "pack.tar", [matrix.store], [JPEG], ())
    return folder


def files(pack):
    return {p.relative_to(pack).as_posix(): p.read_bytes() for p in pack.rglob("*") if p.is_file()}


def written(folder, content):
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def taken_in(path, results):
    """Read all of a pack; return whether it can be imported."""
    try:
        pack = open_pack(path)
        pack.to_run(EVERY)
        for stream in pack.streams.values():
            pack.read(stream)
        import_pack(pack, results, [])
    except BenchError as error:
        if "\n" in str(error):
            raise
        return False
    return True


def spoilt(whole, place, **parts):
    """Return a copy of the pack with other texts in its `index` or its `rows`."""
    content = files(whole / "pack")
    for part, change in parts.items():
        name = {"index": "pack.json", "rows": "rows.csv"}[part]
        content[name] = change(content[name].decode()).encode()
    return written(place, content)


HOSTILE = {  # which text, a pattern, and what takes its place
    "json deeper than the stack": ("index", r"(?s).*", "[" * 200_000),
    "nothing but zeros": ("index", r"(?s).*", "\0" * 1000),
    "an info of other kinds": ("index", '"licence": "', '"licence": ["x"], "l": "'),
    "a revision of text": ("index", r'"revision": \d+', '"revision": "1"'),
    "a number of a million digits": ("rows", ",30.0,", f",3{'0' * 10**6},"),
    "a field of a million characters": ("rows", "0.png", "0" * 10**6),
    "an image without height": ("rows", r"\b30,False", "0,False"),
    "a height that is no 64-bit number": ("rows", r"\b30,False", f"{10**30},False"),
    "a dataset that leads elsewhere": ("rows", "photos-[0-9a-f]{6}", "../x"),
    "a stream that leads elsewhere": ("rows", r"\b[0-9a-f]{64}\b", "../../x"),
}


@pytest.mark.parametrize("how", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_pack_is_one_sentence(whole, how, tmp_path):
    part, pattern, other = how

    def change(text):
        changed = re.sub(pattern, lambda found: other, text)
        assert changed != text, "the test changes nothing"
        return changed

    assert not taken_in(spoilt(whole, tmp_path / "pack", **{part: change}), tmp_path / "results")
    assert {path.name for path in tmp_path.iterdir()} <= {"pack", "results"}


@pytest.mark.parametrize("name", ["pack.json", "rows.csv"])
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "tar"])
def test_an_index_that_claims_gigabytes_is_not_read(whole, name, packed, tmp_path):
    claimed = LARGEST_INDEX_BYTES + 1
    path = written(tmp_path / "pack", files(whole / "pack"))
    if packed:
        path = tmp_path / "pack.tar"
        sound = files(whole / "pack")
        with tarfile.open(path, "w") as tar:
            for one in (*(sound.keys() - {name}), name):  # the hostile one comes last
                member = tarfile.TarInfo(one)
                member.size = len(sound[one])
                tar.addfile(member, io.BytesIO(sound[one]))
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
    with pytest.raises(BadPack, match=f"{name}, or one of more than {LARGEST_INDEX_BYTES} bytes"):
        open_pack(path)


def test_a_stream_or_a_member_twice_is_refused(whole, tmp_path):
    """The last of two would count, and the first be shown to nobody."""
    content = files(whole / "pack")
    header, first, second = content["rows.csv"].decode().splitlines()
    renamed = second.replace(".png", "-2.png")
    content["rows.csv"] = "\n".join([header, first, second, renamed, ""]).encode()
    with pytest.raises(BadPack, match=r"line 4 has jpeg quality=50 of the picture of line 3 a sec"):
        open_pack(written(tmp_path / "pack", content))
    twice = tmp_path / "twice.tar"
    with tarfile.open(twice, "w") as tar:
        for name, data in [*files(whole / "pack").items(), ("rows.csv", b"")]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    with pytest.raises(BadPack, match=r"rows\.csv twice"):
        open_pack(twice)


LINKS = {
    "a link to a file of the user": (tarfile.SYMTYPE, "pack.json", "/etc/passwd"),
    "a link out of the tar": (tarfile.LNKTYPE, "rows.csv", "../../secret"),
    "a device": (tarfile.CHRTYPE, "pack.json", ""),
    "a pipe, which would block": (tarfile.FIFOTYPE, "pack.json", ""),
}


@pytest.mark.parametrize("member", LINKS.values(), ids=LINKS.keys())
def test_members_that_are_no_files_are_refused_by_name(whole, member, tmp_path):
    kind, name, target = member
    path = tmp_path / "pack.tar"
    with tarfile.open(path, "w") as tar:
        for one, data in files(whole / "pack").items():
            info = tarfile.TarInfo(one)
            info.size = len(data)
            if one == name:
                info.type, info.linkname, info.size = kind, target, 0
                tar.addfile(info)
            else:
                tar.addfile(info, io.BytesIO(data))
    with pytest.raises(BadPack, match=f"{name}: it is (a link|no regular file)"):
        open_pack(path)


def test_members_elsewhere_are_never_written(whole, tmp_path):
    path = tmp_path / "in" / "pack.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w") as tar:
        for one, data in files(whole / "pack").items():
            for prefix in ("../../", "/tmp/rdrbench-escaped/", ""):
                info = tarfile.TarInfo(prefix + one)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    assert taken_in(path, tmp_path / "results")
    assert {entry.name for entry in tmp_path.iterdir()} == {"in", "results"}
    assert not Path("/tmp/rdrbench-escaped").exists()


@pytest.mark.parametrize(
    ("codec", "variant"),
    [
        ("subprocess:Popen", "args=touch"),
        ("command", r"decode=touch {in} {out}:encode=cp {in} {out}:values=1"),
        ("./mine.py:Mine", ""),
    ],
)
def test_a_pack_that_names_what_to_run_is_not_run(whole, codec, variant, tmp_path):
    def renamed(text):
        reported = json.loads(text)
        reported["codecs"][0] |= {"codec": codec, "variant": variant}
        return json.dumps(reported)

    def rows(text):
        return text.replace("\njpeg,,", f"\n{codec},{variant},")

    pack = open_pack(spoilt(whole, tmp_path / "pack", index=renamed, rows=rows))
    with pytest.raises(UsageError, match=codec):
        pack.to_run(EVERY)
    selection = select(["all"], {}, [pack])
    assert CodecSpec.of(codec, variant) not in {
        contender.spec for contender in selection.contenders
    }
    assert any(name.startswith(codec) for name, *_ in selection.skipped)
    if codec.startswith("subprocess"):
        with pytest.raises(UnknownName, match="No codec 'subprocess:Popen'"):
            load_codec(CodecSpec.of(codec, variant))
