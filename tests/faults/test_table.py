"""The table of docs/reliability.md: which tests it is made of, and how their records add up."""

from importlib.util import module_from_spec, spec_from_file_location

import pytest

from conftest import ROOT
from support.faults.ledger import tell

REPORT = """<testsuite>
<testcase name="test_a[few]"><properties>
<property name="fault" value="kills"/><property name="runs" value="5"/>
<property name="injected" value="3"/><property name="losses" value="0"/></properties></testcase>
<testcase name="test_b"><properties>
<property name="fault" value="kills"/><property name="runs" value="2000"/>
<property name="injected" value="1000"/><property name="losses" value="1"/></properties>
<failure/></testcase>
<testcase name="test_c"><skipped message="needs the right to mount"/></testcase>
</testsuite>"""


@pytest.fixture(scope="module")
def faults():
    spec = spec_from_file_location("faults", ROOT / "tools" / "faults.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_test_that_records_faults_is_run_for_the_table(faults):
    recording = {
        path for path in (ROOT / "tests").rglob("test_*.py") if " tell(" in path.read_text()
    }
    assert recording - {ROOT / "tests" / "faults" / "test_table.py"} <= set(faults.TESTS)
    assert len(faults.TESTS) >= 6


def test_records_of_one_fault_add_up_and_failures_and_skips_are_named(faults):
    counts, failed, skipped = faults.read(REPORT)
    assert [tuple(count) for count in counts] == [("kills", 2005, 1003, 1)]
    assert (failed, skipped) == (["test_b"], ["test_c: needs the right to mount"])
    text = faults.table(counts, failed, skipped, "python tools/faults.py --quick")
    assert "| kills | 2,005 | 1,003 | 1 |\n" in text
    assert "**Failed:** test_b" in text
    assert "Not run: test_c: needs the right to mount" in text


def test_a_loss_that_is_a_truth_value_is_counted(faults):
    told = {}
    tell(told.__setitem__, "kills", 2, 1, not "a sentence")
    case = "".join(f'<property name="{name}" value="{value}"/>' for name, value in told.items())
    counts, _, _ = faults.read(f"<a><testcase><properties>{case}</properties></testcase></a>")
    assert [tuple(count) for count in counts] == [("kills", 2, 1, 0)]


def test_the_document_has_a_place_for_the_table(faults):
    text = faults.DOCUMENT.read_text()
    assert text.count(faults.BEGIN) == text.count(faults.END) == 1
    assert text.index(faults.BEGIN) < text.index(faults.END)
