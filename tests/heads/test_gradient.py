"""Gradient heads: outer gradients against `higher`, updates against hand-written loops."""

import math

import higher
import pytest
import torch
from helpers.heads import SHAPE, build_head, double, regions, set_options
from torch import nn
from torch.nn import functional as F

from fsdet.heads.base import Head
from fsdet.heads.gradient.anil import Anil
from fsdet.heads.gradient.base import InnerGradient
from fsdet.heads.gradient.finn_maml import FinnMaml, Fomaml
from fsdet.heads.gradient.meta_lstm import preprocess
from fsdet.heads.support import category_weights
from fsdet.training.objectives import FromBank
from fsdet.types import Regions, Support

N_WAY = 3
STEP = 0.02
FC7 = ["embedding_weight", "embedding_bias"]


def exact(seed: int) -> Regions:
    """Regions in float64."""
    return double(regions(N_WAY, 4, seed, 1.0))


def small(name: str, **args) -> Head:
    """A float64 head whose initial weights differ between rows and elements."""
    head = build_head(name, steps=3, test_steps=3, inner_step=STEP, **args).double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in (*head.start_rows.parameters(), *head.trunk.last.parameters()):
            parameter += 0.1 * torch.rand(parameter.shape, generator=generator)
        for factors in getattr(head, "factors", {}).values():
            factors += torch.randn(factors.shape, generator=generator)
    return head.train()


def embedded(head: Head, part: Regions) -> Support:
    return Support(head.embed(part.features).detach(), part.labels, part.deltas, part.n_way)


class Net(nn.Module):
    """The same classifier, with separate rows for every category."""

    def __init__(self, head: FinnMaml):
        super().__init__()
        start = head.start_rows.rows.detach()
        self.rows = nn.Parameter(torch.cat([start[:1], start[1:].repeat(N_WAY, 1)]))
        self.embedding_weight = nn.Parameter(head.trunk.last.weight.detach().clone())
        self.embedding_bias = nn.Parameter(head.trunk.last.bias.detach().clone())
        self.scale, self.share = head.log_scale.exp().item(), head.log_share.exp().item()

    def forward(self, means, hidden):
        learned = F.normalize(
            F.relu(F.linear(hidden, self.embedding_weight, self.embedding_bias)), dim=-1
        )
        embeddings = F.normalize(torch.cat([means, self.share * learned], 1), dim=-1)
        return self.scale * embeddings @ F.normalize(self.rows, dim=-1).T


def split_features(head: Head, part: Regions) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean-pooled features and output of fc6."""
    parts = head.split(FinnMaml.embed(head, part.features).detach())
    return parts[0], parts[1]


def steps_of(head: FinnMaml) -> dict[str, torch.Tensor | float]:
    """The paper's step sizes by tensor, N times longer for rows."""
    if not hasattr(head, "factors"):
        return {"rows": N_WAY * STEP, **dict.fromkeys(FC7, STEP)}
    factors = head.factors
    rows = torch.cat([factors["rows"][:1], factors["rows"][1:].repeat(N_WAY, 1)])
    return {"rows": N_WAY * STEP * rows, **{name: STEP * factors[name] for name in FC7}}


def by_higher(
    head: FinnMaml, support: Regions, query: Regions
) -> tuple[float, dict[str, torch.Tensor]]:
    """The query's loss after three steps, and its gradients in the meta-learned parameters, by `higher`."""
    net, sizes = Net(head), steps_of(head)
    updated = ["rows"] if isinstance(head, Anil) else list(sizes)
    groups = [{"params": [getattr(net, name)], "lr": 1.0} for name in updated]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    weights = category_weights(support.labels, N_WAY, 4.0).double()
    with higher.innerloop_ctx(
        net,
        optimizer,
        copy_initial_weights=False,
        override={"lr": [sizes[name] for name in updated]},
    ) as (live, inner):
        for _ in range(3):
            logits = live(*split_features(head, support))
            inner.step(weights @ F.cross_entropy(logits, support.labels, reduction="none"))
        loss = F.cross_entropy(live(*split_features(head, query)), query.labels)
        loss.backward()
    rows = net.rows.grad
    gradients = {"rows": torch.stack([rows[0], rows[1:].sum(0)])}
    return loss.item(), gradients | {name: getattr(net, name).grad for name in FC7}


