"""Every kind of harm in a file, over every verb that reads such a file: a sentence, in little time.

A traceback, a hang, much memory, a line of another's on the terminal, a copy of what a link leads
to and code of another's that runs all fail.
"""

import io
import json
import os
import pickle
import re
import shutil
import tarfile
import tempfile
import zipfile
from functools import partial
from pathlib import Path
from time import process_time

import polars as pl
import pytest

from baselines.neural.training.photographs import photograph_paths
from benchmark.datasets.dataset import open_dataset
from benchmark.errors import UsageError
from faults.fuzzing.target import peak_bytes
from support.bench.command import bench
from support.bench.reading_verbs import READS
from support.files.hostile_files import HEADERS, MakesFolder, bomb, png, tar_of
from support.networks.tiny_checkpoint import write_checkpoint

DEEP, LONG = 20_000, "x" * 140_000
STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
POINTS = ((0.1, 30.0), (0.2, 32.0), (0.4, 35.0), (0.8, 38.0))


def table(*rows, header="bpp,psnr"):
    return "\n".join([header, *(",".join(map(str, row)) for row in rows)])


CURVES = {
    "deep.json": "[" * DEEP, "twice.json": '{"bpp": [0.1], "bpp": [0.2], "psnr": [30]}',
    "empty-lists.json": '{"results": {"bpp": [], "psnr": []}}', "empty-list.json": "[]",
    "nan.json": '{"results": {"bpp": [NaN], "psnr": [30]}}',
    "huge.json": '{"results": {"bpp": [1e999], "psnr": [30]}}',
    "lists-of-lists.json": '{"results": {"bpp": [[1]], "psnr": [{}]}}',
    "forged.json": '{"name": "x\\nyes      Are the bits real? all",'
                   ' "results": {"bpp": [1, 2], "psnr": [1, 2]}}',
    "empty.csv": "", "header.csv": "bpp,psnr\n", "cell.csv": table((0.1, LONG)),
    "null.csv": "bpp,psnr\n0.1,\0\n", "no-text.csv": b"\xff\xfe\x00",
    "twice.csv": table(*((*p, p[1]) for p in POINTS), header="bpp,psnr,psnr"),
    "infinite.csv": table((0.1, "inf")),
    "psnr.csv": table(*((bpp, f"1e30{n}") for n, (bpp, _) in enumerate(POINTS, 5))),
    "ms-ssim.csv": table(*((b, v) for (b, _), v in zip(POINTS, (-400000, 2, 3, 4), strict=True)),
                         header="bpp,ms_ssim"),
    "columns.csv": ",".join(map(str, range(50_000))), "wide.md": "|" * 100_000,
}  # fmt: skip
OF_CURVES = {
    "bd": ("bd", "{}", "sound.csv"), "bd, second": ("bd", "sound.csv", "{}"),
    "explain": ("explain", "{}", "--against", "jpeg", "--dataset", "photos"),
    "published add": ("published", "add", "{}", "--system", "X", "--dataset", "photos"),
    "published compare": ("published", "compare", "{}", "--dataset", "photos"),
    "review": ("review", "{}", "--out", "out"),
    "report": ("report", "--dataset", "photos", "--out", "out", "--published", "{}"),
}  # fmt: skip
TOMLS = {
    "deep": "a = " + "[" * DEEP, "dotted": "a" + ".a" * 30_000 + " = 1",
    "twice": "name = 'a'\nname = 'b'", "no text": b"\xff", "empty": "",
    "infinite": "name = 'x'\nscript = 'x.py'\ntimeout_seconds = inf",
}  # fmt: skip
OF_TOMLS = {
    "worker check": ("worker", "check", "{}"),
    "worker setup": ("worker", "setup", "{}"),
    "run": ("run", "--codecs", "worker:{}", "--dataset", "photos"),
    "plan": ("plan", "--codecs", "worker:{}", "--dataset", "photos"),
}
OF_PACKS = {
    "review": ("review", "{}", "--out", "out"),
    "audit pack": ("audit", "pack", "{}"),
    "pack import": ("pack", "import", "{}", "--results", "other"),
    "run": ("run", "--codecs", "jpeg", "--dataset", "photos", "--packs", "{}"),
}


