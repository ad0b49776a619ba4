"""Reviews of true and of false supplements: each question has its verdict and its rows."""

import csv
import json
import shutil
from hashlib import sha256
from io import StringIO

import numpy as np
import pytest
from PIL import Image

from benchmark.compare.curves import Curve, bd_rate
from benchmark.errors import UsageError
from benchmark.measure.request import Request
from benchmark.measure.select import open_stored
from benchmark.review.review import for_machines, html_text, markdown_review
from benchmark.rows.packs.contents import export_pack
from benchmark.rows.packs.pack import open_pack
from benchmark.rows.store import Store
from benchmark.spec import parse_codec
from support.figures.published import from_registry
from support.packs.honest_pack import HONEST, rewrite


def unpacked(tar, to):
    shutil.unpack_archive(tar, to, filter="data")
    return to / tar.stem


def test_a_true_pack_is_real_decodes_twice_and_has_its_points(author, answers):
    result = answers(author / "mine.tar", claims=["webp 10 % fewer bits than jpeg"])
    good = ("bits", "decodes", "pictures", "points", "images", "training")
    assert {name: result[name].verdict for name in good} == dict.fromkeys(good, "yes")
    row = next(row for row in result["points"].table.rows if row[1:3] == ("webp", "quality=30"))
    assert (row[3], row[4] == row[5], row[-2:]) == ("PSNR (dB)", True, ("2", "0"))
    assert result["labels"].sentence.startswith("8 of 8 pictures encoded again")


def test_a_claim_is_judged_by_the_bd_rate_of_what_was_measured_here(author, reviewed, tmp_path):
    pack, curves = open_pack(author / "mine.tar"), {}
    for spec in pack.infos:
        sweep = [[s.fields for s in pack.streams.values() if (s.spec, s.setting) == (spec, at)]
                 for at in pack.sweep(spec)]  # fmt: skip
        means = [[np.mean([float(f[name]) for f in of]) for of in sweep]
                 for name in ("bpp", "psnr_db")]  # fmt: skip
        curves[spec.name] = Curve(*map(np.array, means))
    rate = bd_rate(curves["jpeg"], curves["webp"]).value
    (sent := tmp_path / "sent").mkdir()
    shutil.copy(author / "mine.tar", sent)
    points = zip(curves["jpeg"].bpp / 2, curves["jpeg"].quality, strict=True)
    lines = [f"{bpp!r},{value!r}" for bpp, value in points]
    (sent / "curve.csv").write_text("\n".join(["bpp,psnr", *lines]))
    claims = ["WebP 99 % fewer bits than jpeg", "ours 50.0 % fewer bits than jpeg"]
    every = reviewed(sent, claims=claims).answers
    result, of_the_curve = (answer for answer in every if answer.name == "claim")
    assert "BD-rate -50.00 %" in of_the_curve.sentence  # the only curve, whatever its name
    assert result.verdict == "no"
    assert (
        dict(zip(result.table.headers, *result.table.rows, strict=True))["BD-rate"]
        == f"{rate:+.1f} %"
    )


def test_changed_streams_values_and_lost_images_are_each_found(author, answers, tmp_path):
    pack = unpacked(author / "mine.tar", tmp_path)
    lines = list(csv.DictReader(StringIO((pack / "rows.csv").read_text())))
    first, second, third, fourth, fifth = (line for line in lines[:5])
    rewrite(pack / "rows.csv", second["psnr_db"], repr(float(second["psnr_db"]) + 0.01))
    rewrite(pack / "rows.csv", third["decoded_sha256"], "0" * 64, -1)
    (pack / "streams" / first["stream_sha256"]).write_bytes(b"")
    junk = sha256(b"junk").hexdigest()
    (pack / "streams" / junk).write_bytes(b"junk")
    rewrite(pack / "rows.csv", fifth["stream_sha256"], junk)
    text = (pack / "rows.csv").read_text().splitlines(keepends=True)
    at = next(n for n, line in enumerate(text) if fourth["stream_sha256"] in line)
    (pack / "rows.csv").write_text("".join(text[:at] + text[at + 1 :]))
    rewrite(pack / "pack.json", f'"streams": {len(lines)}', f'"streams": {len(lines) - 1}')
    result = answers(pack)
    names = ("decodes", "pictures", "points", "images")
    assert [result[name].verdict for name in names] == ["no", "partly", "no", "no"]
    counts = [[int(cell) for cell in row[2:]] for row in result["decodes"].table.rows]
    assert np.sum(counts, 0).tolist() == [len(lines) - 3, 1, 1, 0]  # decoded, failed, damaged
    assert "is damaged" in result["decodes"].sentence
    assert str(tmp_path.parent) not in str(result["decodes"])
    differing = [row for row in result["points"].table.rows if row[-1] != "0"]
    assert [row[1:3] for row in differing] == [
        (second["codec"], f"{second['setting_name']}={float(second['setting_value']):g}")
    ]
    assert any(fourth["image"] in row[3] for row in result["images"].table.rows)


