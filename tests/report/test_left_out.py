"""What a report leaves out, and why, in sentences for the details."""

from benchmark.analysis.summarise import summarise
from benchmark.metrics.measure import Measure
from benchmark.report.details import left_out, lines_of
from support.rows.measured import failed, row, sweep, table


def test_every_kind_of_gap_is_a_sentence_with_its_reason():
    rows = [*sweep("jpeg"), *sweep("jpeg", fingerprint="old", run="1")]
    rows += [row("webp", 5, "a"), failed("webp", 5, "bb", "encode", "boom")]
    runs = [{"skipped_codecs": {"vvenc": "no ffmpeg"}, "refused_images": [["x.png", "16 bit"]]}]
    sentences = lines_of(left_out(summarise(table(rows)), [Measure.named("psnr")], runs))
    assert "failed: webp quality=5 (1 cell): encode: boom" in sentences
    assert "not drawn or compared: webp quality=5: 1 of 3 images" in sentences
    assert "not counted: jpeg (18 rows): an older version: 1.0, adapter 1" in sentences
    assert "skipped by the last run: vvenc: no ffmpeg" in sentences
    assert "refused by the last run: x.png: 16 bit" in sentences
    assert any("--common" in sentence for sentence in sentences)
