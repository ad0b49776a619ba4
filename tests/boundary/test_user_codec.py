"""A user's codec file with a mistake: one sentence with file and line, before anything runs."""

import json
import sys
from hashlib import sha256

import pytest

from benchmark.codec import CodecInfo
from benchmark.spec import describe_codec, load_codec, parse_codec
from support.bench.command import bench

HEAD = '''"""A codec of the tests."""
from benchmark.codec import CodecInfo, Setting


'''
WHOLE = """class Mine:
    name = "mine"
    sweep = (Setting("bits", 1), Setting("bits", 2))

    def describe(self):
        return CodecInfo("1", "encode({bits})", "MIT", "0" * 64, 1, "one call")

    def encode(self, pixels, setting):
        return pixels.tobytes()

    def decode(self, data):
        return data
"""
# Two methods and a sweep.
MINIMAL = f"""class Least:
    sweep = (Setting("bits", 1), Setting("bits", 2))
{WHOLE.partition('"one call")')[2]}"""


INFO = 'CodecInfo("1", "encode({bits})", "MIT", "0" * 64, 1, "one call")'
OPTION = "\n    def __init__(self, level: int = 9):\n        self.level = level\n"
SWEEP = '(Setting("bits", 1), Setting("bits", 2))'
edited = WHOLE.replace
MISTAKES = {  # what the file holds, the line that the sentence names, and other words in it
    "a syntax error": (edited("pixels, setting):", "pixels"), 12, "never closed"),
    "a package that is not installed": (f"import nonesuch\n{WHOLE}", 5, "'nonesuch'"),
    "a name that a module lacks": ("from benchmark.codec import Pixel\n", 5, "'Pixel'"),
    "an error while it is loaded": ("LEVELS = 1 / 0\n", 5, "ZeroDivisionError"),
    "an end of the program": ("raise SystemExit(0)\n", 5, "SystemExit: 0"),
    "a name of no text": (edited('"mine"', "1"), 5, "`name`"),
    "files of one text": (edited("sweep", 'files = "a.pth"\n    sweep'), 5, "`files`", "'a.pth'"),
    "an absent file": (edited("sweep", 'files = ("a.pth",)\n    sweep'), 5, "`files`", "a.pth"),
    "no sweep": (edited("sweep =", "settings ="), 5, "`sweep`", "not None"),
    "an empty sweep": (edited(SWEEP, "()"), 5, "`sweep`", "not ()"),
    "a sweep of numbers": (edited(SWEEP, "(1, 2)"), 5, "`sweep`", " 1,"),
    "a setting that is no number": (edited('"bits", 1', '"bits", "1"'), 5, "value='1'"),
    "no encode": (edited("def encode(", "def other("), 5, "'encode'"),
    "no decode": (edited("def decode(", "def other("), 5, "'decode'"),
    "a describe that raises": (edited(INFO, "self.info"), 10, "`describe`", "AttributeError"),
    "a package that raises": (edited(INFO, '__import__("json").loads("{")'), 10, "JSONDecodeError"),
    "a describe of another type": (edited(INFO, '{"version": "1"}'), 5, "`describe`", "{'version'"),
    "a describe with a number as text": (edited('1, "one', '"1", "one'), 5, "revision='1'"),
    "a device that is none": (edited('one call"', '", device="gpu"'), 5, "device='gpu'"),
    "an annotation of nothing": (WHOLE + OPTION.replace("int", '"A"'), 5, "signature", "NameError"),
    "a raising constructor": (WHOLE + OPTION.replace("= l", "= [][0] or l"), 19, "constr", "Index"),
}  # fmt: skip
CASES = {  # what the file holds, the spec, and words in the sentence
    **{name: (source, "mine.py:Mine", f"mine.py, line {line}: ", *words)
       for name, (source, line, *words) in MISTAKES.items()},
    "no such class": (WHOLE, "mine.py:Mien", "'Mine'"),
    "one with two names": (f"{WHOLE}\nCodec = Mine\n", "mine.py:Mien", "Known: Mine."),
    "no class named": (WHOLE, "mine.py", " ./mine.py:Mine"),
    "no class at all": ("", "mine.py", " ./mine.py:NAME"),
    "a file misspelt": (WHOLE, "min.py:Mine", "./min.py (did you mean mine.py?)"),
    "no default": (WHOLE + OPTION.replace(" = 9", ""), "mine.py:Mine", "level=..."),
    "an option misspelt": (WHOLE + OPTION, "mine.py:Mine:levl=3", "'levl'", "has: level"),
    "another type": (WHOLE + OPTION, "mine.py:Mine:level=high", "'high'", " int"),
    "no file": ("", "other.py:Mine", "./other.py"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_mistake_in_a_codec_file_is_one_sentence_before_a_run(case, tmp_path, monkeypatch):
    source, spec, *words = case
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(HEAD + source)
    result = bench("run", "--codecs", f"raw,./{spec}", "--dataset", "sample", "--results", "r")
    assert result.returncode == 2
    (sentence,) = result.stderr.splitlines()
    assert all(word in sentence for word in words), sentence
    assert not (tmp_path / "r").exists()
    assert str(tmp_path) not in sentence


@pytest.mark.parametrize("path", ["{}/mine.py", "link/mine.py", "{}/link/../{name}/mine.py"])
def test_every_path_to_a_codec_file_in_the_folder_names_one_system(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    path = path.format(tmp_path, name=tmp_path.name)
    assert parse_codec(f"{path}:Mine") == parse_codec("./mine.py:Mine")


@pytest.mark.parametrize("level", ["1", "__import__('numpy').int64(1)"])
def test_the_whole_codec_of_these_tests_is_planned(tmp_path, monkeypatch, level):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(HEAD + WHOLE.replace('"bits", 1', f'"bits", {level}'))
    result = bench("plan", "--codecs", "./mine.py:Mine", "--limit", "1", "--results", "r")
    assert (result.returncode, result.stderr) == (0, "")
    assert "2 cells" in result.stdout


def test_dataclasses_and_a_name_of_a_package_are_no_hindrance(tmp_path):
    path = tmp_path / "json.py"
    future = "from __future__ import annotations\nfrom dataclasses import dataclass\n"
    header = "@dataclass\nclass Header:\n    height: int\n\n\n"
    path.write_text(future + HEAD.partition("\n")[2] + header + WHOLE)
    assert load_codec(parse_codec(f"{path}:Mine")).name == "mine"
    assert json.loads("[1]") == [1]
    assert sys.modules["json"] is json


def test_a_file_that_changed_within_a_second_is_loaded_as_it_is_now(tmp_path):
    path = tmp_path / "mine.py"
    for title in ("first", "other"):
        path.write_text(HEAD + WHOLE.replace('"mine"', f'"{title}"'))
        assert load_codec(parse_codec(f"{path}:Mine")).name == title
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.py"]


def _describe_file(path):
    spec = parse_codec(f"{path}:Least")
    return describe_codec(spec, load_codec(spec))


def test_two_methods_and_a_sweep_are_a_codec_whose_file_identifies_it(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(HEAD + MINIMAL)
    info = _describe_file(path)
    digest = sha256(path.read_bytes()).hexdigest()
    assert load_codec(parse_codec(f"{path}:Least")).name == "Least"
    call = "Least.encode(pixels, bits={bits})"
    assert info == CodecInfo(f"mine.py {digest[:8]}", call, "NOASSERTION", digest)


def test_files_of_a_codec_are_in_its_fingerprint_and_its_attributes_in_its_facts(tmp_path):
    path, weights = tmp_path / "mine.py", tmp_path / "weights.pth"
    class_head = f"class Least:\n    files = ({str(weights)!r},)\n"
    path.write_text(HEAD + MINIMAL.replace("class Least:\n", class_head))
    fingerprints = set()
    for content in (b"first", b"later", b"first"):
        weights.write_bytes(content)
        fingerprints.add(_describe_file(path).fingerprint)
    assert len(fingerprints) == 2
    assert sha256(path.read_bytes()).hexdigest() not in fingerprints
    class_head = "class Least:\n    licence, version, device = 'MIT', '2', 'cuda:0'\n"
    path.write_text(HEAD + MINIMAL.replace("class Least:\n", class_head))
    info = _describe_file(path)
    assert (info.licence, info.version, info.device) == ("MIT", "2", "cuda")


@pytest.mark.parametrize("base", ["baselines.jpeg:JPEG", "baselines.raster:WebP"])
def test_a_subclass_of_a_codec_of_the_project_is_another_build_after_each_edit(tmp_path, base):
    path, (module, name) = tmp_path / "mine.py", base.split(":")
    fingerprints, versions = set(), set()
    for number in (1, 2, 3):
        text = f"from {module} import {name}\n\n\nclass Least({name}):\n    method = {number}\n"
        path.write_text(text)
        info = _describe_file(path)
        fingerprints.add(info.fingerprint)
        versions.add(info.version)
    original = load_codec(parse_codec(name.lower())).describe()
    assert len(fingerprints - {original.fingerprint}) == len(versions) == 3
    assert all(version.endswith(original.version) for version in versions)
    assert info.command == original.command
