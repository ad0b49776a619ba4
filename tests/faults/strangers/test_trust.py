"""Rows, packs and folders of others that name a program or a Python file: kept, shown, never run.

The stranger's program makes a file; a test that finds it has been attacked with success.
"""

import json
import os
from pathlib import Path

import pytest

from benchmark.codec_spec import CodecSpec, names_code
from benchmark.errors import StoreError, Unavailable
from benchmark.interface.decoded import decoded
from benchmark.rows.store import Store
from benchmark.rows.trust import Code, Trust, record_trust
from support.bench.command import bench
from support.files.noise import effect_noise

SHOT = "PWNED"
PYTHON = f"""
from pathlib import Path
Path({SHOT!r}).touch()
"""


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A user's working folder, with a photograph; relative paths of rows refer to it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    effect_noise((40, 30), 50).convert("RGB").save(tmp_path / "photos" / "0.png")
    return tmp_path


def run(results, codecs="jpeg", points="jpeg.quality=30,50", *more):
    done = bench(
        "run", "--codecs", codecs, "--dataset", "photos", "--points", points,
        "--metrics", "psnr", "--jobs", 1, "--results", results, *more,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder,) = (path.parent for path in results.glob("*/per_image"))
    return Store(folder)


def evil(where):
    """Return codec and variant of a program that leaves a mark, or of a Python file that does."""
    if where == "command":
        return (
            "command",
            rf"decode=sh -c 'touch {SHOT}' {{in}} {{out}}:encode=cp {{in}} {{out}}:values=1",
        )
    if where == "base":
        return "dirac", r"base=./stranger.py\:Codec"
    return "./stranger.py:Codec", ""


KINDS = ("command", "file", "base")


def stranger(work, kind, name="theirs"):
    """Measure with jpeg, then claim another codec in one of the two rows; its stream stays."""
    (work / "stranger.py").write_text(PYTHON)
    store = run(work / name)
    codec, variant = evil(kind)
    rows = store.versions().to_pylist()
    rows[0] |= {"codec": codec, "variant": variant, "cell": "f" * 64, "psnr_db": None}
    rows[0] |= {"psnr_protocol": None}
    for path in store.folder.glob("per_image/*.parquet"):
        path.unlink()
    store.append(rows)
    return store


def forget_trust():
    """Be another user, who has trusted nothing yet."""
    (Path(os.environ["XDG_STATE_HOME"]) / "rdrbench" / "trusted.jsonl").unlink()


def nothing_ran(work):
    return not (work / SHOT).exists()


@pytest.mark.parametrize("kind", KINDS)
def test_no_verb_runs_what_merged_rows_name_and_their_numbers_are_shown(work, kind):
    theirs = stranger(work, kind)
    text = CodecSpec.of(*evil(kind)).text
    merged = bench("merge", "theirs", "--into", "mine")
    assert merged.returncode == 0
    assert f"not run  {text!r}, which 1 row merged from theirs" in merged.stderr
    name = theirs.folder.name
    assert text in {CodecSpec.of(one["codec"], one["variant"]).text
                    for one in Store(work / "mine" / name).table().to_pylist()}  # fmt: skip
    attacks = [
        ("rescore", "--dataset", "photos", "--metrics", "psnr,ssim", "--results", "mine"),
        ("run", "--codecs", "jpeg", "--dataset", "photos", "--points", "jpeg.quality=30,50",
         "--metrics", "psnr,ssim", "--verify", "--results", "mine"),
        ("report", "--page", "--results", "mine", "--dataset", "photos", "--metrics", "psnr"),
        ("figures", "paper", "--results", "mine", "--only", "crops"),
        ("export", "images", "--dataset", "photos", "--results", "mine", "--to", "out"),
        ("export", "images", "--dataset", "photos", "--results", "mine", "--to", "out",
         "--codecs", evil(kind)[0]),
        ("audit", "decode", "mine"),
        ("audit", "rows", "mine", "--dataset", "photos"),
        ("check", "--codec", evil(kind)[0].partition(":")[0].replace("./stranger.py", "command"),
         "--against", "mine", "--results", "new", "--dataset", "photos"),
    ]  # fmt: skip
    for words in attacks:
        done = bench(*words)
        assert "Traceback" not in done.stderr, (words, done.stderr)
        refused = ("--trust", "itself names what would run", "No codec of the reference")
        said = any(why in done.stderr for why in refused)
        assert done.returncode == 0 or said, (words, done.stderr)  # not a mistake of this test
        assert nothing_ran(work), words
    with pytest.raises(Unavailable, match="an origin that is not trusted"):
        decoded(work / "mine" / name, text, "0.png")
    assert nothing_ran(work)


def test_a_row_that_says_it_is_a_cell_of_the_request_is_not_run(work):
    """Keys of cells can be computed by anyone: a stranger's row may be under yours."""
    store = run(work / "mine")
    codec, variant = evil("command")
    first = store.versions().to_pylist()[0]
    store.append([first | {"codec": codec, "variant": variant, "run": "29990101T000000-0"}])
    assert bench(
        "run", "--codecs", "jpeg", "--dataset", "photos", "--points", "jpeg.quality=30,50",
        "--metrics", "psnr,ssim", "--verify", "--results", "mine",
    ).returncode in (0, 1)  # fmt: skip
    assert nothing_ran(work)


