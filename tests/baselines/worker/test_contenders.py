"""Contenders: each file can be read, each script has the methods, and the page lists all."""

import ast
import errno
import re
from pathlib import Path

import pytest

from baselines.commands import worker
from baselines.worker.codec import read_contender
from benchmark.errors import BenchError

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted((ROOT / "contenders").glob("*.toml"))
SCRIPTS = sorted((ROOT / "contenders").glob("*_worker.py"))
WITHOUT_SCRIPT = ("no stream", "no code")  # published by the authors


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_contender_says_where_it_is_from_and_has_a_script_where_there_is_a_codec(file):
    contender = read_contender(file)
    assert contender.licence
    assert contender.reference
    assert contender.tried
    assert (file.parent / contender.script).is_file() == (contender.tried not in WITHOUT_SCRIPT)
    assert all(path.startswith("checkpoints/") for path in contender.weights)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_reads_as_python_3_6_and_has_what_the_helper_calls(script):
    tree = ast.parse(script.read_text(), feature_version=(3, 6))
    [codec] = (node for node in tree.body if isinstance(node, ast.ClassDef))
    methods = {node.name: node for node in codec.body if isinstance(node, ast.FunctionDef)}
    arguments_of = {
        name.id: node.value
        for node in codec.body
        if isinstance(node, ast.Assign)
        for name in node.targets
        if isinstance(name, ast.Name)
    }
    assert "sweep" in arguments_of
    assert [argument.arg for argument in methods["encode"].args.args] == [
        "self",
        "pixels",
        "setting",
    ]
    needs = ast.literal_eval(arguments_of.get("decoder_needs", ast.Tuple([])))
    assert [argument.arg for argument in methods["decode"].args.args] == ["self", "data", *needs]
    assert any(read_contender(file).script == script.name for file in FILES)


def test_the_page_lists_each_contender_by_what_it_was_tried_with_and_no_other():
    page = (ROOT / "docs" / "own-codec.md").read_text()
    section = page.partition("\n### Contenders\n")[2].partition("\n## ")[0]
    listed = [
        (tried, *link)
        for tried, links in re.findall(r"^- (.+?): (\[.+)$", section, re.MULTILINE)
        for link in re.findall(r"\[(.+?)\]\(\.\./contenders/(.+?)\)", links)
    ]
    read = {file.name: read_contender(file) for file in FILES}
    assert sorted(listed) == sorted((entry.tried, entry.name, name) for name, entry in read.items())


def test_a_new_contender_on_a_full_disk_is_one_sentence_and_leaves_no_file(tmp_path, monkeypatch):
    written = []

    def write(path, content):
        if written:
            raise OSError(errno.ENOSPC, "No space left on device")
        path.write_bytes(content)
        written.append(path)

    monkeypatch.setattr(worker, "write_file", write)
    with pytest.raises(BenchError, match=r"mine_worker\.py .*No space"):
        worker.new("mine", tmp_path / "out")
    assert written
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
