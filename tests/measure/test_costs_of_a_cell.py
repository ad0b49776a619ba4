"""Memory, work and estimated bits of a cell: measured, declared, or null with nothing made up."""

import math
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from baselines.neural.card import load_card
from baselines.neural.costs import costs
from baselines.neural.network_codec import BUNDLED
from benchmark.codec import Setting
from benchmark.facts import Facts, Work, facts_of, work_of
from benchmark.measure.execute import CLEAR, execute
from benchmark.metrics.metric import Metric
from benchmark.rows.means import summarise
from benchmark.rows.shard import refused, table_of
from benchmark.rows.store import Store
from benchmark.rows.summary import REAL_TO_ESTIMATED
from benchmark.show.means import means_table
from benchmark.show.report.details import codec_records, codecs_table
from benchmark.spec import CodecSpec, parse_codec, resolve
from benchmark.system.machine import BUNDLED as BUNDLED_RESULTS
from support.codecs import fakes
from support.rows.measured import sweep

ROOT = Path(__file__).parents[2]
MEGABYTE, STEP = 1_000_000, Setting("step", 16)
linux = pytest.mark.skipif(not CLEAR.exists(), reason="/proc is not here")


class Hungry(fakes.Honest):
    def encode(self, pixels, setting):
        np.ones(100 * MEGABYTE, np.uint8)
        return super().encode(pixels, setting)


class Estimates(fakes.Honest):
    said: object = 1234.5

    def estimated_bits(self):
        if isinstance(self.said, Exception):
            raise self.said
        return self.said


def printed_alone(code):
    """Return what code prints in a process of its own, which has no freed memory to use again."""
    code = "import sys; sys.path.append('tests')\n" + textwrap.dedent(code)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return [int(word) for word in done.stdout.split()]


@linux
def test_the_peak_of_a_stage_is_that_of_the_stage_alone():
    encoding, decoding = printed_alone(
        """
        import numpy as np
        from benchmark.codec import Setting
        from benchmark.measure.execute import execute
        from measure.test_costs_of_a_cell import Hungry
        photo = np.zeros((64, 64, 3), np.uint8)
        coded = execute(Hungry(), Hungry(), "photo.png", photo, Setting("step", 16))
        print(coded.encode_peak_bytes, coded.decode_peak_bytes)
        """
    )
    assert 0.9 < (encoding - decoding) / (100 * MEGABYTE) < 1.1


@linux
def test_of_programs_the_largest_counts_and_those_before_do_not():
    before, during, after = printed_alone(
        f"""
        from benchmark.measure.execute import PeakMemory
        from benchmark.system.programs import run_program
        hungry = [sys.executable, "-c", "bytes(bytearray({400 * MEGABYTE}))"]
        print(PeakMemory().read_bytes())
        memory = PeakMemory()
        run_program(hungry, timeout_seconds=60)
        print(memory.read_bytes(), PeakMemory().read_bytes())
        """
    )
    assert max(before, after) < 400 * MEGABYTE < during


@pytest.mark.parametrize("said", [None, math.nan, -1, "many", [], RuntimeError("unknown")])
def test_what_is_no_number_of_bits_is_null(said, photo, monkeypatch):
    coder = Estimates()
    assert execute(coder, Estimates(), "photo.png", photo, STEP).estimated_bits == 1234.5
    monkeypatch.setattr(Estimates, "said", said)
    assert execute(coder, Estimates(), "photo.png", photo, STEP).estimated_bits is None


def test_the_work_that_a_users_class_declares_goes_into_rows_and_nonsense_does_not():
    spec, mine = CodecSpec("./mine.py:Mine", ()), fakes.Honest()
    assert work_of(spec, mine) == Work()
    for work, wrong in ((Work(5, 1, 2), []), (Work("many"), ["parameters"])):
        kind = type("Mine", (fakes.Honest,), {"facts": Facts(work=work)})
        assert work_of(spec, kind()) == work
        assert refused(work._asdict()) == wrong


@pytest.mark.slow
@pytest.mark.parametrize(
    ("codec", "checkpoint"),
    [
        ("ours:beta=0", "ours"), ("ours:beta=0:size=micro", "ours-micro"), ("ivr", "ivr"),
        ("charm", "charm-1"), ("elic", "elic-2"), ("hific", "hific-1"),
        ("multirealism:beta=0", "multirealism-4"), ("hyperprior:weights=matched", "hyperprior-1"),
        ("dirac:steps=3", "dirac-elic"), ("hfd:steps=2", "hfd-elic"),
    ],
)  # fmt: skip
def test_declared_work_is_what_torch_counts(codec, checkpoint):
    card = load_card(BUNDLED / f"{checkpoint}.safetensors.xz")
    parts = costs(card.architecture, card.config)
    if "unet" in parts:  # behind ELIC
        base = load_card(BUNDLED / "elic-1.safetensors.xz")
        parts = {**costs("elic", base.config), **parts}
    spec = resolve(parse_codec(codec))[0]
    names = {"g_a": "analysis", "g_s": "synthesis", "h_a": "hyper_analysis"}
    named = {names.get(name.removeprefix("codec."), name): part for name, part in parts.items()}
    kmac = {name: part.macs_per_pixel / 1e3 for name, part in named.items()}
    kmac["unet"] = kmac.get("unet", 0) * int(dict(spec.options).get("steps", 0))
    encoder, decoder = ("analysis", "hyper_analysis"), ("synthesis", "unet")
    both = sum(value for name, value in kmac.items() if name not in (*encoder, *decoder))
    counted = [both + sum(kmac[name] for name in way if name in kmac) for way in (encoder, decoder)]
    parameters, *declared = facts_of(spec).work
    assert parameters == sum(part.parameters for part in parts.values())
    assert declared == pytest.approx(counted, rel=0.005)


def test_estimated_and_real_bits_meet_in_the_tables():
    rows = [row | {"estimated_bits": 8 * row["num_bytes"] / 1.02} for row in sweep("elic")]
    table = table_of([*rows, *sweep("jpeg")])
    summary = summarise(table)
    ratios = [p.means[REAL_TO_ESTIMATED].value for p in summary.points if p.label == "elic"]
    assert ratios == pytest.approx([1.02] * len(ratios))
    shown = means_table(summary, [Metric.named("psnr")])
    at = shown.headers.index("real / estimated bits")
    assert {row[0]: row[at] for row in shown.rows} == {"elic": "1.0200", "jpeg": "–"}
    details = codecs_table(codec_records(summary), ["codec", "real / estimated bits"])
    assert dict(details.rows) == {"elic": "1.0200", "jpeg": ""}
    without = summarise(table_of(sweep("jpeg")))
    assert REAL_TO_ESTIMATED not in without.points[0].means


def test_rows_of_before_have_none_of_these_columns_and_load():
    table = Store(BUNDLED_RESULTS / "kodak").table()
    table = table.filter(~pl.col("codec").is_in(["dirac", "elic", "hfd", "ivr", "ours"]))
    for name in ("encode_peak_bytes", "estimated_bits", "parameters", "generation"):
        assert table[name].null_count() == table.height > 0