@pytest.mark.parametrize("kind", ["command", "file"])
def test_trust_names_what_runs_and_runs_it(work, kind):
    stranger(work, kind)
    bench("merge", "theirs", "--into", "mine")
    done = bench("audit", "decode", "mine", "--trust")
    assert f"runs     {CodecSpec.of(*evil(kind)).text!r}, which 1 row merged" in done.stderr
    assert not nothing_ran(work)


def test_trust_is_recorded_where_a_folder_is_merged(work):
    stranger(work, "command")
    merged = bench("merge", "theirs", "--into", "mine", "--trust")
    assert 'trusted  "command:' in merged.stderr
    bench("audit", "decode", "mine")
    assert not nothing_ran(work)


def test_trust_is_not_inherited_by_merging_twice(work):
    """Someone trusts b, which took rows of c: those of c are not run, and b's own are."""
    stranger(work, "command", "c")
    bench("merge", "c", "--into", "b")
    assert bench("merge", "b", "--into", "a", "--trust").returncode == 0
    told = bench("audit", "decode", "a")
    assert "merged from b" in told.stderr
    assert nothing_ran(work)
    again = bench("merge", "b", "--into", "a", "--trust")
    assert 'not run  "command:' in again.stderr
    assert "trusted" not in again.stderr
    bench("merge", "c", "--into", "a", "--trust")
    bench("audit", "decode", "a")
    assert not nothing_ran(work)


def test_an_interrupted_merge_has_said_where_rows_are_from_before_they_are_there(work, monkeypatch):
    stranger(work, "command", "c")

    def full(self, rows):
        raise StoreError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(Store, "add", full)
        bench("merge", "c", "--into", "b")
    bench("merge", "c", "--into", "b")
    bench("merge", "b", "--into", "a", "--trust")
    bench("audit", "decode", "a")
    assert nothing_ran(work)


def test_a_folder_that_says_it_is_trusted_is_not(work):
    theirs = stranger(work, "command")
    code = Code(theirs.versions()["run"][0].as_py(), *evil("command"))
    for name in ("trusted.jsonl", "rdrbench/trusted.jsonl", "origins/x.json"):
        path = theirs.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"from": "you", "code": [], **code._asdict()}) + "\n")
    bench("audit", "decode", "theirs")
    assert nothing_ran(work)


def test_what_the_user_measured_runs_again_here_and_not_in_another_working_folder(
    work, monkeypatch, tmp_path_factory
):
    mine = "command:decode=cp {in} {out}:encode=cp {in} {out}:values=1"
    run(work / "mine", mine, "command.q=1")
    done = bench("audit", "decode", work / "mine", "--json")
    assert json.loads(done.stdout)["table"][0]["identical"] == 1
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    done = bench("audit", "decode", work / "mine", "--json")
    assert json.loads(done.stdout)["table"] == []


def test_a_pack_with_a_program_is_imported_shown_and_not_run(work):
    mine = "command:decode=cp {in} {out}:encode=cp {in} {out}:values=1"
    store = run(work / "mine", mine, "command.q=1")
    exported = bench("pack", "export", "their.tar", "--codecs", mine, "--results", "mine")
    assert exported.returncode == 0, exported.stderr
    done = bench("pack", "import", "their.tar", "--results", "here")
    assert done.returncode == 0
    assert "not run  'command:" in done.stdout
    assert Store(work / "here" / store.folder.name).table().num_rows == 1
    audited = bench("audit", "decode", "here", "--json")
    assert json.loads(audited.stdout)["table"] == []
    assert "trusted  'command:" in bench(
        "pack", "import", "their.tar", "--results", "here", "--trust"
    ).stdout  # fmt: skip
    audited = bench("audit", "decode", "here", "--json")
    assert json.loads(audited.stdout)["table"][0]["identical"] == 1
    # who trusts this folder does not trust the pack that it was imported from
    (work / "here").rename(work / "sent")
    record = Store(work / "sent" / store.folder.name).versions().to_pylist()[0]
    forget_trust()
    assert "trusted" not in bench("merge", "sent", "--into", "third", "--trust").stderr
    assert not Trust().allows(record)


def test_results_called_as_a_python_file_load_none(work):
    theirs = stranger(work, "command")
    theirs.folder.rename(work / "theirs" / "stranger.py")
    for words in (
        ("report", "--page", "--results", "theirs", "--dataset", "all", "--metrics", "psnr"),
        ("audit", "rows", "theirs"),
    ):
        assert bench(*words).returncode == 2
    assert nothing_ran(work)


def test_entries_that_cannot_be_read_trust_nothing(work, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(work / "state"))
    code = Code("r", *evil("command"))
    record_trust([code], "the test")
    (path,) = (work / "state").rglob("trusted.jsonl")
    assert Trust().knows(code)
    path.write_bytes(b"\xff[]\n{}\nnull\n" + path.read_bytes().replace(b"command", b"commend", 1))
    assert not Trust().knows(code)
    path.unlink()
    path.mkdir()
    record_trust([code], "the test")
    assert not Trust().knows(code)


def test_a_base_codec_counts_as_code_of_its_row():
    assert names_code(CodecSpec("dirac", (("base", "command:decode=x"),)))
    assert not names_code(CodecSpec("dirac", (("base", "hyperprior"), ("steps", "3"))))