def test_a_list_of_sizes_that_cannot_be_used_is_a_file_that_was_not_read(answers, tmp_path):
    (sent := tmp_path / "ours").mkdir()
    (sent / "sizes.csv").write_text("image,setting,num_bytes\n0.png,1,many\n")
    ((name, why),) = answers(sent)["files"].table.rows
    assert name == "ours/sizes.csv"
    assert "many" in why


def test_without_the_photographs_nothing_is_compared_and_why_is_said(author, answers):
    result = answers(author / "mine.tar", dataset="kodak")
    assert (result["decodes"].verdict, result["points"].verdict) == ("yes", "unknown")
    why = "nothing could be compared: the dataset kodak is not here"
    assert result["points"].sentence.startswith(why)


def test_a_program_of_the_author_runs_only_where_it_is_named(author, answers, reviewed, tmp_path):
    result = answers(author / "code.tar")
    assert result["decodes"].verdict == "unknown"
    assert "runs only where --codecs names it" in result["decodes"].table.rows[0][1]
    shutil.rmtree(tmp_path / "into")
    again = {
        answer.name: answer for answer in reviewed(author / "code.tar", codecs=HONEST.text).answers
    }
    assert again["decodes"].verdict == again["pictures"].verdict == "yes"


def test_results_are_reviewed_as_a_pack_is(author, answers, photos):
    result = answers(author / "results")
    assert result["decodes"].verdict == "unknown"  # the author's program is not run
    assert result["points"].verdict == "unknown"  # nor its values compared
    assert "not compared" in result["points"].sentence


def test_an_anchor_of_the_results_is_measured_on_the_folder_that_is_named(
    author, answers, photos, tmp_path
):
    named = Request(dataset=str(photos), results=tmp_path / "none")
    shutil.copytree(author / "results" / "set", open_stored(named)[1].folder)
    stored = Store(author / "results" / "set")
    export_pack(tmp_path / "webp.tar", [stored], [parse_codec("webp")], ())
    result = answers(tmp_path / "webp.tar", claims=["webp 10 % fewer bits than jpeg"])["claim"]
    assert result.table.rows[0][3] == str(tmp_path / "none")
    assert result.verdict != "unknown", result.sentence


def test_a_curve_is_declared_and_its_claim_has_no_interval(answers, tmp_path):
    sent = tmp_path / "sent"
    sent.mkdir()
    for name, factor in (("ours", 0.8), ("old", 1.0), ("VTM 12", 0.9)):
        lines = [f"{factor * rate},{30 + 4 * n}" for n, rate in enumerate((0.1, 0.2, 0.4, 0.8))]
        (sent / f"{name}.csv").write_text("\n".join(["bpp,psnr", *lines]))
    asked = {"claims": ["ours 20 % fewer bits than old"], "trained_on": "psnr"}
    result = answers(sent, **asked)
    assert (result["bits"].verdict, result["claim"].verdict) == ("unknown", "unknown")
    assert "-20.0 %" in result["claim"].sentence
    assert "no interval" in result["claim"].sentence
    assert "PSNR (dB) of ours" in result["training"].sentence
    there = {row[0]: row[1] for row in result["anchors"].table.rows}
    assert {row[4] for row in result["anchors"].table.rows} == {"–"}  # none of these pictures
    assert there.pop("VTM (VVC)") == "yes"
    assert (set(there.values()), result["anchors"].verdict) == ({"no"}, "partly")
    assert result["anchors"].sentence.endswith(f"absent: {', '.join(there)}")


