"""Work and training of bundled checkpoints: the codecs' facts agree with the cards."""

import pytest

from baselines.neural.costs import costs
from benchmark.facts import facts_of
from benchmark.spec import parse_codec
from tools.field_table import FIELD, effort, load_cards


@pytest.mark.parametrize("contender", FIELD, ids=lambda contender: contender.label)
def test_a_codecs_class_says_of_work_and_training_what_the_cards_say(contender):
    cards, receiver = load_cards(contender)
    facts = facts_of(parse_codec(contender.label))
    kmac, trained = facts.kmac, facts.training
    declared = trained.petamacs, trained.optimiser, trained.steps
    assert declared == tuple(effort([*cards, *receiver]))
    works = [
        sum(part.macs_per_pixel for part in costs(card.architecture, card.config).values()) / 1e3
        for card in cards
    ]
    steps = [
        contender.steps * part.macs_per_pixel / 1e3
        for card in receiver
        for part in costs(card.architecture, card.config).values()
    ]
    assert min(works) - 0.1 < kmac - sum(steps) < max(works) + 0.1
