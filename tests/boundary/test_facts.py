"""Facts about a contender are declared with it, and the harness asks for them."""

import sys

import pytest

from benchmark.facts import facts_of
from benchmark.registry import CODECS, declared_facts
from benchmark.rows.edition import CATALOGUE, label_of
from benchmark.spec import CodecSpec, codec_class, load_codec, parse_codec
from conftest import ROOT
from support.processes import ran

CODEC = """
from baselines.raster import Raw
from benchmark.facts import Facts, Memory, Typical


class Mine(Raw):
    facts = Facts(
        "My codec", kind="learned", group="Programs", colour="#123456", marker="d", family="mine",
        trained_on=("ms_ssim",), chroma="4:2:2", memory=Memory(1000, 0, torch=False),
        typical=(Typical("bits", ((8, 7),)),),
    )
"""
PROGRAM = """
import sys
from benchmark.registry import CODECS
CODECS["added"] = "added_codec:Mine"
from benchmark.rows.edition import GROUPED, Edition, label_of, measured_titles
from benchmark.show.figures.style import styles
from benchmark.measure.estimate import Need, worker_bytes
from benchmark.facts import facts_of
from benchmark.spec import CodecSpec
level = Edition.create(CodecSpec.parse("added", "level=2"))
assert measured_titles()["added"] == "My codec"
(added,) = (edition for edition in GROUPED if label_of(edition.spec) == "added")
assert added.facts.group == "Programs"
assert level.family == "mine"
assert styles([added])[added.spec][:2] == ("#123456", "d")
assert level.facts.trained_on == ("ms_ssim",)
assert facts_of(CodecSpec("added", ())).chroma == "4:2:2"
sizes = [worker_bytes(Need("added", 100, side), ["psnr"]) for side in (1000, 2000)]
assert sizes[1] - sizes[0] == 1000 * 100 * 1000
assert "torch" not in sys.modules
"""


def test_a_new_codec_with_its_facts_is_one_file_and_its_line_in_the_registry(tmp_path):
    (tmp_path / "added_codec.py").write_text(CODEC)
    program = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]\n{PROGRAM}"
    result = ran(sys.executable, "-c", program)
    assert result.returncode == 0, result.stderr


def test_facts_of_files_of_users_and_of_wrong_options_are_the_defaults(tmp_path):
    codec_file = tmp_path / "mine.py"
    codec_file.write_text("raise SystemExit('a file that rows name was run')")
    for text in (f"{codec_file}:Mine", "dirac:base=nothing", "dirac:steps=few"):
        assert facts_of(parse_codec(text)).title == ""
    assert facts_of(parse_codec(f"dirac:steps=2:base={codec_file}\\:Mine")).kind == "learned"


def test_every_codec_has_facts_without_its_code_and_no_second_ones_on_its_class():
    facts = declared_facts()
    assert facts["facts"].keys() == CODECS.keys()
    for name in CODECS:
        kind = codec_class(CodecSpec(name, ()))
        assert [fact for fact in facts if hasattr(kind, fact)] == []


@pytest.mark.parametrize(
    "label", [label_of(edition.spec) for edition in CATALOGUE if edition.facts.training.steps]
)
def test_training_names_the_bundled_weights(label):
    fingerprint = load_codec(parse_codec(label)).describe().fingerprint
    assert fingerprint[:8] == facts_of(parse_codec(label)).training.fingerprint
