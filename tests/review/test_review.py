"""Reviews of true and of false supplements: each question has its verdict and its rows."""

import json
import re
import shutil
from hashlib import sha256

import numpy as np
import polars as pl
import pytest
from PIL import Image

from benchmark.compare.rate_quality import RateQuality, bd_rate
from benchmark.compare.rule import USUAL_RULE
from benchmark.errors import UsageError
from benchmark.measure.request import Request
from benchmark.measure.select import open_stored
from benchmark.review.review import html_review, markdown_review, review_record
from benchmark.rows.packs.contents import export_pack
from benchmark.rows.store import Store
from benchmark.spec import parse_codec
from support.packs.honest_pack import HONEST, rows_in, write_rows


def unpacked(tar, to):
    shutil.unpack_archive(tar, to, filter="data")
    return to / tar.stem


def test_a_true_pack_decodes_and_its_numbers_are_right(author, answers):
    result = answers(author / "mine.tar")
    assert [result[name].verdict for name in ("decodes", "numbers")] == ["yes", "yes"]
    rows = result["numbers"].tables["values"].rows
    (row,) = (row for row in rows if row[1:3] == ("webp", "quality=30"))
    assert (row[3], row[4] == row[5], row[-2:]) == ("PSNR (dB)", True, ("2", "0"))


def test_a_claim_is_judged_by_the_bd_rate_of_what_was_measured_here(author, reviewed, tmp_path):
    curves = {}
    for codec in ("jpeg", "webp"):
        rows = Store(author / "results" / "set").table().filter(codec=codec)
        means = rows.group_by("setting_value").agg(pl.mean("bpp", "psnr_db")).sort("bpp")
        curves[codec] = RateQuality(means["bpp"].to_numpy(), means["psnr_db"].to_numpy())
    rate = bd_rate(curves["jpeg"], curves["webp"], USUAL_RULE).value
    claims = ["WebP 99 % fewer bits than jpeg", "ours 50.0 % fewer bits than jpeg"]
    answers = reviewed(author / "mine.tar", claims=claims).answers
    result, of_nobody = (answer for answer in answers if answer.name == "claim")
    assert (result.verdict, of_nobody.verdict) == ("no", "unknown")
    assert " ours on " in of_nobody.sentence
    table = result.tables["claim"]
    assert dict(zip(table.headers, *table.rows, strict=True))["BD-rate"] == f"{rate:+.1f} %"


def test_changed_streams_values_and_lost_images_are_each_found(author, answers, tmp_path):
    pack = unpacked(author / "mine.tar", tmp_path)
    lines = rows_in(pack)
    first, second, third, fourth, fifth, *_ = lines
    second["psnr_db"] += 0.01
    third["decoded_sha256"] = "0" * 64
    (pack / "streams" / first["stream_sha256"]).write_bytes(b"")
    fifth["stream_sha256"] = sha256(b"junk").hexdigest()
    (pack / "streams" / fifth["stream_sha256"]).write_bytes(b"junk")
    write_rows(pack, [line for line in lines if line is not fourth])
    result = answers(pack)
    assert [result[name].verdict for name in ("decodes", "numbers")] == ["no", "no"]
    counts = [[int(cell) for cell in row[2:]] for row in result["decodes"].tables["streams"].rows]
    num_equal = len(lines) - 4  # then rounded, other, blind, failed, damaged, not run
    assert np.sum(counts, 0).tolist() == [num_equal, 1, 0, 0, 1, 1, 0]
    assert "damaged" in str(result["decodes"])
    assert str(tmp_path.parent) not in str(result["decodes"])
    values, images = result["numbers"].tables.values()
    setting = f"{second['setting_name']}={second['setting_value']:g}"
    assert [row[1:3] for row in values.rows if row[-1] != "0"] == [(second["codec"], setting)]
    assert any(fourth["image"] in row[3] for row in images.rows)


def test_a_list_of_sizes_that_cannot_be_used_is_a_file_that_was_not_read(reviewed, tmp_path):
    (sent := tmp_path / "ours").mkdir()
    (sent / "sizes.csv").write_text("image,setting,num_bytes\n0.png,1,many\n")
    ((name, reason, _),) = reviewed(sent).left_out
    assert (name, "many" in reason) == ("ours/sizes.csv", True)


def test_without_the_photographs_nothing_is_compared_and_why_is_said(author, answers):
    result = answers(author / "mine.tar", dataset="kodak")
    assert (result["decodes"].verdict, result["numbers"].verdict) == ("yes", "unknown")
    assert "bench fetch kodak" in result["numbers"].sentence


def test_a_program_of_the_author_runs_only_where_it_is_named(author, answers, reviewed, tmp_path):
    result = answers(author / "code.tar")
    assert result["decodes"].verdict == "unknown"
    assert "--codecs" in result["decodes"].tables["streams"].rows[0][1]
    shutil.rmtree(tmp_path / "into")
    second = reviewed(author / "code.tar", codecs=HONEST.text)
    verdicts = {answer.name: answer.verdict for answer in second.answers}
    assert verdicts["decodes"] == verdicts["numbers"] == "yes"


def test_results_of_a_folder_are_read_from_a_pack_alone(author, reviewed, tmp_path):
    with pytest.raises(UsageError, match="`bench pack export`"):
        reviewed(author / "results")


