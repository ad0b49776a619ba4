"""The promises of every architecture, and its registration."""

import pytest
import torch

from baselines.compressai.architecture import ZooConfig
from baselines.neural.architecture import ARCHITECTURES, load_architecture
from benchmark.errors import UnknownName

CONFIGS = {
    **{name: load_architecture(name).presets.get("tiny") for name in ARCHITECTURES},
    "compressai": ZooConfig("bmshj2018-hyperprior", (6, 8), 0.01),
}
# z's distributions are given by mean and scale, or there is no z.
WITHOUT_QUANTILES = ("ivr", "dirac", "hfd", "pqmim")
each_architecture = pytest.mark.parametrize("name", ARCHITECTURES)


def made(name):
    architecture = load_architecture(name)
    torch.manual_seed(0)
    return architecture, architecture.build(CONFIGS[name])


def test_an_unknown_architecture_is_refused_with_the_known_ones():
    with pytest.raises(UnknownName, match=r"'crd'.*'crdr'"):
        load_architecture("crd")


@each_architecture
def test_a_configuration_survives_its_json(name):
    architecture = load_architecture(name)
    config = architecture.config_from_json(architecture.config_to_json(CONFIGS[name]))
    assert config == CONFIGS[name] == made(name)[1].config
    assert architecture.name == name


@each_architecture
def test_the_groups_hold_every_parameter_once(name):
    network = made(name)[1]
    groups = network.parameter_groups()
    grouped = [one for group in groups for one in group.parameters]
    assert len(grouped) == len({id(one) for one in grouped})
    assert {id(one) for one in grouped} == {id(one) for one in network.parameters()}
    auxiliary = [] if name in WITHOUT_QUANTILES else ["quantiles"]
    assert [group.name for group in groups if group.auxiliary] == auxiliary


@pytest.mark.parametrize("name", [one for one in ARCHITECTURES if one not in WITHOUT_QUANTILES])
def test_the_auxiliary_loss_reaches_the_auxiliary_group_alone(name):
    network = made(name)[1]
    network.auxiliary_loss().backward()
    for group in network.parameter_groups():
        reached = any(one.grad is not None and bool(one.grad.any()) for one in group.parameters)
        assert reached == group.auxiliary


def test_what_acts_on_rate_and_realism_can_be_frozen_by_those_names():
    network = made("crdr")[1]
    parts = network.freezable()
    names = {id(one): name for name, one in network.named_parameters()}
    for part, within in (
        ("rate_control", {"attentions"}),
        ("realism_control", {"embedding", "project"}),
    ):
        found = {names[id(one)] for one in parts[part]}
        assert found == {one for one in names.values() if within & set(one.split("."))}
