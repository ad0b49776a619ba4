"""Streams of a pack in place of an encoder: the cells that they give, and their limits."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from benchmark.codec import Setting
from benchmark.errors import ImageRefused, Unavailable, UsageError
from benchmark.measure.cells import plan
from benchmark.measure.local import Finished, carry_out
from benchmark.measure.request import Request
from benchmark.measure.select import ALL, open_matrix, select
from benchmark.rows.codecs import NamedCodecs
from benchmark.rows.packs.pack import RecordedCodec, open_pack
from benchmark.spec import load_codec
from support.codecs.files import conditions
from support.files.noise import noise_images
from support.packs.honest_pack import HONEST, recorded_contender


def test_a_picture_that_the_pack_lacks_is_refused(pack_path, sources):
    codec = RecordedCodec(open_pack(pack_path), HONEST, load_codec(HONEST))
    pixels = np.asarray(Image.open(sources[0].file.path))
    assert codec.decode(codec.encode(pixels, Setting("step", 1))).tolist() == pixels.tolist()
    with pytest.raises(ImageRefused, match="step=16"):
        codec.encode(pixels[1:], Setting("step", 16))


def test_a_run_from_a_pack_gives_recorded_rows_of_the_codec(pack_path, sources, measured_store):
    cells = plan([recorded_contender(pack_path)], "photos", sources)
    events = carry_out(cells, conditions(metrics=("psnr", "psnr_y")))
    rows = [event.outcome.row for event in events if isinstance(event, Finished)]
    stored_rows = {row["cell"]: row for row in measured_store.table().rows(named=True)}
    assert {row["cell"] for row in rows} == stored_rows.keys()
    for row in rows:
        for name in ("stream_sha256", "decoded_sha256", "psnr_db", "psnr_y_db", "fingerprint"):
            assert row[name] == stored_rows[row["cell"]][name]
        assert (row["recorded"], stored_rows[row["cell"]]["recorded"]) == (True, False)
        assert row["encode_seconds"] == 123.0 != row["decode_seconds"]


def test_what_a_pack_lacks_is_left_out_with_a_reason(pack_path, photos, tmp_path, monkeypatch):
    strangers, mixed = noise_images(tmp_path / "strangers", [(35, 30)]), tmp_path / "mixed"
    shutil.copytree(photos, mixed)
    shutil.copy(strangers / "0.png", mixed / "2.png")
    request = Request(
        codecs=(HONEST.text,), dataset=str(mixed), results=tmp_path / "results", packs=(pack_path,)
    )
    matrix = open_matrix(request)
    assert {cell.source.file.name for cell in matrix.cells} == {"0.png", "1.png"}
    ((name, reason, _),) = matrix.selection.skipped
    assert name == HONEST.text
    assert all(part in reason for part in ("1 of 3 images", "2.png"))
    matrix = open_matrix(replace(request, points=(f"{HONEST.text}.step=16,3",)))
    assert [cell.setting.value for cell in matrix.cells] == [16, 16]
    assert "3 of 3 images" in matrix.selection.skipped[0][1]
    request = replace(request, dataset=str(strangers))
    two_codecs = replace(request, codecs=(HONEST.text, "raw"))
    for named, option in ((request, None), (two_codecs, "--skip-missing")):
        with pytest.raises(Unavailable, match=option) as error:
            open_matrix(named)
        assert all(name in str(error.value) for name in (HONEST.text, "0.png"))
    monkeypatch.setattr("benchmark.measure.select.every_codec", lambda: ["raw"])
    for skipping in (replace(request, codecs=ALL), replace(two_codecs, skip_missing=True)):
        matrix = open_matrix(skipping)
        assert {cell.codec.name for cell in matrix.cells} == {"raw"}
        assert [absent.what for absent in matrix.selection.skipped] == [HONEST.text]
    monkeypatch.setattr("benchmark.measure.select.every_codec", list)
    monkeypatch.setattr("benchmark.measure.select.refers_to_code", lambda spec: False)
    for unusable in (replace(request, codecs=ALL), replace(request, skip_missing=True)):
        with pytest.raises(Unavailable, match=r"0\.png"):
            open_matrix(unusable)


def test_a_pack_that_no_codec_asks_for_is_refused_and_so_is_timing_from_one(pack_path, photos):
    contenders = select(["raw", HONEST.text], {}, [open_pack(pack_path)]).contenders
    assert [contender.pack is None for contender in contenders] == [True, False]
    with pytest.raises(UsageError, match="--codecs"):
        select(["raw"], {}, [open_pack(pack_path)])
    request = Request(codecs=(HONEST.text,), dataset=str(photos), packs=(pack_path,), timing=True)
    with pytest.raises(UsageError, match=r"--timing .*--pack"):
        open_matrix(request)


def test_a_pack_is_read_for_named_codecs_and_runs_no_others(pack_path):
    pack = open_pack(pack_path)
    assert pack.select_codecs(NamedCodecs(HONEST.text)).rows == pack.rows
    for names, option in (("all", ".*--codecs"), ("jpeg", "")):
        with pytest.raises(UsageError, match=re.escape(HONEST.text) + option):
            pack.select_codecs(NamedCodecs(names))


def test_a_bundled_pack_replaces_only_its_own_program_where_that_is_absent(monkeypatch, tmp_path):
    monkeypatch.delenv("VTM_DIR", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    (contender,) = select(["vtm"], {}).contenders
    assert (contender.pack.path.name, contender.info.version) == ("vtm-23.13.tar", "VTM 23.13")
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