def test_a_curve_is_compared_with_the_published_points_of_each_anchor(answers, tmp_path):
    points = from_registry("TCM", "large", "kodak", "psnr_db")
    (path := tmp_path / "ours.csv").write_text(
        "\n".join(["bpp,psnr", *(f"{1.1 * rate!r},{value!r}" for rate, value in points)])
    )
    result = answers(path, dataset="kodak")["published"]
    assert result.verdict == "yes"
    assert ("ours", "PSNR (dB)", "TCM large", "+10.0 %") in result.table.rows
    assert "of kodak: ours -2.9 % against VTM (VVC) CompressAI, " in result.sentence
    named = {name for name in (row[2] for row in result.table.rows) if name.startswith("MLIC")}
    assert {"MLIC mse", "MLIC++ mse"} <= named, "two systems, although one anchor"
    names = [row[2].split()[0] for row in result.table.rows]
    assert names.index("VTM") < names.index("ELIC") < names.index("TCM")  # as anchors.csv


def test_reconstructions_are_scored_and_compared_with_the_curve_that_was_sent(
    answers, photos, tmp_path
):
    sent = tmp_path / "ours"
    (sent / "1").mkdir(parents=True)
    for photo in photos.iterdir():
        pixels = np.asarray(Image.open(photo)).astype(int)
        off_by_one = np.where(pixels < 255, pixels + 1, pixels - 1).astype(np.uint8)
        Image.fromarray(off_by_one).save(sent / "1" / photo.name)
    (sent / "sizes.csv").write_text("image,setting,num_bytes\n0.png,1,512\n")
    (sent / "ours.csv").write_text("codec,bpp,psnr\nours,1,48.13\nours,1.1,48.13\nxyz,1,30\n")
    result = answers(sent)
    assert [row[-1] for row in result["curves"].table.rows] == ["yes", "no", "no rows of that name"]
    assert (result["bits"].verdict, result["images"].verdict) == ("unknown", "no")
    assert "1.png" in result["images"].table.rows[0][3]


@pytest.mark.parametrize("place", ["{photos}/{name}", "../{name}", "/proc/self/pagemap", "1/x.png"])
def test_a_declared_picture_that_is_not_in_the_supplement_is_a_no(answers, photos, tmp_path, place):
    (sent := tmp_path / "ours").mkdir()
    names = [photo.name for photo in photos.iterdir()]
    lines = [f"{name},1,512,{place.format(photos=photos, name=name)}" for name in names]
    (sent / "sizes.csv").write_text("\n".join(["image,setting,num_bytes,file", *lines]))
    result = answers(sent)
    assert (result["images"].verdict, result["points"].verdict) == ("no", "unknown")
    assert f"has 0 of {len(names)} images" in result["images"].sentence
    assert "cannot be read" in result["images"].table.rows[0][4]


def test_every_form_of_a_review_has_all_verdicts_and_escapes_what_was_sent(reviewed, tmp_path):
    path = tmp_path / "<script>alert(1)<.csv"
    path.write_text("codec,bpp,psnr\n<img src=x onerror=alert(2)>,1,30\n")
    done = reviewed(path)
    facts = json.loads(json.dumps(for_machines(done)))
    page, text = html_text(done), markdown_review(done)
    assert "<script>alert" not in page + text
    assert "<img" not in page + text
    for answer in facts["answers"]:
        assert f"**{answer['verdict']}**: {answer['question']}" in text
        assert f"## {answer['question']} {answer['verdict']}" in text
        assert f'class="verdict {answer["verdict"]}"' in page


@pytest.mark.parametrize("claim", ["ours is better", "ours 10 fewer bits than vtm", ""])
def test_a_claim_of_another_form_is_refused_with_the_form(reviewed, author, claim):
    with pytest.raises(UsageError, match="is not of the form 'SYSTEM N % fewer bits than ANCHOR"):
        reviewed(author / "mine.tar", claims=[claim])
