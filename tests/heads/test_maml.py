"""MAML: inner steps against derivatives known by hand."""

import pytest
import torch
from helpers.heads import SHAPE, made, regions

from fsdet.heads.gradient.maml import Maml, MamlOptions
from fsdet.types import Regions, Support


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
    options = MamlOptions(steps=2, row_step=0.1, momentum=0.0, scale=2.0, second_order=second_order)
    head = Quadratic(SHAPE, 16, options).double().train()
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
    head = Maml(SHAPE, 6, MamlOptions(steps=2, row_step=0.05, embedding_step=0.05)).double().train()
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
