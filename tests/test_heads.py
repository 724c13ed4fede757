"""Heads: losses against torchvision, inner steps against derivatives known by hand."""

import copy

import pytest
import torch
from torch.nn import functional as F
from torchvision.models.detection.roi_heads import fastrcnn_loss

from fsdet import build
from fsdet import config as cfg
from fsdet.errors import InputError
from fsdet.heads.base import RegionShape, category_weights, class_means, region_losses
from fsdet.heads.cosine import Cosine
from fsdet.heads.maml import Maml
from fsdet.heads.prototype import Prototype
from fsdet.types import Features, Prediction, Regions, Support

SHAPE = RegionShape(channels=4, side=3, means=(5, 6))
HEADS = {
    "cosine": lambda **more: Cosine(SHAPE, 16, n_base=3, steps=30, **more),
    "prototype": lambda **more: Prototype(SHAPE, 16, **more),
    "maml": lambda **more: Maml(SHAPE, 16, **more),
}


def regions(n_way: int = 3, each: int = 6, seed: int = 0, spread: float = 0.3) -> Regions:
    """Separable regions: every category about a point of its own."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.Generator().manual_seed(99)
    labels = torch.arange(1 + n_way).repeat_interleave(each)
    maps = torch.rand((1 + n_way, 4, 3, 3), generator=centres)[labels]
    means = torch.rand((1 + n_way, 11), generator=centres)[labels]
    maps = maps + spread * torch.rand(maps.shape, generator=generator)
    means = means + spread * torch.rand(means.shape, generator=generator)
    means = torch.cat([F.normalize(part, dim=-1) for part in means.split(SHAPE.means, 1)], 1)
    deltas = torch.randn((len(labels), 4), generator=generator) * (labels > 0)[:, None]
    return Regions(Features(maps, means), labels, deltas, n_way)


def made(name: str, **more):
    torch.manual_seed(0)
    return HEADS[name](**more).eval()


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
    task = head.adapt(support)
    prediction = head(support.features, task)
    assert prediction.logits.shape == (len(support), 1 + n_way)
    assert prediction.deltas.shape == (len(support), 4)
    assert not any(value.requires_grad for value in task.values()) or name == "prototype"
    for key, value in head.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize("name", HEADS)
def test_names_of_labels_and_order_of_the_support_do_not_matter(name):
    head, support, query = made(name), regions(), regions(seed=1)
    plain = head(query.features, head.adapt(support)).logits
    order = torch.randperm(len(support), generator=torch.Generator().manual_seed(0))
    moved = Regions(support.features[order], support.labels[order], support.deltas[order], 3)
    assert torch.allclose(plain, head(query.features, head.adapt(moved)).logits, atol=1e-3)
    rename = torch.tensor([0, 3, 1, 2])
    renamed = Regions(support.features, rename[support.labels], support.deltas, 3)
    logits = head(query.features, head.adapt(renamed)).logits
    assert torch.allclose(plain, logits[:, rename], atol=1e-3)


@pytest.mark.parametrize("name", HEADS)
def test_separable_categories_are_told_apart(name):
    head, query = made(name), regions(seed=5)
    said = head(query.features, head.adapt(regions())).logits.argmax(1)
    foreground = query.labels > 0
    assert (said == query.labels)[foreground].float().mean() > 0.9


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


def test_prototype_is_the_cosine_to_class_means():
    head, support = made("prototype"), regions()
    logits = head(support.features, head.adapt(support)).logits
    means = F.normalize(support.features.maps.mean((2, 3)), dim=-1)
    plain = F.normalize(torch.cat([means, support.features.means], 1), dim=-1)
    share = head.log_share.exp()
    z = torch.cat([plain, share * F.normalize(head.trunk(support.features), dim=-1)], 1)
    for c in (1, 2, 3):
        mean = z[support.labels == c].mean(0)
        expected = head.log_scale.exp() * F.cosine_similarity(z, mean[None])
        assert torch.allclose(logits[:, c], expected, atol=1e-4)


def test_maml_without_steps_is_the_cosine_to_prototypes():
    support = regions()
    maml, prototype = made("maml", test_steps=0), made("prototype")
    maml.inherit(prototype)
    ours = maml(support.features, maml.adapt(support)).logits[:, 1:]
    theirs = prototype(support.features, prototype.adapt(support)).logits[:, 1:]
    # Rows are normalised means of vectors of one length, so that both cosines are the same.
    assert torch.allclose(ours, theirs, atol=1e-4)


def test_inner_steps_are_momentum_descent_on_the_inner_loss():
    head, support = made("maml", steps=3, test_steps=3, momentum=0.9).double(), regions()
    support = Regions(
        support.features.to(torch.float64), support.labels, support.deltas.double(), 3
    )
    embedded = Support(head.embed(support.features).detach(), support.labels, support.deltas, 3)
    # Rows start as a function of fc7, and its first gradient knows.
    task = head.start(embedded.embeddings, embedded)
    speed = dict.fromkeys(task, 0.0)
    for step in range(3):
        loss = head.inner_loss(embedded.embeddings, embedded, task)
        gradients = torch.autograd.grad(loss, list(task.values()))
        for name, gradient in zip(list(task), gradients, strict=True):
            speed[name] = 0.9 * speed[name] + gradient
            size = head.log_steps[name.split("_")[0]][step].exp() * (3 if name == "rows" else 1)
            task[name] = (task[name] - size * speed[name]).detach().requires_grad_()
    for name, value in head.adapt(support).items():
        assert torch.allclose(value, task[name], atol=1e-12), name


class Quadratic(Maml):
    """An inner problem of one number whose steps and derivatives are known: L = c x^2 / 2."""

    CURVATURE = 3.0

    def start(self, embeddings, support):
        return {"rows": self.log_scale.reshape(1)}

    def inner_loss(self, embeddings, support, task):
        return self.CURVATURE / 2 * task["rows"].square().sum()


@pytest.mark.parametrize("second_order", [True, False])
def test_the_outer_gradient_is_the_one_known_by_hand(second_order):
    head = Quadratic(
        SHAPE, 16, steps=2, row_step=0.1, momentum=0.0, scale=2.0, second_order=second_order
    )
    head = head.double().train()
    support = Support(torch.zeros(1, 4), torch.zeros(1, dtype=torch.int64), torch.zeros(1, 4), 1)
    end = head.learn(support)["rows"]
    shrink = 1 - 0.1 * Quadratic.CURVATURE  # x_{j+1} = (1 - a c) x_j
    x0 = torch.tensor(2.0, dtype=torch.float64).log()
    assert end.item() == pytest.approx(shrink**2 * x0.item(), rel=1e-6)
    (end.square() / 2).sum().backward()
    # dx_2/dx_0 is (1 - a c)^2; first order takes the inner gradients for constants: 1.
    known = shrink**2 if second_order else 1.0
    assert head.log_scale.grad.item() == pytest.approx(end.item() * known, rel=1e-6)


def test_the_outer_gradient_agrees_with_finite_differences():
    torch.manual_seed(1)
    head = Maml(SHAPE, 6, steps=2, row_step=0.05, embedding_step=0.05).double().train()
    support, query = regions(2, 2), regions(2, 2, seed=3)
    support, query = (
        Regions(r.features.to(torch.float64), r.labels, r.deltas.double(), 2)
        for r in (support, query)
    )

    def outer() -> torch.Tensor:
        return sum(head.loss(query, head.adapt(support)).values())

    outer().backward()
    bias = head.trunk.last.bias
    for parameter, place in (
        (bias, 0),
        (bias, 3),
        (head.log_steps["rows"], 1),
        (head.log_share, ()),
    ):
        slope, step = parameter.grad[place].item(), 1e-6
        with torch.no_grad():
            parameter[place] += step
            up = outer().item()
            parameter[place] -= 2 * step
            down = outer().item()
            parameter[place] += step
        assert slope == pytest.approx((up - down) / (2 * step), rel=1e-4, abs=1e-7)


def test_meta_training_learns_to_learn():
    torch.manual_seed(0)
    head = Prototype(SHAPE, 16).train()
    optimizer = torch.optim.Adam(head.parameters(), 3e-3)

    def query_loss(seed: int) -> torch.Tensor:
        near, far = regions(3, 3, seed, spread=1.5), regions(3, 3, seed + 1000, spread=1.5)
        return head.loss(far, head.adapt(near))["loss_class"]

    before = sum(query_loss(500 + i).item() for i in range(5))
    for i in range(60):
        optimizer.zero_grad()
        query_loss(i).backward()
        optimizer.step()
    assert sum(query_loss(500 + i).item() for i in range(5)) < 0.8 * before


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
        ("maml", {"embedding_step": -0.1}, "embedding_step: expected at least 0, got -0.1"),
        ("maml", {"regressor_step": 0.0}, "regressor_step: expected above 0, got 0.0"),
        ("maml", {"scale": -1}, "scale: expected at least 0, got -1"),
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
