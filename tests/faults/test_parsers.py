"""Parsers of bytes that others send: what a fuzzer found is parsed again, mutants are refused."""

import random

import pytest

from faults.fuzzing.target import TARGETS, judge, load_target, mutate, stored_inputs

HANG_SECONDS = 600.0  # of processor time; the slowest input takes one


@pytest.mark.parametrize("name", TARGETS)
def test_kept_inputs_are_parsed_or_refused_in_a_sentence(name, tmp_path):
    target = load_target(name, tmp_path)
    inputs = [*stored_inputs(name), *target.inputs]
    verdicts = [judge(target, data, HANG_SECONDS) for data in inputs]
    assert [verdict.finding for verdict in verdicts if verdict.finding] == []
    refuses = name != "jpeg-segments"  # which are only counted
    assert any(verdict.refused for verdict in verdicts) == refuses
    assert not all(verdict.refused for verdict in verdicts)


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_mutants_are_parsed_or_refused_in_a_sentence(name, tmp_path):
    target, chance = load_target(name, tmp_path), random.Random(name)
    inputs, findings = [*stored_inputs(name), *target.inputs], []
    for _ in range(2000):
        data = mutate(chance.choice(inputs), chance)[: target.max_input_bytes]
        if finding := judge(target, data, HANG_SECONDS).finding:
            findings.append(f"{finding}: {data.hex()}")
    assert findings == []