def test_an_anchor_of_results_is_measured_on_the_named_folder(author, answers, photos, tmp_path):
    request = Request(dataset=str(photos), results=tmp_path / "none")
    stored = author / "results/set"
    shutil.copytree(stored, open_stored(request)[1].folder)
    export_pack(tmp_path / "webp.tar", [Store(stored)], [parse_codec("webp")], ())
    result = answers(tmp_path / "webp.tar", claims=["webp 10 % fewer bits than jpeg"])["claim"]
    assert result.tables["claim"].rows[0][3] == str(tmp_path / "none")
    assert result.verdict != "unknown", result.sentence


def test_pictures_of_declared_sizes_are_scored_and_no_answer_rests_on_their_sizes(
    pictures, author, photos, answers, tmp_path
):
    (tmp_path / "sent").mkdir()
    pictures.rename(tmp_path / "sent" / "p")
    shutil.copy(author / "mine.tar", tmp_path / "sent")
    result = answers(tmp_path / "sent", claims=["Theirs 1 % fewer bits than jpeg"])
    verdicts = {name: answer.verdict for name, answer in result.items()}
    assert verdicts == {"decodes": "unknown", "numbers": "yes", "claim": "unknown"}
    assert "8 of 8 pictures " in result["decodes"].sentence
    assert all("declared" in result[name].sentence for name in ("decodes", "claim"))
    systems = result["decodes"].tables["streams"].rows
    assert {row[0] for row in systems if "declared" in row[1]} == {"Theirs"}


def test_a_picture_that_is_not_the_recorded_one_is_contradicted(pictures, answers):
    first, second, *_ = sorted((pictures / "pictures").iterdir())
    shutil.copy(first, second)
    result = answers(pictures)["decodes"]
    assert (result.verdict, second.stem[:8] in result.sentence) == ("no", True)


def test_a_curve_is_only_stated_and_a_claim_about_it_is_one_for_bench_bd(answers, tmp_path):
    (tmp_path / "ours.csv").write_text("bpp,psnr\n.1,30\n.2,34\n.4,38\n.8,42\n")
    result = answers(tmp_path / "ours.csv", claims=["ours 20 % fewer bits than vtm"])
    verdicts = {name: answer.verdict for name, answer in result.items()}
    assert verdicts == dict.fromkeys(("decodes", "numbers", "claim"), "unknown")
    first_row = result["decodes"].tables["streams"].rows[0]
    assert (first_row[0], first_row[1][:2]) == ("ours", "4 ")
    assert "`bench bd`" in result["claim"].sentence


def test_reconstructions_are_scored_and_compared_with_the_curve_sent(answers, photos, tmp_path):
    sent = tmp_path / "ours"
    (sent / "1").mkdir(parents=True)
    for photo in photos.iterdir():
        pixels = np.asarray(Image.open(photo)).astype(int)
        off_by_one = np.where(pixels < 255, pixels + 1, pixels - 1).astype(np.uint8)
        Image.fromarray(off_by_one).save(sent / "1" / photo.name)
    (sent / "sizes.csv").write_text("image,setting,num_bytes\n0.png,1,512\n")
    (sent / "ours.csv").write_text("codec,bpp,psnr\nours,1,48.13\nours,1.1,48.13\nxyz,1,30\n")
    result = answers(sent)
    _, images, curves = result["numbers"].tables.values()
    assert [row[-1] for row in curves.rows] == ["yes", "no", "no rows with this name"]
    assert (result["decodes"].verdict, result["numbers"].verdict) == ("unknown", "no")
    assert "1.png" in images.rows[0][3]


@pytest.mark.parametrize("place", ["{photos}/{name}", "../{name}", "/proc/self/pagemap", "1/x.png"])
def test_a_declared_picture_that_is_not_in_the_supplement_is_a_no(answers, photos, tmp_path, place):
    (sent := tmp_path / "ours").mkdir()
    names = [photo.name for photo in photos.iterdir()]
    lines = [f"{name},1,512,{place.format(photos=photos, name=name)}" for name in names]
    (sent / "sizes.csv").write_text("\n".join(["image,setting,num_bytes,file", *lines]))
    result = answers(sent)
    assert result["numbers"].verdict == "no"
    assert f"has 0 of {len(names)} images" in result["numbers"].sentence
    assert "cannot be read" in result["numbers"].tables["images"].rows[0][4]


def test_every_form_of_a_review_has_all_verdicts_and_escapes_what_was_sent(reviewed, tmp_path):
    path = tmp_path / "<script>alert(1)<.csv"
    path.write_text("codec,bpp,psnr\n<img src=x onerror=alert(2)>,1,30\n")
    review = reviewed(path)
    page, text = html_review(review), markdown_review(review)
    assert not re.search("<script>alert|<img", page + text)
    for answer in json.loads(json.dumps(review_record(review)))["answers"]:
        assert f"**{answer['verdict']}**: {answer['question']}" in text
        assert f"## {answer['question']} {answer['verdict']}" in text
        assert f'class="verdict {answer["verdict"]}"' in page


@pytest.mark.parametrize("claim", ["ours is better", "ours 10 fewer bits than vtm", ""])
def test_a_claim_of_another_form_is_refused_with_the_form(reviewed, author, claim):
    with pytest.raises(UsageError, match="'SYSTEM N % fewer"):
        reviewed(author / "mine.tar", claims=[claim])
