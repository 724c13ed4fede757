"""Every head alike: shapes, labels, order, what it leaves alone, and that it learns."""

import copy

import pytest
import torch
from helpers.heads import FEWER, SHAPE, in_order, made, regions, renamed
from torch.nn import functional as F
from torchvision.models.detection.roi_heads import fastrcnn_loss

from fsdet import build
from fsdet import config as cfg
from fsdet.build import HEADS
from fsdet.errors import InputError
from fsdet.heads.base import region_losses
from fsdet.heads.layers import averages
from fsdet.heads.support import category_weights, class_means, places, spread
from fsdet.training.objectives import FromBank
from fsdet.types import Prediction, Support

IN_ORDER: set[str] = {"mann", "recurrent"}  # those that read the support as a sequence
BATCH = {"averaging": 8}  # it forgets every task but those of the last batch
# those whose outer gradient does not pass through the adaptation
FIRST_ORDER: set[str] = {"fomaml", "reptile", "averaging", "meta-lstm"}


def test_losses_are_torchvisions_for_boxes_that_all_categories_share():
    torch.manual_seed(0)
    logits, deltas, truth = torch.randn(20, 4), torch.randn(20, 4), torch.randn(20, 4)
    labels = torch.randint(0, 4, (20,))
    ours = region_losses(Prediction(logits, deltas), labels, truth)
    classes, boxes = fastrcnn_loss(logits, deltas.repeat(1, 4), [labels], [truth])
    assert ours["loss_class"].item() == pytest.approx(classes.item(), rel=1e-6)
    assert ours["loss_box"].item() == pytest.approx(boxes.item(), rel=1e-6)


def test_class_means_and_weights_by_hand():
    embeddings = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0]])
    labels = torch.tensor([1, 1, 0])
    means = class_means(embeddings, labels, 2)
    assert means.tolist() == [[0.0, 2.0], [2.0, 0.0], [0.0, 0.0]]
    assert category_weights(labels, 2, 4.0).tolist() == [0.25, 0.25, 2.0]


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("n_way", [1, 2, 5])
def test_any_number_of_categories_and_the_state_stays_as_it_is(name, n_way):
    head, support = made(name), regions(n_way)
    before = copy.deepcopy(head.state_dict())
    with torch.no_grad():
        task = head.adapt(support)
    prediction = head(support.features, task)
    assert prediction.logits.shape == (len(support), 1 + n_way)
    assert prediction.deltas.shape == (len(support), 4)
    assert not any(value.requires_grad for value in task.values())
    for key, value in head.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize("name", HEADS)
def test_names_of_labels_do_not_matter(name):
    head, support, query = made(name), regions(), regions(seed=1)
    rename = torch.tensor([0, 3, 1, 2])
    plain = head(query.features, head.adapt(support)).logits
    logits = head(query.features, head.adapt(renamed(support, rename))).logits
    assert torch.allclose(plain, logits[:, rename], atol=1e-3)


@pytest.mark.parametrize("name", HEADS)
def test_order_of_the_support_matters_to_those_that_read_it_as_a_sequence_alone(name):
    head, support, query = made(name), regions(spread=1.0), regions(seed=1)
    order = torch.randperm(len(support), generator=torch.Generator().manual_seed(0))
    plain = head(query.features, head.adapt(support)).logits
    moved = head(query.features, head.adapt(in_order(support, order))).logits
    assert torch.allclose(plain, moved, atol=1e-3) == (name not in IN_ORDER)


def accuracy(head, world: int) -> float:
    """Of objects, among categories that the head has never met."""
    right = []
    for i in range(5):
        near, far = (regions(3, 4, s, 1.0, world + i) for s in (i, 1000 + i))
        with torch.no_grad():
            said = head(far.features, head.adapt(near)).logits.argmax(1)
        right.append((said == far.labels)[far.labels > 0].float())
    return torch.cat(right).mean().item()


LEARNERS = [name for name in HEADS if HEADS[name].learns_from_episodes]


