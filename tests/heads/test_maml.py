"""MAML: inner steps against hand-computed derivatives."""

import pytest
import torch
from helpers.heads import SHAPE, build_head, check_outer_gradient, double, regions

from fsdet.heads.gradient.maml import Maml
from fsdet.types import Support


def test_maml_without_steps_equals_prototypes():
    support = regions()
    maml, prototype = build_head("maml", test_steps=0), build_head("prototype")
    maml.inherit(prototype)
    logits = maml(support.features, maml.adapt(support)).logits[:, 1:]
    expected = prototype(support.features, prototype.adapt(support)).logits[:, 1:]
    # Rows are normalised means of unit vectors: both cosines are equal.
    assert torch.allclose(logits, expected, atol=1e-4)


def test_inner_steps_are_gradient_descent_with_momentum():
    head, support = (
        build_head("maml", steps=3, test_steps=3, momentum=0.9).double(),
        double(regions()),
    )
    embedded = Support(head.embed(support.features).detach(), support.labels, support.deltas, 3)
    # The initial rows depend on fc7, so the first gradient of fc7 includes them.
    task = head.initial_task(embedded.embeddings, embedded)
    velocity = dict.fromkeys(task, 0.0)
    for step in range(3):
        loss = head.inner_loss(embedded.embeddings, embedded, task)
        gradients = torch.autograd.grad(loss, list(task.values()))
        for name, gradient in zip(list(task), gradients, strict=True):
            velocity[name] = 0.9 * velocity[name] + gradient
            size = head.log_steps[name.split("_")[0]][step].exp() * (3 if name == "rows" else 1)
            task[name] = (task[name] - size * velocity[name]).detach().requires_grad_()
    for name, value in head.adapt(support).items():
        assert torch.allclose(value, task[name], atol=1e-12), name


class Quadratic(Maml):
    """Inner problem of one number with known steps and derivatives: L = c x^2 / 2."""

    CURVATURE = 3.0

    def initial_task(self, embeddings, support):
        return {"rows": self.log_scale.reshape(1)}

    def inner_loss(self, embeddings, support, task):
        return self.CURVATURE / 2 * task["rows"].square().sum()


@pytest.mark.parametrize("second_order", [True, False])
def test_outer_gradient_of_a_quadratic(second_order):
    options = Maml.Options(
        steps=2, row_step=0.1, momentum=0.0, scale=2.0, second_order=second_order
    )
    head = Quadratic(SHAPE, 16, options).double().train()
    support = Support(torch.zeros(1, 4), torch.zeros(1, dtype=torch.int64), torch.zeros(1, 4), 1)
    end = head.learn(support)["rows"]
    shrink = 1 - 0.1 * Quadratic.CURVATURE  # x_{j+1} = (1 - a c) x_j
    x0 = torch.tensor(2.0, dtype=torch.float64).log()
    assert end.item() == pytest.approx(shrink**2 * x0.item(), rel=1e-6)
    (end.square() / 2).sum().backward()
    # dx_2/dx_0 is (1 - a c)^2; first order takes the inner gradients as constants: 1.
    derivative = shrink**2 if second_order else 1.0
    assert head.log_scale.grad.item() == pytest.approx(end.item() * derivative, rel=1e-6)


def test_outer_gradient_matches_finite_differences():
    options = Maml.Options(steps=2, row_step=0.05, embedding_step=0.05)
    torch.manual_seed(1)
    head = Maml(SHAPE, 6, options)
    bias, rows = head.trunk.last.bias, head.log_steps["rows"]
    check_outer_gradient(head, [(bias, 0), (bias, 3), (rows, 1), (head.log_share, ())])