JSONS = {name: CURVES[f"{name}.json"] for name in ("deep", "twice")}
JSONS |= {"nan": "[NaN]", "no meaning": '{"format": 1e999, "run": null, "codecs": [[]]}'}
JSONS["no text"] = b"\xff"
CSVS = {"cell": table((0.1, LONG)), "twice": "file,file\na,b", "no text": b"\xff"}
SHARDS = {"head": b"PAR1" + b"\x15\x04" * 200 + b"PAR1", "steering": b"\xff\xfe\x00\x1b[2J" * 50}
PICTURES = {"4 gigapixels": png(1, 65_535, 65_535), "without its last rows": png(3, 40, 48)}
SECRET = b'{"secret": "of the user"}'  # what a link leads to may be of the kind that is read
FORMS = {  # of what is in the place of a file, whatever is read there
    "secret": lambda path: path.symlink_to(Path("secret").absolute()),  # before what stays
    "pipe": os.mkfifo,
    "kernel": lambda path: path.symlink_to("/proc/self/pagemap"),
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "itself": lambda path: path.symlink_to(path),
    "folder": Path.mkdir,
    "empty": Path.touch,
    "hole": lambda path: (path.touch(), os.truncate(path, 1 << 36)),
    "pickle": lambda path: path.write_bytes(pickle.dumps(MakesFolder("PWNED"))),
    "torch": bomb,
    "tar": lambda path: tar_of(path, {"rows.parquet": b"PAR1"}, HEADERS["one long number"]),
}
CRDR = "ours:beta=0:checkpoint=ours.safetensors"
WORDS = READS | {
    "report": ("report", "--results", "results", "--metrics", "psnr", "--out", "out"),
    "merge": ("merge", "results", "--into", "merged"),
    "figures rd": ("figures", "rd", "x.toml", "--out", "out"),
    "train": ("train", "--recipe", "x.toml", "--data", "photos", "--out", "trained", "--check"),
    "run": ("run", "--codecs", "jpeg", "--dataset", "photos", "--metrics", "psnr"),
    "folder": ("run", "--codecs", "folder:path=sent", "--dataset", "photos", "--metrics", "psnr"),
    "encode": ("encode", "photos/0.png", "a.crdr", "--codec", CRDR),
    "decode": ("decode", "a.crdr", "decoded.png"),
    "decode jpeg": ("decode", "a.jpg", "decoded.png"),
    "import": ("checkpoint", "import", "crdr.pth.tar"),
}
PLACED = {  # where a verb finds a file, what it may be beside `FORMS`, and the verbs
    "{}/runs/x.json": (JSONS, "doctor", "report", "merge"),
    "{}/per_image/strange.parquet": (SHARDS, "report", "merge"),
    "{}/streams/ab/" + 32 * "ab": (SHARDS, "doctor", "merge"),
    "{}/features/a/b.npy": ({}, "report", "merge"),
    "{}/sets/x.parquet": (SHARDS, "report", "doctor"),
    "{}/README.md": ({}, "report", "merge"),
    "results/strange": ({}, "report", "doctor"),
    "results/published/a.json": (JSONS, "published list"),
    "out/report.json": (JSONS, "report"),
    "x.toml": (TOMLS, "figures rd", "train"),
    "sent/sizes.csv": (CSVS, "folder"),
    "photos/strange.png": (PICTURES, "run"),
    "pack.tar": ({}, "pack import"),
    "ours.safetensors": ({}, "encode"),
    "ours.json": (JSONS, "encode"),
    "a.crdr": (SHARDS, "decode"),
    "a.jpg": (SHARDS, "decode jpeg"),
    "crdr.pth.tar": ({}, "import"),
}


def deep_tar(path):
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("d/" * 500 + "x.csv"))


def zip_bytes(name, text):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text)
    return out.getvalue()


PACKS = {
    "text.tar": lambda path: tar_of(path, {"rows.parquet": LONG.encode()}), "folders.tar": deep_tar,
    "cut.zip": zip_bytes("a.csv", "bpp,psnr\n" * 99)[:60],
    "damaged.zip": zip_bytes("a.csv", table(*POINTS)).replace(b"bpp", b"bbb"),
    "deep.zip": zip_bytes("d/" * 1500 + "a.csv", table(*POINTS)),
    "outside.zip": zip_bytes("../../a.csv", table(*POINTS)),
}  # fmt: skip