@pytest.mark.parametrize("name", ["finn-maml", "anil", "meta-sgd"])
def test_outer_gradients_match_higher(name):
    head, support, query = small(name), exact(0), exact(1)
    expected_loss, expected = by_higher(head, support, query)
    factors = list(getattr(head, "factors", {}).values())
    factor_gradients = [f.grad.clone() for f in factors if f.grad is not None]
    head.zero_grad()
    loss = head.episode(support, query)["loss_class"]
    loss.backward()
    assert loss.item() == pytest.approx(expected_loss, rel=1e-9)
    gradients = [head.start_rows.rows.grad, head.trunk.last.weight.grad, head.trunk.last.bias.grad]
    for gradient, reference in zip(gradients, expected.values(), strict=True):
        assert reference.abs().max() > 1e-4
        assert torch.allclose(gradient, reference, rtol=1e-5, atol=1e-9)
    assert len(factor_gradients) == len(factors)
    for factor, reference in zip(factors, factor_gradients, strict=True):
        assert torch.allclose(factor.grad, reference, rtol=1e-5, atol=1e-9)


def quadratic(kind: type[FinnMaml]) -> FinnMaml:
    """Two steps on the inner loss L = c x^2 / 2 of one number, x_0 = 2."""

    class Quadratic(kind):
        def initial_task(self, embeddings, support):
            return {"rows": self.start_rows.rows[:1, :1]}

        def inner_loss(self, embeddings, support, task):
            return 3.0 / 2 * task["rows"].square().sum()

    head = Quadratic(SHAPE, 16, kind.Options(steps=2, inner_step=0.1)).double().train()
    nn.init.constant_(head.start_rows.rows, 2.0)
    return head


def test_first_order_ignores_the_curvature():
    """x_2 = (1 - a c)^2 x_0; outer x_2^2 / 2: second order x_2 (1 - a c)^2, first order x_2."""
    support = Support(torch.zeros(1, 4), torch.zeros(1, dtype=torch.int64), torch.zeros(1, 4), 1)
    outer_gradients = {}
    for kind in (FinnMaml, Fomaml):
        head = quadratic(kind)
        x = head.learn(support)["rows"]
        (x.square() / 2).sum().backward()
        outer_gradients[kind] = head.start_rows.rows.grad[0, 0].item()
    x2 = (1 - 0.1 * 3.0) ** 2 * 2.0
    assert outer_gradients[FinnMaml] == pytest.approx(x2 * (1 - 0.1 * 3.0) ** 2)
    assert outer_gradients[Fomaml] == pytest.approx(x2)


def test_meta_sgd_with_equal_steps_equals_maml():
    meta_sgd, finn = small("meta-sgd"), small("finn-maml")
    for factors in meta_sgd.factors.values():
        nn.init.ones_(factors)
    support, query = exact(0), exact(1)
    for head in (meta_sgd, finn):
        sum(head.episode(support, query).values()).backward()
    task, expected = meta_sgd.adapt(support), finn.adapt(support)
    assert all(torch.allclose(task[name], expected[name], atol=1e-12) for name in expected)
    for name, parameter in finn.named_parameters():
        if parameter.grad is not None:
            gradient = meta_sgd.get_parameter(name).grad
            assert torch.allclose(gradient, parameter.grad, atol=1e-12), name


def joined(support: Regions, query: Regions, head: Head) -> Support:
    first, second = embedded(head, support), embedded(head, query)
    return Support(
        torch.cat([first.embeddings, second.embeddings]),
        torch.cat([support.labels, query.labels]),
        torch.cat([support.deltas, query.deltas]),
        N_WAY,
    )


def theta(head: Head) -> list[torch.Tensor]:
    return [head.start_rows.rows, head.trunk.last.weight, head.trunk.last.bias]


def solution(head: Head, support: Regions, query: Regions) -> list[torch.Tensor]:
    """theta_k by a loop of torch's SGD, with the mean of the categories' rows as second row."""
    net, joint = Net(head), joined(support, query, head)
    means, hidden, _ = head.split(joint.embeddings)
    groups = [{"params": [getattr(net, name)], "lr": a} for name, a in steps_of(head).items()]
    optimizer = torch.optim.SGD(groups)
    weights = category_weights(joint.labels, N_WAY, 4.0).double()
    for _ in range(head.options.steps):
        optimizer.zero_grad()
        logits = net(means, hidden)
        (weights @ F.cross_entropy(logits, joint.labels, reduction="none")).backward()
        optimizer.step()
    rows = net.rows.detach()
    return [
        torch.stack([rows[0], rows[1:].mean(0)]),
        net.embedding_weight.detach(),
        net.embedding_bias.detach(),
    ]


