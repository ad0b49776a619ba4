"""A user's codec file with a mistake: one sentence with file and line, before anything runs."""

import json
import re
import sys

import pytest

from benchmark.codec_spec import load_codec, parse_codec
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
INFO = 'CodecInfo("1", "encode({bits})", "MIT", "0" * 64, 1, "one call")'


def without(method):
    """Return the class with a method under another name."""
    return WHOLE.replace(f"def {method}(", f"def {method}_not(")


MISTAKES = {  # what the file holds, the spec, and what is said
    "a syntax error": (
        HEAD + WHOLE.replace("def encode(self, pixels, setting):", "def encode(self, pixels"),
        "mine.py:Mine",
        r"mine\.py, line 12: .*'\(' was never closed.*: correct it",
    ),
    "a package that is not installed": (
        HEAD + "import nonesuch\n" + WHOLE,
        "mine.py:Mine",
        r"mine\.py, line 5: the Python package 'nonesuch' is not installed",
    ),
    "a name that a module lacks": (
        HEAD + "from benchmark.codec import Pixel\n" + WHOLE,
        "mine.py:Mine",
        r"mine\.py, line 5: the file cannot be loaded: ImportError: cannot import name 'Pixel'.*",
    ),
    "an error while it is loaded": (
        HEAD + "LEVELS = 1 / 0\n" + WHOLE,
        "mine.py:Mine",
        r"mine\.py, line 5: the file cannot be loaded: ZeroDivisionError: division by zero",
    ),
    "an end of the program": (
        HEAD + "raise SystemExit(0)\n" + WHOLE,
        "mine.py:Mine",
        r"mine\.py, line 5: the file cannot be loaded: SystemExit: 0",
    ),
    "no such class": (
        HEAD + WHOLE,
        "mine.py:Mien",
        r"No class in mine\.py: 'Mien'\. Did you mean 'Mine'\? Known: Mine\.",
    ),
    "no such class, and one with two names": (
        HEAD + WHOLE + "\n\nCodec = Mine\n",
        "mine.py:Mien",
        r"No class in mine\.py: 'Mien'\. Did you mean 'Mine'\? Known: Mine\.",
    ),
    "no class named": (
        HEAD + WHOLE,
        "mine.py",
        r"'\./mine\.py' names no class: write \./mine\.py:ClassName",
    ),
    "no name": (
        HEAD + WHOLE.replace('name = "mine"', "title = 1"),
        "mine.py:Mine",
        r"mine\.py, line 5: of \./mine\.py:Mine, `name` is to be a text, not None",
    ),
    "no sweep": (
        HEAD + WHOLE.replace("sweep =", "settings ="),
        "mine.py:Mine",
        r"mine\.py, line 5: .*`sweep` is to be a tuple of one Setting or more, not None",
    ),
    "an empty sweep": (
        HEAD + WHOLE.replace('(Setting("bits", 1), Setting("bits", 2))', "()"),
        "mine.py:Mine",
        r"mine\.py, line 5: .*`sweep` is to be a tuple of one Setting or more, not \(\)",
    ),
    "a sweep of numbers": (
        HEAD + WHOLE.replace('(Setting("bits", 1), Setting("bits", 2))', "(1, 2)"),
        "mine.py:Mine",
        r"mine\.py, line 5: .*`sweep` holds 1, not a Setting such as Setting\('bits', 3\)",
    ),
    "a setting that is no number": (
        HEAD + WHOLE.replace('Setting("bits", 1)', 'Setting("bits", "1")'),
        "mine.py:Mine",
        r"mine\.py, line 5: .*`sweep` holds Setting\(name='bits', value='1'\), not a Setting.*",
    ),
    "no encode": (
        HEAD + without("encode"),
        "mine.py:Mine",
        r"mine\.py, line 5: the class Mine has no method 'encode', which a codec needs",
    ),
    "no decode": (
        HEAD + without("decode"),
        "mine.py:Mine",
        r"mine\.py, line 5: the class Mine has no method 'decode', which a codec needs",
    ),
    "no describe": (
        HEAD + without("describe"),
        "mine.py:Mine",
        r"mine\.py, line 5: the class Mine has no method 'describe', which a codec needs",
    ),
    "a describe that raises": (
        HEAD + WHOLE.replace(f"return {INFO}", "return self.info"),
        "mine.py:Mine",
        r"mine\.py, line 10: `describe` of \./mine\.py:Mine failed: AttributeError: .*'info'",
    ),
    "a describe that raises in a package": (
        HEAD + "import json\n" + WHOLE.replace(f"return {INFO}", 'return json.loads("{")'),
        "mine.py:Mine",
        r"mine\.py, line 11: `describe` of \./mine\.py:Mine failed: JSONDecodeError: .*",
    ),
    "a describe that returns something else": (
        HEAD + WHOLE.replace(f"return {INFO}", 'return {"version": "1"}'),
        "mine.py:Mine",
        r"mine\.py, line 5: .*`describe` is to return a CodecInfo, not \{'version': '1'\}",
    ),
    "a describe with a number as text": (
        HEAD + WHOLE.replace('1, "one call"', '"1", "one call"'),
        "mine.py:Mine",
        r"mine\.py, line 5: .*`describe` gives revision as '1', which is to be of type int",
    ),
    "a device that is none": (
        HEAD + WHOLE.replace('"one call"', '"one call", device="gpu"'),
        "mine.py:Mine",
        r"mine\.py, line 5: .*`describe` gives device as 'gpu', which is to be 'cpu' or 'cuda'",
    ),
    "an option without a default": (
        HEAD + WHOLE + "\n    def __init__(self, level):\n        self.level = level\n",
        "mine.py:Mine",
        r"\./mine\.py:Mine needs level=\.\.\.",
    ),
    "an option misspelt": (
        HEAD + WHOLE + "\n    def __init__(self, level: int = 9):\n        self.level = level\n",
        "mine.py:Mine:levl=3",
        r"\./mine\.py:Mine has no option 'levl'; it has: level",
    ),
    "an option of another type": (
        HEAD + WHOLE + "\n    def __init__(self, level: int = 9):\n        self.level = level\n",
        "mine.py:Mine:level=high",
        r"\./mine\.py:Mine: level='high' is not of type int",
    ),
    "an annotation of nothing": (
        HEAD
        + WHOLE
        + '\n    def __init__(self, level: "Level" = 9):\n        self.level = level\n',
        "mine.py:Mine",
        r"mine\.py, line 5: the signature of \./mine\.py:Mine failed: NameError: .*'Level'.*",
    ),
    "a constructor that raises": (
        HEAD + WHOLE + "\n    def __init__(self):\n        self.table = [][0]\n",
        "mine.py:Mine",
        r"mine\.py, line 19: the constructor of \./mine\.py:Mine failed: IndexError: .*",
    ),
    "no file": ("", "other.py:Mine", r"no file \./other\.py"),
}


