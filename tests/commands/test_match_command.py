"""`bench match` as a user runs it, on the bundled rows."""

import csv
import json
import re

from support.bench.command import output_of
from support.rows.bundled_results import bundled_results

RESULTS = bundled_results()


def match(*words):
    return output_of("match", *words, "--results", RESULTS)


def test_the_table_names_counts_ratios_caveats_and_what_was_not_timed(tmp_path):
    text = match("vvenc", "x265")
    match("vvenc", "x265", "--each-pair", "--csv", tmp_path / "pairs.csv")
    with (tmp_path / "pairs.csv").open() as opened:
        pairs = list(csv.DictReader(opened))
    headers, line, *notes = text.splitlines()
    assert headers.split()[:5] == ["codec", "against", "images", "pairs", "unmatched"]
    images = len({pair["image"] for pair in pairs})
    assert line.split()[:4] == ["vvenc", "x265", f"{images}/24", str(len(pairs))]
    assert all(
        abs(float(pair["codec_psnr_db"]) - float(pair["against_psnr_db"])) <= 0.1 for pair in pairs
    )
    num_missing = 144 - len(pairs)
    assert f"{num_missing} + {num_missing}" in line
    assert "codes chroma as 4:2:0, x265 as 4:4:4" in notes[0]
    assert any(note.startswith("times: no pair was timed alone") for note in notes)


def test_several_codecs_are_the_lines_of_one_table_as_if_each_were_asked_for_alone():
    together = json.loads(match("webp,avif,jpegxl", "webp,jpegli", "--json"))
    pairs = [("webp", "jpegli"), ("avif", "webp"), ("avif", "jpegli"), ("jpegxl", "webp"),
             ("jpegxl", "jpegli")]  # fmt: skip
    single_records = [json.loads(match(*pair, "--json"))["records"] for pair in pairs]
    assert together["records"] == [record for records in single_records for record in records]
    # A pair that cannot be matched is absent from the table and named below it.
    partly = json.loads(match("jpegxl,webp", "jpegli", "--tolerance", "0.5", "--json"))
    assert [record["codec"] for record in partly["records"]] == ["webp"]
    assert partly["absent"][0]["what"] == "jpegxl and jpegli"


def test_the_table_fits_a_terminal_unless_more_metrics_are_named():
    pair = "jpeg:optimize=1", "webp"
    usual, luma, full_table = (
        match(*pair, *words).splitlines()
        for words in ((), ("--metric", "psnr,psnr_y,niqe"), ("--metric", "all"))
    )
    between = ["PSNR (dB)", "MS-SSIM (dB)", "LPIPS (SqueezeNet)"]
    counts = ["codec", "against", "images", "pairs", "unmatched", "bytes"]
    assert re.split(" {2,}", usual[0]) == [*counts, *between]
    assert len(usual[0]) < 120
    assert re.split(" {2,}", luma[0]) == [*counts, "PSNR (dB)", "PSNR of luma (dB)"]
    assert any(line.startswith("NIQE: no values (`bench rescore --") for line in luma)
    assert {*between, "VMAF", "CVVDP (JOD)"} <= {*re.split(" {2,}", full_table[0])}
    reported = json.loads(match(*pair, "--json"))["records"]
    assert {"psnr_db_difference", "vmaf_difference"} <= reported[0].keys(), "in files all are"
