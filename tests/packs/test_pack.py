"""Anchor packs: out and in again, run from, audited, damaged in every way, and never timed."""

import csv
import io
import json
import shutil
import tarfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.analysis.summarise import summarise
from benchmark.audit.pack_audit import audit_pack
from benchmark.codec import Setting
from benchmark.codec_spec import CodecSpec, load_codec
from benchmark.datasets.dataset import ImageFile
from benchmark.datasets.source import probe
from benchmark.errors import BadPack, ImageRefused, StoreError, Unavailable, UsageError
from benchmark.measure.engine.local import carry_out
from benchmark.measure.workbench import Conditions, Workbench
from benchmark.packs.export_pack import export_pack
from benchmark.packs.import_pack import import_pack, row_of
from benchmark.packs.pack import Recorded, open_pack
from benchmark.plan.cells import Contender, lacking, plan
from benchmark.plan.matrix import open_matrix
from benchmark.plan.request import Request
from benchmark.plan.select import ALL, select
from benchmark.rows.store import Store
from support.bench.command import bench

FAKES = Path(__file__).parents[1] / "support" / "codecs" / "fakes.py"
HONEST = CodecSpec(f"{FAKES}:Honest", ())
STEPS = (64, 16, 1)
NOTES = ("made for a test",)


def conditions(**changes):
    same = {"run": "20260101T000000-aa", "device": "cpu", "flatten": False, "timing": False}
    more = {"threads": 1, "metrics": ("psnr", "psnr_y"), "jobs": 1, "machine": "test"}
    more["folder"] = Path("unwritten")
    return Conditions(**{**same, **more, **changes})


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number in range(2):
        Image.effect_noise((40 + number, 30), 50).convert("RGB").save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def sources(photos):
    return probe([ImageFile(path.name, path) for path in sorted(photos.iterdir())], False, 1)


@pytest.fixture(scope="module")
def measured(sources, tmp_path_factory):
    """A store with every cell of one codec, coded by the codec itself."""
    store = Store(tmp_path_factory.mktemp("results") / "photos")
    bench, run = Workbench(conditions()), conditions().run
    contenders = select([HONEST.text], {}).contenders
    store.begin(run, {"codecs": {HONEST.text: {"licence": "MIT"}}})
    for cell in plan(contenders, "photos", sources):
        done = bench.measure(cell)
        store.keep(done.stream)
        store.append([{**done.row, "encode_seconds": 123.0}])
    return store


@pytest.fixture(scope="module", params=["pack", "pack.tar"])
def pack_path(request, measured, tmp_path_factory):
    path = tmp_path_factory.mktemp("packs") / request.param
    assert export_pack(path, [measured], [HONEST], NOTES) == (6, ())
    return path


@pytest.fixture
def folder_pack(measured, tmp_path):
    """One of its own, to spoil."""
    path = tmp_path / "mine"
    export_pack(path, [measured], [HONEST], NOTES)
    return path


def test_a_pack_is_readable_without_this_project(measured, tmp_path):
    path = tmp_path / "anchor.tar"
    export_pack(path, [measured], [HONEST], NOTES)
    with tarfile.open(path) as tar:
        names = tar.getnames()
        told = json.load(tar.extractfile("anchor/pack.json"))
        rows = list(csv.DictReader(io.TextIOWrapper(tar.extractfile("anchor/rows.csv"))))
        streams = {
            name.rpartition("/")[2]: tar.extractfile(name).read()
            for name in names
            if name.startswith("anchor/streams/")
        }
    assert all(sha256(data).hexdigest() == name for name, data in streams.items())
    (codec,) = told["codecs"]
    assert (told["name"], told["notes"]) == ("anchor", ["made for a test"])
    assert (codec["info"]["command"], codec["info"]["licence"]) == ("encode({step})", "MIT")
    assert len(rows) == 6
    for row in rows:
        data = streams[row["stream_sha256"]]
        assert len(data) == int(row["num_bytes"])
        assert float(row["bpp"]) == 8 * len(data) / (int(row["width_px"]) * 30)
        assert float(row["encode_seconds"]) == 123.0


