"""Contract that every head of the table meets."""

import pytest
from helpers import head_contract as contract
from helpers.heads import build_head, regions

from fsdet.build import HEADS

META_TRAINED = [name for name in HEADS if HEADS[name].learns_from_episodes]


def test_classes_are_named_after_config_words():
    assert [kind.__name__.lower() for kind in HEADS.values()] == [
        name.replace("-", "") for name in HEADS
    ]


def test_rows_are_of_heads():
    assert set(contract.ROWS) <= set(HEADS)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("n_way", [1, 2, 5])
def test_any_number_of_categories_and_state_unchanged(name, n_way):
    contract.learns_any_number_of_categories_and_keeps_its_state(name, n_way)


@pytest.mark.parametrize("name", sorted(set(HEADS) - set(META_TRAINED)))
def test_fine_tuning_separates_categories(name):
    head, query = build_head(name), regions(seed=5)
    labels = head(query.features, head.adapt(regions())).logits.argmax(1)
    assert (labels == query.labels)[query.labels > 0].float().mean() > 0.9


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize(
    "check",
    [
        contract.does_not_depend_on_label_names,
        contract.depends_on_support_order_only_if_it_reads_in_order,
        contract.accepts_categories_without_regions,
        contract.agrees_in_bf16_autocast,
        contract.can_be_calibrated,
    ],
)
def test_head(name, check):
    check(name)


@pytest.mark.parametrize("name", META_TRAINED)
@pytest.mark.parametrize(
    "check",
    [contract.meta_training_generalises_to_new_categories, contract.gradients_reach_the_features],
)
def test_meta_trained_head(name, check):
    check(name)