@pytest.mark.parametrize("steps", [1, 3])
def test_reptile_gradient_is_theta_minus_the_solution(steps):
    head, support, query = small("reptile"), exact(0), exact(1)
    set_options(head, steps=steps)
    targets = solution(head, support, query)
    losses = head.episode(support, query)
    assert losses["loss_start"].item() == 0
    sum(losses.values()).backward()
    for value, target in zip(theta(head), targets, strict=True):
        assert (value - target).abs().max() > 1e-4
        assert torch.allclose(value.grad, (value - target).detach(), atol=1e-9)


def test_reptile_with_one_step_has_the_gradient_of_the_joint_loss():
    head, support, query = small("reptile"), exact(0), exact(1)
    set_options(head, steps=1)
    head.episode(support, query)["loss_start"].backward()
    gradients = [value.grad.clone() for value in theta(head)]
    head.zero_grad()
    joint = joined(support, query, head)
    start = head.initial_task(joint.embeddings, joint)
    head.inner_loss(joint.embeddings, joint, start).backward()
    rows, weight, bias = (value.grad for value in theta(head))
    # Steps of rows are N times longer; the mean over N categories cancels that for categories.
    rows = torch.stack([N_WAY * rows[0], rows[1]])
    for gradient, expected in zip(gradients, (rows, weight, bias), strict=True):
        assert torch.allclose(gradient, STEP * expected, atol=1e-12)


def test_step_of_averaging_is_the_mean_of_the_solutions():
    head = small("averaging")
    episodes = [(exact(2 * i), exact(2 * i + 1)) for i in range(3)]
    solutions = [solution(head, support, query) for support, query in episodes]
    optimizer = head.optimizer(1e-3, 1e-3, 1e-2, 0.01)
    sum(FromBank(head)(episodes).values()).backward()
    optimizer.step()
    for value, *targets in zip(theta(head), *solutions, strict=True):
        assert torch.allclose(value, torch.stack(targets).mean(0), atol=1e-9)


def test_preprocess_by_hand():
    x = torch.tensor([math.exp(-5), -1.0, 0.0, math.exp(-11), -math.exp(-12)])
    expected = [[-0.5, 1], [0, -1], [-1, 0], [-1, math.exp(-1)], [-1, -math.exp(-2)]]
    assert torch.allclose(preprocess(x), torch.tensor(expected), atol=1e-5)


def test_meta_lstm_starts_as_gradient_descent():
    head, support = small("meta-lstm"), exact(0)
    embedded_support = embedded(head, support)
    rows = head.start_rows(N_WAY).detach()
    keep = 1 / (1 + math.exp(-5))
    for _ in range(head.options.steps):
        rows = rows.requires_grad_()
        (gradient,) = torch.autograd.grad(
            head.inner_loss(embedded_support.embeddings, embedded_support, {"rows": rows}), rows
        )
        rows = (keep * rows - STEP * N_WAY * gradient).detach()
    assert torch.allclose(head.learn(embedded_support)["rows"], rows, atol=1e-6)


def test_meta_lstm_matches_the_recurrence_of_the_paper():
    head = small("meta-lstm")
    torch.manual_seed(5)
    for parameter in (*head.forget.parameters(), *head.input.parameters()):
        nn.init.normal_(parameter)
    rows, state = torch.randn(1 + N_WAY, head.length).double(), {}
    inner_gradients = [
        InnerGradient(t, N_WAY, torch.tensor(2.0 - t).double(), {"rows": torch.randn_like(rows)})
        for t in range(2)
    ]
    index = (2, 5)
    value, f, i = rows[index].reshape(1), torch.zeros(1).double(), torch.zeros(1).double()
    cell_state = (torch.zeros(1, 20).double(), torch.zeros(1, 20).double())
    task = {"rows": rows}
    for inner in inner_gradients:
        task, state = head.update(task, inner, state)
        g = N_WAY * inner.gradients["rows"][index]
        inputs = [math.log(abs(g)) / 10, math.copysign(1, g), math.log(inner.loss) / 10, 1.0]
        cell_state = head.cell(torch.tensor([inputs]).double(), cell_state)
        h = cell_state[0][0]
        f, i = (
            torch.sigmoid(gate.weight[0] @ torch.cat([h, value, old]) + gate.bias)
            for gate, old in ((head.forget, f), (head.input, i))
        )
        value = f * value - i * g
    assert task["rows"][index].item() == pytest.approx(value.item(), rel=1e-6)