def attack(words, file=""):
    began, memory = process_time(), peak_bytes()
    result = bench(*(word.format(file) for word in words))
    assert process_time() - began < 20
    assert peak_bytes() - memory < 1 << 30
    assert result.returncode in (0, 1, 2)
    message = result.stdout + result.stderr
    assert not any(line.startswith("yes      Do the streams") for line in message.splitlines())
    assert "Traceback" not in message
    assert not STEERS.search(message)
    return result


def written(name, content):
    if callable(content):
        content(Path(name))
    else:
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return name


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("verb", OF_CURVES)
def test_a_curve_of_any_harm_is_a_sentence(work, verb, name):
    written("sound.csv", table(*POINTS))
    attack(OF_CURVES[verb], written(name, CURVES[name]))


@pytest.mark.parametrize("name", TOMLS)
@pytest.mark.parametrize("verb", OF_TOMLS)
def test_a_contender_of_any_harm_is_refused(work, verb, name):
    assert attack(OF_TOMLS[verb], written("x.toml", TOMLS[name])).returncode == 2


@pytest.mark.parametrize("name", PACKS)
@pytest.mark.parametrize("verb", OF_PACKS)
def test_a_pack_of_any_harm_is_a_sentence(work, verb, name, tmp_path, monkeypatch):
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "a" / "b"))
    attack(OF_PACKS[verb], written(name, PACKS[name]))
    assert [*tmp_path.rglob("a.csv")] == []


@pytest.mark.filterwarnings("ignore::benchmark.errors.DamagedResults")
@pytest.mark.parametrize(("place", "verb"), [
    (place, verb) for place, (_, *verbs) in PLACED.items() for verb in verbs
])  # fmt: skip
def test_a_file_of_any_harm_where_a_verb_looks_for_one_is_a_sentence(work, place, verb):
    contents = PLACED[place][0]
    Path("secret").write_bytes(SECRET)
    if verb == "encode":
        write_checkpoint(Path("ours.safetensors"))
    path = Path(place.format(work.parent))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    makers = FORMS | {name: partial(written, content=content) for name, content in contents.items()}
    if path.suffix == ".safetensors":  # the sha256 of a file that the user names takes its time
        del makers["hole"], makers["kernel"]
    for make in makers.values():
        make(path)
        attack(WORDS[verb])
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        assert not Path("PWNED").exists()
    for entry in Path().rglob("*"):
        copied = entry.name != "secret" and entry.is_file() and SECRET in entry.read_bytes()
        assert not copied, entry


@pytest.mark.parametrize("name", [name for name in PACKS if name.endswith(".tar")])
def test_a_pack_of_any_harm_leaves_the_other_packs_of_a_site(work, name):
    os.mkdir("submissions")
    shutil.copy("pack.tar", "submissions/b.tar")
    written("submissions/a.tar", PACKS[name])
    words = ("site", "results", "--submissions", "submissions", "--metrics", "psnr", "--json")
    records = json.loads(attack(words).stdout)["records"]
    systems = {(record["pack"], record["system"]) for record in records}
    assert systems >= {("b", "jpeg"), ("a.tar", "")}


@pytest.mark.filterwarnings("ignore::benchmark.errors.DamagedResults")
@pytest.mark.parametrize("verb", ["report", "rank", "merge"])
def test_a_shard_of_one_column_is_left_out(work, verb):
    for shard in work.iterdir():
        shard.unlink()
    pl.DataFrame({"codec": ["jpeg"]}).write_parquet(work / ("a" * 32 + ".parquet"))
    attack(WORDS[verb])


def test_a_folder_400_deep_is_reviewed_to_a_bound_and_otherwise_refused(work):
    os.mkdir("deep")
    place = os.open("deep", os.O_RDONLY)
    for _ in range(400):
        os.mkdir("d", dir_fd=place)
        inner = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(place)
    written("deep/a.csv", table(*POINTS))
    result = attack(("review", "{}", "--out", "out"), "deep")
    assert " 64 " in result.stdout
    with pytest.raises(UsageError, match=" 64 "):
        open_dataset("./deep")
    with pytest.raises(UsageError, match=" 64 "):
        photograph_paths([Path("deep")])
