"""Options of heads: types, ranges and messages of `head.args`."""

import pytest
from helpers.heads import SHAPE, regions

from fsdet import build
from fsdet import config as cfg
from fsdet.errors import InputError


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("maml", {"steps": 0}, "steps: expected above 0, got 0"),
        ("maml", {"steps": 2.5}, "steps: expected a whole number, got 2.5"),
        ("maml", {"steps": True}, "steps: expected a whole number, got True"),
        ("maml", {"test_steps": -1}, "test_steps: expected at least 0, got -1"),
        ("maml", {"background": "x"}, "background: expected a finite number, got 'x'"),
        ("maml", {"share": None}, "share: expected a finite number, got None"),
        ("maml", {"row_step": 0}, "row_step: expected above 0, got 0"),
        ("maml", {"embedding_step": -0.1}, "embedding_step: expected above 0, got -0.1"),
        ("maml", {"regressor_step": 0.0}, "regressor_step: expected above 0, got 0.0"),
        ("maml", {"scale": -1}, "scale: expected above 0, got -1"),
        ("maml", {"second_order": 1}, "second_order: expected true or false, got 1"),
        ("maml", {"stesp": 3}, "stesp: 'maml' has no such argument; did you mean 'steps'"),
        ("meta-lstm", {"inner_step": 1.0}, "inner_step: expected below 1, got 1.0"),
        ("averaging", {"outer_step": 1.0}, "outer_step: 'averaging' has no such argument"),
        ("prototype", {"share": float("nan")}, "share: expected a finite number, got nan"),
        ("prototype", {"scale": False}, "scale: expected a finite number, got False"),
        ("prototype", {"n_background": -1}, "n_background: expected at least 0, got -1"),
        ("matching", {"regions": 0}, "regions: expected above 0, got 0"),
        ("matching", {"background": 0}, "background: expected above 0, got 0"),
        ("matching", {"scale": 0}, "scale: expected above 0, got 0"),
        ("matching-fce", {"steps": 0}, "steps: expected above 0, got 0"),
        ("matching-fce", {"context": 2.5}, "context: expected a whole number, got 2.5"),
        ("matching-fce", {"context_share": 0}, "context_share: expected above 0, got 0"),
        ("siamese", {"margin": 0}, "margin: expected above 0, got 0"),
        ("siamese", {"share": 0}, "share: expected above 0, got 0"),
        ("relation", {"hidden": 0}, "hidden: expected above 0, got 0"),
        ("relation", {"scale": 0}, "scale: expected above 0, got 0"),
        ("cosine", {"scale": 0}, "scale: expected above 0, got 0"),
        ("cosine", {"learning_rate": float("inf")}, "learning_rate: expected a finite number"),
        ("cosine", {"learning_rate": 0}, "learning_rate: expected above 0, got 0"),
        ("cosine", {"steps": -1}, "steps: expected at least 0, got -1"),
        ("cosine", {"n_base": 3}, "n_base: 'cosine' has no such argument"),
    ],
)
def test_message_names_argument_expectation_and_value(name, args, message):
    with pytest.raises(InputError, match=f"head.args.{message}"):
        build.head(cfg.Head(name, args), SHAPE, 16, 3)


def test_unknown_head_names_the_nearest():
    with pytest.raises(
        InputError, match=r"head.name: no head 'prototyp'; did you mean 'prototype'"
    ):
        build.head(cfg.Head("prototyp"), SHAPE, 16, 3)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("maml", {"scale": 10, "momentum": 0, "test_steps": 0, "second_order": False}),
        ("cosine", {"steps": 0, "scale": 10, "tune_boxes": True}),
        ("prototype", {"n_background": 0, "share": 1}),
    ],
)
def test_whole_numbers_and_zero_steps_are_valid(name, args):
    head, support = build.head(cfg.Head(name, args), SHAPE, 16, 3).eval(), regions()
    assert head(support.features, head.adapt(support)).logits.isfinite().all()