def test_the_same_results_give_the_same_tar(measured, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        export_pack(tmp_path / folder / "x.tar", [measured], [HONEST], NOTES)
    assert (tmp_path / "a" / "x.tar").read_bytes() == (tmp_path / "b" / "x.tar").read_bytes()


def test_encode_is_answered_with_the_codecs_own_bytes(pack_path, sources, photos):
    codec = Recorded(open_pack(pack_path), HONEST, load_codec(HONEST))
    assert {setting.value for setting in codec.sweep} == {64, 16, 1}
    for source in sources:
        pixels = np.asarray(Image.open(source.file.path))
        for step in STEPS:
            expected = load_codec(HONEST).encode(pixels, Setting("step", step))
            assert codec.encode(pixels, Setting("step", step)) == expected
            assert np.array_equal(codec.decode(expected), load_codec(HONEST).decode(expected))
    with pytest.raises(ImageRefused, match="has no stream of this image at step=16"):
        codec.encode(pixels[1:], Setting("step", 16))


def recorded_contender(pack_path):
    (contender,) = select([HONEST.text], {}, [open_pack(pack_path)]).contenders
    return contender


def test_a_run_from_a_pack_gives_the_cells_and_metrics_of_the_codec_marked_as_recorded(
    pack_path, sources, measured
):
    """In worker processes, with a codec that could not have encoded any of it in this time."""
    cells = plan([recorded_contender(pack_path)], "photos", sources)
    rows = [done.outcome.row for done in carry_out(cells, conditions(jobs=2)) if done]
    known = {row["cell"]: row for row in measured.table().to_pylist()}
    assert {row["cell"] for row in rows} == known.keys()
    for row in rows:
        for name in ("stream_sha256", "decoded_sha256", "psnr_db", "psnr_y_db", "fingerprint"):
            assert row[name] == known[row["cell"]][name]
        assert (row["recorded"], known[row["cell"]]["recorded"]) == (True, False)
        assert row["encode_seconds"] == 123.0
        assert row["decode_seconds"] < 1


def test_what_a_pack_lacks_is_left_out_with_a_reason_and_the_rest_runs(pack_path, photos, tmp_path):
    mixed = tmp_path / "mixed"
    shutil.copytree(photos, mixed)
    Image.effect_noise((35, 30), 50).convert("RGB").save(mixed / "stranger.png")
    request = Request(
        codecs=(HONEST.text,), dataset=str(mixed), results=tmp_path / "results", packs=(pack_path,)
    )
    matrix = open_matrix(request)
    assert {cell.source.file.name for cell in matrix.cells} == {"0.png", "1.png"}
    ((name, reason),) = matrix.selection.skipped
    assert name == HONEST.text
    assert reason.endswith(
        "has no streams, or not at every setting, of 1 of 3 images: stranger.png"
    )
    matrix = open_matrix(replace(request, points=(f"{HONEST.text}.step=16,3",)))
    assert [cell.setting.value for cell in matrix.cells] == [16, 16]
    assert "of 3 of 3 images" in matrix.selection.skipped[0][1]


def test_what_only_a_program_could_code_is_an_error_by_name_and_a_skip_among_all(
    pack_path, tmp_path, monkeypatch
):
    strangers = tmp_path / "strangers"
    strangers.mkdir()
    Image.effect_noise((35, 30), 50).convert("RGB").save(strangers / "stranger.png")
    request = Request(
        codecs=(HONEST.text,),
        dataset=str(strangers),
        results=tmp_path / "results",
        packs=(pack_path,),
    )
    with pytest.raises(Unavailable, match=r"cannot run here: .* of 1 of 1 images: stranger\.png"):
        open_matrix(request)
    monkeypatch.setattr("benchmark.plan.select.every_codec", lambda: ["raw"])
    matrix = open_matrix(replace(request, codecs=ALL))
    assert {cell.codec.name for cell in matrix.cells} == {"raw"}
    assert [name for name, _ in matrix.selection.skipped] == [HONEST.text]


def test_a_pack_that_no_codec_asks_for_is_refused_and_so_is_timing_from_one(pack_path, photos):
    with pytest.raises(UsageError, match="no codec of --codecs takes a stream from"):
        select(["raw"], {}, [open_pack(pack_path)])
    request = Request(codecs=(HONEST.text,), dataset=str(photos), packs=(pack_path,), timing=True)
    with pytest.raises(UsageError, match="use one of the two"):
        open_matrix(request)


def test_a_pack_beside_codecs_of_which_one_uses_it_is_accepted(pack_path):
    chosen = select(["raw", HONEST.text], {}, [open_pack(pack_path)]).contenders
    assert [one.pack is None for one in chosen] == [True, False]


@pytest.mark.parametrize("jobs", [2**63 - 1, 2**63, -(2**63)])
def test_a_whole_number_of_a_pack_is_one_of_64_bits_with_sign_or_refused(pack_path, jobs):
    pack = open_pack(pack_path)
    one = next(iter(pack.streams.values()))
    one = one._replace(fields={**one.fields, "jobs": str(jobs)})
    if jobs == 2**63 - 1:
        assert row_of(pack, one, "run")["jobs"] == jobs
    else:
        with pytest.raises(BadPack, match="a number of 64 bits"):
            row_of(pack, one, "run")


def test_a_shipped_pack_stands_in_for_a_program_that_is_not_there_and_for_no_other(
    monkeypatch, tmp_path
):
    monkeypatch.delenv("VTM_DIR", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    (contender,) = select(["vtm"], {}).contenders
    assert (contender.pack.name, contender.info.version) == ("vtm-23.13", "VTM 23.13")
    assert [setting.value for setting in contender.sweep] == [47, 42, 37, 32, 27, 22]
    with pytest.raises(Unavailable, match="EncoderAppStatic"):
        select(["vtm"], {}, recorded=False)
    with pytest.raises(Unavailable, match="EncoderAppStatic"):
        select(["vtm:depth=10"], {})
    program = tmp_path / "EncoderAppStatic"
    program.write_text("#!/bin/sh\necho VVCSoftware: VTM Encoder Version 24.0; exit 1\n")
    program.chmod(0o755)
    (tmp_path / "encoder_intra_vtm.cfg").write_text("")
    (contender,) = select(["vtm"], {}).contenders
    assert contender.pack is None
    assert contender.info.version.startswith("VTM 24.0,")


def test_what_is_imported_is_what_was_exported_but_recorded_and_never_timed(
    pack_path, measured, tmp_path
):
    store = Store(tmp_path / "photos")
    ((_, added, there, _),) = import_pack(open_pack(pack_path), tmp_path, [])
    assert (added, there) == (6, 0)
    before = {row["cell"]: row for row in measured.table().to_pylist()}
    after = {row["cell"]: row for row in store.table().to_pylist()}
    assert after.keys() == before.keys()
    for cell, row in after.items():
        changed = {name for name in row if row[name] != before[cell][name]}
        assert changed == {"recorded", "run"}
        assert store.stream(row["stream_sha256"]) == measured.stream(row["stream_sha256"])
    ((_, added, there, _),) = import_pack(open_pack(pack_path), tmp_path, [])
    assert (added, there) == (0, 6)
    (run,) = {row["run"] for row in after.values()}
    assert store.record(run)["notes"] == ["made for a test"]
    again = tmp_path / "again.tar"
    export_pack(again, [store], [HONEST], NOTES)
    first, second = open_pack(pack_path), open_pack(again)
    assert [one.fields for one in first.streams.values()] == [
        one.fields for one in second.streams.values()
    ]
    assert first.infos == second.infos


def test_an_imported_timed_row_is_no_timed_row_here(measured, tmp_path):
    store = Store(tmp_path / "photos")
    store.begin("r", {})
    for row in measured.table().to_pylist():
        store.keep(measured.stream(row["stream_sha256"]))
        store.append([{**row, "timing": True}])
    export_pack(tmp_path / "timed.tar", [store], [HONEST], ())
    import_pack(open_pack(tmp_path / "timed.tar"), tmp_path / "other", [])
    imported = Store(tmp_path / "other" / "photos")
    assert len(imported.done()) == 6
    assert imported.done(timed=True) == set()
    means = [point.means for point in summarise(imported.table()).points]
    for name in ("encode_seconds", "decode_seconds", "encode_seconds_per_megapixel"):
        assert {mean[name].value for mean in means} == {None}


def test_a_stream_that_was_not_kept_cannot_be_exported(measured, tmp_path):
    store = Store(tmp_path / "photos")
    store.append(measured.table().to_pylist()[:1])
    with pytest.raises(UsageError, match=r"of [01]\.png was not kept in .*photos"):
        export_pack(tmp_path / "x.tar", [store], [HONEST], ())
    with pytest.raises(UsageError, match="no finished cell of jpeg"):
        export_pack(tmp_path / "x.tar", [measured], [HONEST, CodecSpec("jpeg", ())], ())
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_bundled_rows_without_streams_are_left_out_and_counted_and_the_rest_is_packed(
    measured, tmp_path
):
    """Two datasets: of one only the bundled rows are there, of the other the user's own."""
    results, out = tmp_path / "results", tmp_path / "x.tar"
    shutil.copytree(measured.folder, results / "photos")
    Store(results / "kodak").ship("field", measured.table().slice(0, 4))
    words = ("pack", "export", out, "--codecs", HONEST.text, "--results", results)
    nothing = bench(*words, "--dataset", "kodak")
    remedy = f"`bench run --codecs {HONEST.text} --dataset kodak` makes them here"
    told = f"4 bundled rows of kodak, whose streams are not bundled; {remedy}"
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert nothing.stderr == f"bench: nothing is left for a pack: {told}\n"
    assert not out.exists()
    done = bench(*words, "--dataset", "all")
    assert (done.returncode, done.stdout) == (0, f"left out {told}\n{out}: 6 streams\n")
    assert {one.fields["dataset"] for one in open_pack(out).streams.values()} == {"photos"}


def test_nothing_is_written_over_and_a_failure_leaves_nothing(measured, tmp_path, monkeypatch):
    (tmp_path / "x.tar").write_text("mine")
    with pytest.raises(UsageError, match=r"x\.tar is there already"):
        export_pack(tmp_path / "x.tar", [measured], [HONEST], ())
    (tmp_path / "x.tar").unlink()
    for name in ("y.tar", "y"):
        monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(StoreError, match=r"y(\.tar)? cannot be written: full"):
            export_pack(tmp_path / name, [measured], [HONEST], ())
        monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def read_all(path):
    pack = open_pack(path)
    return [pack.read(one) for one in pack.streams.values()]


def one_stream(pack):
    return sorted((pack / "streams").iterdir())[0]


def rewrite(path, old, new, count=1):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


SPOILT = {
    "no index": lambda pack: (pack / "pack.json").unlink(),
    "no rows": lambda pack: (pack / "rows.csv").unlink(),
    "index cut off": lambda pack: (pack / "pack.json").write_text('{"format": "rdr'),
    "a list": lambda pack: (pack / "pack.json").write_text("[]"),
    "another format": lambda pack: rewrite(pack / "pack.json", "rdrbench-pack/1", "zip"),
    "an info that lacks a field": lambda pack: rewrite(pack / "pack.json", '"licence"', '"l"'),
    "another codec": lambda pack: rewrite(pack / "pack.json", "Honest", "Shrinks"),
    "rows cut off": lambda pack: (pack / "rows.csv").write_text("codec,variant\njpeg,\n"),
    "a row cut off": lambda pack: (pack / "rows.csv").write_text(
        (pack / "rows.csv").read_text()[:-200]
    ),
    "a row lost": lambda pack: rewrite(
        pack / "rows.csv", (pack / "rows.csv").read_text().splitlines(True)[3], ""
    ),
    "bytes": lambda pack: (pack / "rows.csv").write_bytes(b"\xff\xfe\x00"),
    "no sha256": lambda pack: rewrite(pack / "rows.csv", one_stream(pack).name, "../../secret"),
    "a text without end": lambda pack: rewrite(
        pack / "rows.csv", one_stream(pack).name, "9" * 9999
    ),
    "a text of two lines": lambda pack: rewrite(pack / "rows.csv", one_stream(pack).name, '"a\nb"'),
    "an option without a value": lambda pack: rewrite(
        pack / "pack.json", '"variant": "', '"variant": ")'
    ),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT.keys())
def test_a_damaged_pack_is_one_sentence(folder_pack, spoil):
    spoil(folder_pack)
    with pytest.raises(BadPack) as raised:
        read_all(folder_pack)
    said = str(raised.value)
    assert said.startswith(f"the pack {folder_pack} cannot be used: ")
    assert said.endswith("get or export it again")
    assert "\n" not in said
    assert len(said) < len(str(folder_pack)) + 600


def test_a_damaged_tar_is_one_sentence(measured, tmp_path):
    path = tmp_path / "x.tar"
    export_pack(path, [measured], [HONEST], ())
    whole = path.read_bytes()
    for spoilt in (b"", b"text", whole[:700], whole[: len(whole) // 2]):
        path.write_bytes(spoilt)
        with pytest.raises(BadPack, match=r"x\.tar cannot be used"):
            read_all(path)
    with pytest.raises(BadPack, match="it cannot be read"):
        open_pack(tmp_path / "none.tar")


def test_a_changed_stream_is_a_failed_cell_and_the_others_run(folder_pack, sources):
    stream = one_stream(folder_pack)
    stream.write_bytes(stream.read_bytes()[:-1] + b"?")
    cells = plan([recorded_contender(folder_pack)], "photos", sources)
    rows = [Workbench(conditions()).measure(cell).row for cell in cells]
    (failed,) = [row for row in rows if row["status"] == "failed"]
    assert (failed["stage"], failed["recorded"]) == ("encode", True)
    assert f"its stream {stream.name[:8]} is damaged" in failed["reason"]


def test_a_dataset_of_a_pack_cannot_lead_out_of_the_results(folder_pack, tmp_path):
    rewrite(folder_pack / "rows.csv", ",photos,", ",../photos,", count=-1)
    with pytest.raises(BadPack, match=r"'\.\./photos' is no name of a dataset"):
        import_pack(open_pack(folder_pack), tmp_path / "results", [])
    assert not (tmp_path / "results").exists()


def test_a_wrong_value_is_found_before_anything_is_imported(folder_pack, tmp_path):
    rewrite(folder_pack / "rows.csv", ",False,1,1,", ",False,one,1,")
    with pytest.raises(BadPack, match=r"a line of .* cannot be read"):
        import_pack(open_pack(folder_pack), tmp_path / "results", [])
    assert not (tmp_path / "results").exists()


def audited(path, sources, **changes):
    known = {(source.sha256, source.width_px): source for source in sources}
    return audit_pack(open_pack(path), known, conditions(**changes), lambda progress: None)


def test_an_audit_of_a_true_pack_finds_nothing(pack_path, sources):
    verdict = audited(pack_path, sources)
    assert verdict == (6, 6, {"psnr_db": 6, "psnr_y_db": 6}, ())


def test_without_the_sources_an_audit_decodes_and_compares_no_metric(pack_path, sources):
    assert audited(pack_path, []) == (6, 6, {"psnr_db": 0, "psnr_y_db": 0}, ())
    assert audited(pack_path, sources[:1]).compared == {"psnr_db": 3, "psnr_y_db": 3}


def test_an_audit_finds_a_changed_stream_a_changed_metric_and_changed_pixels(folder_pack, sources):
    pack = open_pack(folder_pack)
    first, second, third, fourth, *_ = pack.streams.values()
    rows = folder_pack / "rows.csv"
    psnr = second.fields["psnr_db"]
    rewrite(rows, psnr, repr(float(psnr) + 1e-5))
    rewrite(rows, third.fields["decoded_sha256"], "0" * 64)
    rewrite(rows, f",{fourth.fields['bpp']},", ",0.5,")
    (folder_pack / "streams" / first.sha256).write_bytes(b"")
    found = {one.what for one in audited(folder_pack, sources).contradictions}
    assert len(found) == 4
    for words in ("is damaged", "psnr_db is ", "decodes to pixels that differ", "its bpp is "):
        assert sum(words in what for what in found) == 1


def test_a_lacking_image_is_named_and_many_are_counted(pack_path, sources):
    contender = recorded_contender(pack_path)
    strangers = [
        source._replace(sha256=str(n), file=ImageFile(f"s{n}", source.file.path))
        for n, source in enumerate([sources[0]] * 7)
    ]
    assert lacking(contender, sources) == ""
    told = lacking(contender._replace(encoder_lacks="no program"), [*sources, *strangers])
    assert told.startswith("no program; and ")
    assert told.endswith("of 7 of 9 images: s0, s1, s2, s3, s4, ...")
    assert lacking(Contender(HONEST, contender.info, contender.sweep), strangers) == ""


def test_the_commands_lead_from_a_run_to_a_pack_and_back(photos, tmp_path):
    """Export, run from it elsewhere, audit, import: the real commands."""
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    run = ["run", "--dataset", photos, "--metrics", "psnr", "--no-table", "--codecs", HONEST.text]
    assert bench(*run, "--results", first).returncode == 0
    pack = tmp_path / "honest.tar"
    done = bench("pack", "export", pack, "--codecs", HONEST.text, "--results", first)
    assert (done.returncode, done.stdout) == (0, f"{pack}: 6 streams\n"), done.stderr
    done = bench(*run, "--results", second, "--pack", pack)
    assert f"recorded {HONEST.text}: streams of 1 from {pack}" in done.stdout
    assert done.returncode == 0
    refused = bench("audit", "pack", pack)
    assert refused.returncode == 2
    assert "itself names what decodes its streams" in refused.stderr
    kept = bench("pack", "import", pack, "--results", tmp_path / "kept")
    assert "6 rows added, 0 were there before" in kept.stdout
    assert f"not run  {HONEST.text!r}, which 6 rows imported from {pack} name" in kept.stdout
    done = bench("audit", "pack", pack, "--dataset", photos, "--metrics", "psnr", "--trust")
    assert "metric   psnr_db: 6 values equal the recorded ones" in done.stdout
    assert done.returncode == 0
    done = bench("pack", "import", pack, "--results", third, "--trust")
    assert "6 rows added, 0 were there before" in done.stdout
    tables = [Store(next(results.iterdir())).table().to_pylist() for results in (second, third)]
    for rows in tables:
        assert all(row["recorded"] for row in rows)
    values = [{row["cell"]: row["psnr_db"] for row in rows} for rows in tables]
    assert values[0] == values[1]
    with tarfile.open(pack) as tar:
        start = tar.getmember(next(n for n in tar.getnames() if "/streams/" in n)).offset_data
    with pack.open("r+b") as file:
        file.seek(start + 20)
        file.write(b"????")
    done = bench("audit", "pack", pack, "--metrics", "psnr", "--trust")
    assert done.returncode == 1
    assert "is damaged" in done.stdout
