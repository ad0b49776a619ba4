"""Json, toml and csv of strangers end in a value or in one error, in time that grows with them."""

from functools import partial
from time import monotonic

import pytest

from benchmark.system.foreign_files import BadFile
from benchmark.system.text import parse_csv, parse_json, parse_sheet, parse_toml

DEEP = 200_000
of_json, of_toml = (partial(parse, kind=object) for parse in (parse_json, parse_toml))
HARMFUL = {
    "json, deep": (of_json, "[" * DEEP), "json, deep objects": (of_json, '{"a":' * DEEP),
    "json, a key twice": (of_json, '{"a": 1, "a": 2}'), "json, not finite": (of_json, "[1e999]"),
    "json, NaN": (of_json, "[NaN]"), "json, a long number": (of_json, "9" * 5000),
    "json, no text": (of_json, b"\xff\xfe"), "json, empty": (of_json, b""),
    "toml, deep": (of_toml, "a = " + "[" * DEEP), "toml, no text": (of_toml, b"\xff"),
    "toml, 30,000 parts": (of_toml, "a" + ".a" * 30_000 + " = 1"),
    "toml, a key twice": (of_toml, "a = 1\na = 2"), "csv, no text": (parse_csv, b"\xff"),
    "csv, a long cell": (parse_sheet, "a\n" + "x" * 140_000),
    "csv, a column twice": (parse_sheet, "a, a\n1,2"),
    "csv, too many cells": (parse_sheet, "a,b\n1,2,3"), "csv, too few": (parse_sheet, "a,b\n1"),
}  # fmt: skip


@pytest.mark.parametrize("harm", HARMFUL)
def test_what_cannot_be_read_is_one_error_of_one_line_at_once(harm):
    parse, content = HARMFUL[harm]
    began = monotonic()
    with pytest.raises(BadFile) as error:
        parse(content)
    assert monotonic() - began < 10
    assert len(str(error.value)) < 400
    assert "\n" not in str(error.value)


def test_texts_and_names_are_on_one_line_and_of_their_types():
    assert of_json('{"a\\nb": ["c\\u001b[31m", "d\\ud800"]}') == {"a b": ["c [31m", "d "]}
    assert of_toml('a = """b\nc"""') == {"a": "b c"}
    assert parse_sheet('a,b\n"x\ny",2').records() == [{"a": "x y", "b": "2"}]
    assert parse_json(b'\xef\xbb\xbf{"a": 1}', dict[str, int]) == {"a": 1}
    with pytest.raises(BadFile, match=r"TOML .*: Expected `int`"):
        parse_toml("a = 'x'", dict[str, int])
    with pytest.raises(BadFile, match="Expected `int`"):
        parse_json('{"a": "1"}', dict[str, int])