@pytest.mark.parametrize("name", sorted(set(HEADS) - set(LEARNERS)))
def test_separable_categories_are_told_apart(name):
    head, query = made(name), regions(seed=5)
    said = head(query.features, head.adapt(regions())).logits.argmax(1)
    assert (said == query.labels)[query.labels > 0].float().mean() > 0.9


@pytest.mark.parametrize("name", LEARNERS)
def test_it_learns_to_learn_new_categories(name):
    """Episodes of other categories: what a category is must come from the support."""
    head = made(name).train()
    optimizer = head.optimizer(3e-3, 3e-3, 0.01, 0.0)
    for i in range(60):
        optimizer.zero_grad()
        worlds = range(BATCH.get(name, 1) * i, BATCH.get(name, 1) * (i + 1))
        episodes = [[regions(3, 4, s + w, 1.0, w) for s in (0, 1000)] for w in worlds]
        sum(FromBank(head)(episodes).values()).backward()
        optimizer.step()
    assert accuracy(head.eval(), 5000) > 0.8  # guessing one of four is right in a quarter


@pytest.mark.parametrize("name", LEARNERS)
def test_what_the_image_side_made_of_query_and_support_learns_too(name):
    """End to end, gradients reach the features that an episode was made of."""
    head, near, far = made(name).train(), regions(), regions(seed=1)
    sides = [near, far] if name not in FIRST_ORDER else [far]
    for side in sides:
        side.features.maps.requires_grad_()
    sum(head.episode(near, far).values()).backward()
    for side in sides:
        assert side.features.maps.grad.abs().sum() > 0


@pytest.mark.parametrize("name", HEADS)
def test_a_category_may_lack_regions(name):
    """It is found nowhere, the others as ever; without background regions too."""
    head, whole = made(name).train(), regions()
    support = in_order(whole, torch.nonzero(whole.labels != 2)[:, 0])
    losses = head.episode(support, support)
    if head.learns_from_episodes:
        sum(losses.values()).backward()
    for parameter in head.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()
    said = head.eval()(whole.features, head.adapt(support)).probabilities()
    assert said.isfinite().all()
    here = whole.labels == 1
    assert said[here, 0].mean() > said[here, 1].mean() + 0.1
    nothing = in_order(whole, torch.nonzero(whole.labels == 1)[:, 0])  # no background either
    assert head(whole.features, head.adapt(nothing)).logits.isfinite().all()


@pytest.mark.parametrize("name", HEADS)
def test_half_the_digits_say_nearly_the_same(name):
    """bf16 autocast, as on a GPU: learning and prediction run and agree."""
    head, support, query = made(name), regions(), regions(seed=1)
    exact = head(query.features, head.adapt(support)).probabilities()
    with torch.autocast("cpu", torch.bfloat16):
        rough = head(query.features, head.adapt(support)).probabilities()
    assert rough.isfinite().all()
    assert (exact - rough.float()).abs().mean() < 0.03


def test_places_and_spread_by_hand():
    labels = torch.tensor([1, 0, 1, 2, 0, 1, 0])
    assert places(labels).tolist() == [0, 0, 1, 0, 1, 2, 2]
    support = Support(torch.arange(7.0)[:, None], labels, torch.zeros(7, 4), 2)
    few = spread(support, 2, 1)  # the first and third of category 1, the last of background
    assert few.labels.tolist() == [1, 2, 1, 0] and few.embeddings[:, 0].tolist() == [2, 3, 5, 6]


