"""Work and estimated bits of a cell: measured, declared, or null with nothing made up."""

import math

import numpy as np
import pytest
from torch.utils.flop_counter import FlopCounterMode

from baselines.neural.card import load_card
from baselines.neural.costs import costs
from baselines.neural.network_codec import BUNDLED
from benchmark.codec import Setting
from benchmark.facts import Facts, Work, facts_of, work_of
from benchmark.measure.execute import execute
from benchmark.metrics.metric import Metric
from benchmark.rows.edition import label_of
from benchmark.rows.means import summarise
from benchmark.rows.shard import refused_columns, table_of
from benchmark.rows.summary import REAL_TO_ESTIMATED
from benchmark.show.means_table import means_table
from benchmark.show.report.details import codec_records, codecs_table
from benchmark.spec import CodecSpec, load_codec, parse_codec, resolve
from support.codecs import fakes
from support.rows.measured import sweep

STEP = Setting("step", 16)


class Estimates(fakes.Honest):
    declared_bits: object = 1234.5

    def estimated_bits(self):
        if isinstance(self.declared_bits, Exception):
            raise self.declared_bits
        return self.declared_bits


@pytest.mark.parametrize("declared_bits", [None, math.nan, -1, "many", [], RuntimeError("unknown")])
def test_an_invalid_number_of_bits_is_null(declared_bits, photo, monkeypatch):
    coder = Estimates()
    assert execute(coder, Estimates(), "photo.png", photo, STEP).estimated_bits == 1234.5
    monkeypatch.setattr(Estimates, "declared_bits", declared_bits)
    assert execute(coder, Estimates(), "photo.png", photo, STEP).estimated_bits is None


def test_the_work_that_a_users_class_declares_goes_into_rows_and_nonsense_does_not():
    spec, codec = CodecSpec("./mine.py:Mine", ()), fakes.Honest()
    assert work_of(spec, codec) == Work()
    for work, refused_names in ((Work(5, 1, 2), []), (Work("many"), ["parameters"])):
        assert work_of(spec, type("Mine", (fakes.Honest,), {"facts": Facts(work=work)})()) == work
        assert refused_columns(work._asdict()) == refused_names


@pytest.mark.slow
@pytest.mark.parametrize("size", ["", ":size=micro"])
def test_the_declared_work_of_a_search_is_what_torch_counts(size):
    """Torch does not count the integers of the entropy path, which every encoder shares."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    counted, declared = [], []
    for effort in ("", ":effort=1"):
        (spec,) = resolve(parse_codec(f"ours:beta=0{effort}{size}"))
        codec = load_codec(spec)
        codec.encode(pixels, Setting("q", 2))  # the first encoding prepares its network
        with FlopCounterMode(display=False) as counter:
            codec.encode(pixels, Setting("q", 2))
        counted.append(counter.get_total_flops() / 2 / 64**2 / 1e3)
        declared.append(facts_of(spec))
    expected = pytest.approx(counted[1] - counted[0], 1e-3)
    assert declared[1].work.encode_kmac - declared[0].work.encode_kmac == expected
    assert declared[1].kmac - declared[0].kmac == expected
    assert work_of(spec, load_codec(spec)) == declared[1].work


@pytest.mark.slow
@pytest.mark.parametrize(
    ("codec", "checkpoint"),
    [
        ("ours:beta=0", "ours"), ("ours:beta=0:size=micro", "ours-micro"), ("ivr", "ivr"),
        ("charm", "charm-1"), ("elic", "elic-2"), ("elic", "elic-4"), ("hific", "hific-1"),
        ("multirealism:beta=0", "multirealism-4"), ("hyperprior:weights=matched", "hyperprior-1"),
        ("dirac:steps=3", "dirac-elic"), ("hfd:steps=2", "hfd-elic-4"),
    ],
)  # fmt: skip
def test_declared_work_is_what_torch_counts(codec, checkpoint):
    card_name = checkpoint.removesuffix("-4") if checkpoint.startswith("hfd") else checkpoint
    card = load_card(BUNDLED / f"{card_name}.safetensors.xz")
    parts, level = costs(card.architecture, card.config), 4 if checkpoint.endswith("-4") else 1
    if "unet" in parts:  # it follows ELIC
        base = load_card(BUNDLED / f"elic-{level}.safetensors.xz")
        parts = {**costs("elic", base.config), **parts}
    spec = resolve(parse_codec(codec))[0]
    names = {"g_a": "analysis", "g_s": "synthesis", "h_a": "hyper_analysis"}
    transforms = {names.get(name.removeprefix("codec."), name): parts[name] for name in parts}
    kmac = {name: part.macs_per_pixel / 1e3 for name, part in transforms.items()}
    kmac["unet"] = kmac.get("unet", 0) * int(dict(spec.options).get("steps", 0))
    encoder, decoder = ("analysis", "hyper_analysis"), ("synthesis", "unet")
    shared_kmac = sum(value for name, value in kmac.items() if name not in (*encoder, *decoder))
    counted = [shared_kmac + sum(kmac[name] for name in names_of_side if name in kmac)
               for names_of_side in (encoder, decoder)]  # fmt: skip
    parameters, *declared = work_of(spec, load_codec(spec), level)
    assert parameters == sum(part.parameters for part in parts.values())
    assert declared == pytest.approx(counted, rel=0.005)


def test_estimated_and_real_bits_meet_in_the_tables():
    rows = [row | {"estimated_bits": 8 * row["num_bytes"] / 1.02} for row in sweep("elic")]
    summary = summarise(table_of([*rows, *sweep("jpeg")]))
    for point in (p for p in summary.points if label_of(p.edition.spec) == "elic"):
        assert point.means[REAL_TO_ESTIMATED].value == pytest.approx(1.02)
    means = means_table(summary, [Metric.named("psnr")])
    column = means.headers.index("real / estimated bits")
    assert {row[0]: row[column] for row in means.rows} == {"elic": "1.0200", "jpeg": "–"}
    details = codecs_table(codec_records(summary), ["codec", "real / estimated bits"])
    assert dict(details.rows) == {"elic": "1.0200", "jpeg": ""}
    assert REAL_TO_ESTIMATED not in summarise(table_of(sweep("jpeg"))).points[0].means
