"""Contenders: each file is read, each script has the methods, and the page lists what is there."""

import ast
import re
from pathlib import Path

import pytest

from baselines.worker.contender import Contender, read_contender

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted((ROOT / "contenders").glob("*.toml"))
SCRIPTS = sorted((ROOT / "contenders").glob("*_worker.py"))
ROW = re.compile(r"^\| \[(.+?)\]\(\.\./contenders/(\w+)\.toml\) \| (.+?) \| (.+?) \|", re.MULTILINE)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_contender_says_where_it_is_from_and_has_a_script_unless_untried(file):
    contender = read_contender(file)
    assert contender.licence
    assert contender.reference
    assert contender.tried
    assert (file.parent / contender.script).is_file() == (contender.tried != "nothing")
    assert all(path.startswith("checkpoints/") for path in contender.weights)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_reads_as_python_3_6_and_has_what_the_helper_calls(script):
    tree = ast.parse(script.read_text(), feature_version=(3, 6))
    [codec] = (node for node in tree.body if isinstance(node, ast.ClassDef))
    methods = {node.name: node for node in codec.body if isinstance(node, ast.FunctionDef)}
    given = {
        name.id: node.value
        for node in codec.body
        if isinstance(node, ast.Assign)
        for name in node.targets
        if isinstance(name, ast.Name)
    }
    assert "sweep" in given
    assert [each.arg for each in methods["encode"].args.args] == ["self", "pixels", "setting"]
    needs = ast.literal_eval(given.get("decoder_needs", ast.Tuple([])))
    assert [each.arg for each in methods["decode"].args.args] == ["self", "data", *needs]
    assert any(read_contender(file).script == script.name for file in FILES)


def test_the_page_lists_all_contenders_and_no_other_with_what_they_were_tried_and_licence():
    page = (ROOT / "docs/contenders.md").read_text()

    def row(file: Path, contender: Contender) -> tuple[str, ...]:
        return (contender.name, file.stem, contender.tried, contender.licence)

    assert sorted(ROW.findall(page)) == sorted(row(file, read_contender(file)) for file in FILES)