@pytest.mark.parametrize("verb", ["run", "plan"])
@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_in_a_codec_file_is_one_sentence_before_anything_runs(
    mistake, verb, tmp_path, monkeypatch
):
    source, spec, said = mistake
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(source)
    done = bench(verb, "--codecs", f"raw,./{spec}", "--dataset", "sample", "--results", "r")
    assert done.returncode == 2
    (sentence,) = done.stderr.splitlines()
    expected = rf"bench: (\./[\w:.=]+ cannot run here: )?{said}(; --skip-missing .*)?"
    assert re.fullmatch(expected, sentence), sentence
    assert not (tmp_path / "r").exists()
    assert str(tmp_path) not in sentence


def test_the_whole_codec_of_these_tests_is_planned(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(HEAD + WHOLE)
    done = bench("plan", "--codecs", "./mine.py:Mine", "--limit", "1", "--results", "r")
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 cells" in done.stdout


def test_dataclasses_and_a_name_of_a_package_are_no_hindrance(tmp_path):
    path = tmp_path / "json.py"
    future = "from __future__ import annotations\nfrom dataclasses import dataclass\n"
    header = "@dataclass\nclass Header:\n    height: int\n\n\n"
    path.write_text(future + HEAD.partition("\n")[2] + header + WHOLE)
    assert load_codec(parse_codec(f"{path}:Mine")).name == "mine"
    assert json.loads("[1]") == [1]
    assert sys.modules["json"] is json


def test_settings_may_be_numbers_of_numpy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    several = WHOLE.replace('Setting("bits", 1)', 'Setting("bits", np.int64(1))')
    (tmp_path / "mine.py").write_text(f"{HEAD}import numpy as np\n{several}")
    assert bench("plan", "--codecs", "./mine.py:Mine", "--limit", "1").returncode == 0


def test_a_file_that_changed_within_a_second_is_loaded_as_it_is_now(tmp_path):
    path = tmp_path / "mine.py"
    for title in ("first", "other"):
        path.write_text(HEAD + WHOLE.replace('"mine"', f'"{title}"'))
        assert load_codec(parse_codec(f"{path}:Mine")).name == title
    assert [one.name for one in tmp_path.iterdir()] == ["mine.py"]
