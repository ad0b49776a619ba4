"""The list of mutants that no test can notice is of files that are there."""

from conftest import ROOT
from support.mutation.mutate import read_equivalents


def test_equivalent_mutants_are_of_files_that_exist_and_have_a_reason():
    known = read_equivalents(ROOT)
    assert known
    for name, reason in known.items():
        path, _, change = name.partition(": ")
        assert (ROOT / path).is_file()
        assert " => " in change
        assert reason
