"""The fuzzer of parsers: what it kept is parsed again, and planted defects are found."""

import random
import re
from contextlib import nullcontext
from pathlib import Path

import pytest

from benchmark.errors import CorruptStream
from faults import fuzz_streams as command
from faults.fuzzing.guide import Guided, Tracer, fewest, mutated
from faults.fuzzing.judge import judge
from faults.fuzzing.part import from_text, shrunk, to_text
from faults.fuzzing.target import MEND, Target
from faults.fuzzing.targets import TARGETS, load_target
from support.faults import parsers
from support.faults.ledger import tell

FOLDERS = (str(Path(parsers.__file__).parent),)
HANG_SECONDS = 600.0  # of processor time; the slowest input takes one


def kept(name):
    lines = (command.KEPT / f"{name}.txt").read_text().splitlines()
    return [from_text(line) for line in lines if not line.startswith("# ")]


@pytest.mark.parametrize("name", TARGETS)
def test_what_the_fuzzer_kept_is_parsed_or_refused_in_a_sentence(name, tmp_path, record_property):
    target = load_target(name, tmp_path)
    inputs = kept(name)
    verdicts = [judge(target, data, HANG_SECONDS) for data in inputs]
    findings = [one.finding for one in verdicts if one.finding]
    tell(record_property, "kept inputs of the fuzzer", len(inputs), len(inputs), len(findings))
    assert findings == []
    assert any(one.refused for one in verdicts) != (name == "jpeg-segments")  # it only counts
    assert not all(one.refused for one in verdicts)


def test_each_parser_has_a_corpus_and_all_of_them_are_small():
    files = sorted(command.KEPT.glob("*.txt"))
    assert [path.stem for path in files] == sorted(TARGETS)
    assert sum(path.stat().st_size for path in files) < 100_000


@pytest.mark.parametrize("name", ["level-map", "tar", "zoo-header"])
def test_the_corpus_reaches_code_that_its_seeds_do_not(name, tmp_path):
    target, tracer = load_target(name, tmp_path), Tracer()

    def edges(inputs):
        return set().union(*(tracer(lambda data=data: judge(target, data)) for data in inputs))

    edges(target.inputs())  # what happens once only
    assert edges(kept(name)) > edges(target.inputs())


def executions_until_the_defect(guided):
    """Return how many executions find what is planted in `parsers.nested`, None for none."""
    search = Guided(Tracer(FOLDERS if guided else ()), seed=3, longest=8)

    def execute(data):
        try:
            parsers.nested(data)
        except CorruptStream:
            return

    with pytest.raises(parsers.PlantedError) if guided else nullcontext():
        search.run(execute, [b"1234"], seconds=600, executions=20_000)
    return search.executions


def test_a_guided_search_finds_what_a_blind_one_does_not():
    assert executions_until_the_defect(guided=True) < 20_000
    assert executions_until_the_defect(guided=False) == 20_000


def test_mutants_are_those_of_the_seed_and_no_longer_than_asked():
    def drawn(seed):
        chance = random.Random(seed)
        return [mutated(b"some bytes", [b"others"], chance, 12) for _ in range(200)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert len(set(drawn(1))) > 100
    assert max(map(len, drawn(1))) <= 12


def test_the_fewest_inputs_take_all_edges():
    edges = {b"a": {1, 2}, b"b": {2, 3}, b"abc": {1, 2, 3}, b"d": {4}, b"e": set()}
    chosen = fewest(edges, edges.__getitem__)
    assert sorted(chosen) == [b"abc", b"d"]


def failing(error):
    def parse(data):
        raise error

    return parse


def long(data):
    for _ in range(200_000):
        pass
    return 0


@pytest.mark.parametrize(
    ("parse", "place"),
    [
        (failing(KeyError("H")), r"KeyError at tests/faults/test_fuzz_streams\.py:\d+"),
        (failing(MemoryError()), "MemoryError at .*"),
        (failing(CorruptStream("")), "a refusal without words"),
        (failing(CorruptStream("one\ntwo")), "a refusal of more than a sentence"),
        (failing(CorruptStream("long " * 400)), "a refusal of more than a sentence"),
        (failing(CorruptStream("ValueError: unpack")), "a refusal that is an error's name"),
        (lambda data: 11, "it decodes to 11 pixels, beyond 10"),
        (long, "it takes more than 1e-06 s"),
        (lambda data: len(bytearray(64 << 20)) * 0, "it takes more than 32 MiB"),
    ],
)
def test_a_broken_promise_is_a_finding(parse, place, monkeypatch):
    limit = 1e-6 if parse is long else HANG_SECONDS
    target = Target(parse, (b"ab",), most_pixels=10, most_bytes=32 << 20)
    if "MiB" in place:  # the peak of the process stands still below what other tests took
        peaks = iter((0, 64 << 20))
        monkeypatch.setattr("faults.fuzzing.judge.peak_bytes", lambda: next(peaks))
    verdict = judge(target, b"\0ab", limit)
    assert re.fullmatch(place, verdict.place)
    assert verdict.finding


def test_a_sound_answer_is_none():
    assert judge(Target(lambda data: 10, (), most_pixels=10), b"\0ab") == (False, "", "")
    refused = judge(Target(failing(CorruptStream("it is short")), ()), b"\0ab")
    assert refused == (True, "", "")


def test_the_first_byte_of_an_input_says_whether_it_is_mended():
    target = Target(len, (b"ab",), mend=lambda data: data.upper())
    assert [target.bytes_of(one) for one in target.inputs()] == [b"AB", b"ab"]
    assert target.inputs()[0][0] == MEND
    assert target.bytes_of(b"") == b""


def test_an_input_is_shrunk_while_it_is_found_for_the_same_reason():
    chance = random.Random(1)
    data = chance.randbytes(300) + b"xy" + chance.randbytes(300)
    assert shrunk(data, lambda one: b"xy" in one) == b"xy"
    assert shrunk(data, lambda one: False) == data
    assert from_text(to_text(data)) == data


def test_the_command_finds_a_planted_defect_and_an_end_of_the_process(tmp_path, capsys):
    names = ["support.faults.parsers:raises", "support.faults.parsers:dies"]
    words = ["--only", ",".join(names), "--engine", "tracer", "--seed", "2"]
    assert command.main([*words, "--minutes", "0.05", "--corpus", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "FOUND in support.faults.parsers:raises: PlantedError at tests/support/faults" in printed
    assert "FOUND in support.faults.parsers:dies: it ends the process (-6)" in printed
    again = re.search(r"raises: PlantedError.*\n  input \w\w(\w\w)\n", printed)
    assert int(again[1], 16) > 0xC0
    assert re.search(r"\| together \| [1-9]", printed)
    assert not list(command.KEPT.glob("support*"))


@pytest.mark.parametrize("words", [["--only", "nothing"], ["--engine", "guess"]])
def test_a_wrong_request_is_refused(words, capsys):
    with pytest.raises(SystemExit):
        command.main(words)
    assert "error: " in capsys.readouterr().err
