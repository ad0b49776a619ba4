"""Notes under a table of means: chroma formats, and what file formats add to the bytes."""

from benchmark.analysis.summarise import summarise
from benchmark.figures.table import means_table
from support.rows.measured import sweep, table


def notes(*rows):
    return means_table(summarise(table([one for some in rows for one in some])), []).notes


def test_chroma_formats_are_named_where_they_differ():
    assert notes(sweep("jpeg", chroma="4:2:0"), sweep("webp", chroma="4:2:0")) == ()
    assert notes(sweep("jpeg", chroma="4:2:0"), sweep("avif", chroma="4:4:4")) == (
        "Chroma format: 4:2:0 (jpeg), 4:4:4 (avif).",
    )


def test_a_codec_that_states_no_chroma_format_is_named_too():
    rows = [{**one, "codec": "./mine.py:Mine"} for one in sweep("jpeg")]
    assert notes(rows, sweep("vtm")) == ("Chroma format: 4:4:4 (vtm), not stated (mine.py:Mine).",)


def test_bytes_of_file_formats_are_means_over_images_and_settings():
    first, *others = sweep("avif", container_bytes=280)
    rows = [{**first, "container_bytes": 300}, *({**one, "container_bytes": 280} for one in others)]
    (note,) = notes(rows, sweep("jpegxl", container_bytes=0), sweep("vtm"))
    count = len(rows)
    mean = sum(one["container_bytes"] for one in rows) / count
    assert note == f"Bytes of the file format per image, part of bpp: avif {mean:.0f}."
    assert 280 < mean < 300


def test_records_have_the_mean_and_say_where_it_is_unknown():
    points = summarise(table([*sweep("avif", container_bytes=289), *sweep("vtm")])).for_machines()
    known = {
        one["codec"]: (one["container_bytes"], one["container_bytes_images"]) for one in points
    }
    images = points[0]["images"]
    assert known == {"avif": (289.0, images), "vtm": (None, 0)}
    assert not any("container_bytes_infinite" in one for one in points)