def test_calibration_mixes_scores_with_cosines_of_plain_averages():
    support, query = regions(), regions(seed=1)
    plain = made("cosine")
    mixed = build.head(cfg.Head("cosine", {"steps": 30}, 0.25), SHAPE, 16, 3).eval()
    mixed.inner.load_state_dict(plain.state_dict())
    said = plain(query.features, plain.adapt(support)).probabilities()
    z, s = averages(query.features), averages(support.features)
    means = torch.stack([s[support.labels == c].mean(0) for c in (1, 2, 3)])
    cosines = F.cosine_similarity(z[:, None], means[None], dim=-1)
    expected = torch.where(said > 0.05, 0.75 * said + 0.25 * cosines, said)
    prediction = mixed(query.features, mixed.adapt(support))
    assert torch.allclose(prediction.probabilities(), expected, atol=1e-5)
    again = Prediction.cat([prediction, prediction])
    assert torch.equal(again.scores, torch.cat([prediction.scores] * 2))


@pytest.mark.parametrize("name", HEADS)
def test_calibration_goes_over_any_head(name):
    head = build.head(cfg.Head(name, FEWER.get(name, {}), 0.5), SHAPE, 16, 3)
    near, far = regions(), regions(seed=1)
    losses = head.train().episode(near, far)
    bare = head.inner.episode(near, far)
    assert all(torch.allclose(losses[name], bare[name]) for name in bare)
    scores = head.eval()(far.features, head.adapt(near)).probabilities()
    assert scores.shape == (len(far), 3) and scores.isfinite().all()
    assert scores.min() >= 0 and scores.max() <= 1 + 1e-6


def test_cosine_without_steps_is_imprinting_and_its_loss_falls_with_steps():
    support = regions(spread=1.0)
    head = made("cosine")
    head.steps = 0
    rows = head.adapt(support)["rows"]
    what = F.normalize(head.trunk(support.features), dim=-1)
    means = torch.stack([what[support.labels == c].mean(0) for c in range(4)])
    assert torch.allclose(rows, F.normalize(means, dim=-1), atol=1e-6)

    def loss(steps: int) -> float:
        head.steps = steps
        logits = head(support.features, head.adapt(support)).logits
        weights = category_weights(support.labels, 3, head.background)
        return (weights @ F.cross_entropy(logits, support.labels, reduction="none")).item()

    assert loss(60) < loss(10) < loss(0)


def test_layers_are_inherited_and_go_back_part_of_the_way():
    base, head = made("cosine"), made("maml")
    head.inherit(base)
    assert torch.equal(head.trunk.first.weight, base.trunk.first.weight)
    before = copy.deepcopy(head)
    with torch.no_grad():
        head.trunk.last.bias += 1.0
        head.log_scale += 1.0
    head.retreat(before, 0.25)
    assert torch.allclose(head.trunk.last.bias, before.trunk.last.bias + 0.75)
    assert torch.equal(head.log_scale, before.log_scale + 1.0)


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
        ("prototype", {"share": float("nan")}, "share: expected a finite number, got nan"),
        ("prototype", {"scale": False}, "scale: expected a finite number, got False"),
        ("prototype", {"n_background": -1}, "n_background: expected at least 0, got -1"),
        ("cosine", {"scale": 0}, "scale: expected above 0, got 0"),
        ("cosine", {"learning_rate": float("inf")}, "learning_rate: expected a finite number"),
        ("cosine", {"learning_rate": 0}, "learning_rate: expected above 0, got 0"),
        ("cosine", {"steps": -1}, "steps: expected at least 0, got -1"),
    ],
)
def test_arguments_of_the_wrong_kind_or_out_of_range_are_named(name, args, message):
    with pytest.raises(InputError, match=f"head.args.{message}"):
        build.head(cfg.Head(name, args), SHAPE, 16, 3)


def test_whole_numbers_are_numbers_and_no_steps_of_the_cosine_are_fine():
    for name, args in (
        ("maml", {"scale": 10, "momentum": 0, "test_steps": 0, "second_order": False}),
        ("cosine", {"steps": 0, "scale": 10, "tune_boxes": True}),
        ("prototype", {"n_background": 0, "share": 1}),
    ):
        head, support = build.head(cfg.Head(name, args), SHAPE, 16, 3).eval(), regions()
        assert head(support.features, head.adapt(support)).logits.isfinite().all()
