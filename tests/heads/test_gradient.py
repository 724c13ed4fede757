"""Heads of gradient steps: outer gradients against another library, updates against loops written by hand."""

import math

import higher
import pytest
import torch
from helpers.heads import SHAPE, made, regions
from torch import nn
from torch.nn import functional as F

from fsdet.heads.base import Head
from fsdet.heads.gradient.anil import Anil
from fsdet.heads.gradient.base import Slope
from fsdet.heads.gradient.finn_maml import FinnMaml, Fomaml
from fsdet.heads.gradient.meta_lstm import seen_as
from fsdet.heads.support import category_weights
from fsdet.training.objectives import FromBank
from fsdet.types import Regions, Support

N_WAY = 3
STEP = 0.02
FC7 = ["embedding_weight", "embedding_bias"]


def exact(seed: int) -> Regions:
    """Regions in float64."""
    given = regions(N_WAY, 4, seed, 1.0)
    return Regions(given.features.to(torch.float64), given.labels, given.deltas.double(), N_WAY)


def small(name: str, **more) -> Head:
    """A head in float64 whose starts differ between rows and elements."""
    head = made(name, steps=3, test_steps=3, inner_step=STEP, **more).double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in (*head.start_rows.parameters(), *head.trunk.last.parameters()):
            parameter += 0.1 * torch.rand(parameter.shape, generator=generator)
        for factors in getattr(head, "factors", {}).values():
            factors += torch.randn(factors.shape, generator=generator)
    return head.train()


def embedded(head: Head, given: Regions) -> Support:
    return Support(head.embed(given.features).detach(), given.labels, given.deltas, given.n_way)


class Net(nn.Module):
    """The same classifier in the plainest words, with rows of its own for every category."""

    def __init__(self, head: FinnMaml):
        super().__init__()
        start = head.start_rows.rows.detach()
        self.rows = nn.Parameter(torch.cat([start[:1], start[1:].repeat(N_WAY, 1)]))
        self.embedding_weight = nn.Parameter(head.trunk.last.weight.detach().clone())
        self.embedding_bias = nn.Parameter(head.trunk.last.bias.detach().clone())
        self.scale, self.share = head.log_scale.exp().item(), head.log_share.exp().item()

    def forward(self, plain, hidden):
        learned = F.normalize(
            F.relu(F.linear(hidden, self.embedding_weight, self.embedding_bias)), dim=-1
        )
        what = F.normalize(torch.cat([plain, self.share * learned], 1), dim=-1)
        return self.scale * what @ F.normalize(self.rows, dim=-1).T


def parted(head: Head, given: Regions) -> tuple[torch.Tensor, torch.Tensor]:
    """Plain averages and fc6."""
    parts = head.parts(FinnMaml.embed(head, given.features).detach())
    return parts[0], parts[1]


def steps_of(head: FinnMaml) -> dict[str, torch.Tensor | float]:
    """The paper's step sizes by tensor, those of rows N times."""
    if not hasattr(head, "factors"):
        return {"rows": N_WAY * STEP, **dict.fromkeys(FC7, STEP)}
    factors = head.factors
    rows = torch.cat([factors["rows"][:1], factors["rows"][1:].repeat(N_WAY, 1)])
    return {"rows": N_WAY * STEP * rows, **{name: STEP * factors[name] for name in FC7}}


def by_higher(head: FinnMaml, near: Regions, far: Regions) -> tuple[float, dict[str, torch.Tensor]]:
    """The query's loss after three steps, and its gradients in what is meta-learned, by `higher`."""
    net, sizes = Net(head), steps_of(head)
    moved = ["rows"] if isinstance(head, Anil) else list(sizes)
    groups = [{"params": [getattr(net, name)], "lr": 1.0} for name in moved]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    weights = category_weights(near.labels, N_WAY, 4.0).double()
    with higher.innerloop_ctx(
        net,
        optimizer,
        copy_initial_weights=False,
        override={"lr": [sizes[name] for name in moved]},
    ) as (live, inner):
        for _ in range(3):
            logits = live(*parted(head, near))
            inner.step(weights @ F.cross_entropy(logits, near.labels, reduction="none"))
        loss = F.cross_entropy(live(*parted(head, far)), far.labels)
        loss.backward()
    rows = net.rows.grad
    found = {"rows": torch.stack([rows[0], rows[1:].sum(0)])}
    return loss.item(), found | {name: getattr(net, name).grad for name in FC7}


@pytest.mark.parametrize("name", ["finn-maml", "anil", "meta-sgd"])
def test_outer_gradients_are_those_of_higher(name):
    head, near, far = small(name), exact(0), exact(1)
    wanted_loss, wanted = by_higher(head, near, far)
    factors = list(getattr(head, "factors", {}).values())
    of_factors = [f.grad.clone() for f in factors if f.grad is not None]
    head.zero_grad()
    loss = head.episode(near, far)["loss_class"]
    loss.backward()
    assert loss.item() == pytest.approx(wanted_loss, rel=1e-9)
    ours = [head.start_rows.rows.grad, head.trunk.last.weight.grad, head.trunk.last.bias.grad]
    for mine, theirs in zip(ours, wanted.values(), strict=True):
        assert theirs.abs().max() > 1e-4
        assert torch.allclose(mine, theirs, rtol=1e-5, atol=1e-9)
    assert len(of_factors) == len(factors)
    for factor, theirs in zip(factors, of_factors, strict=True):
        assert torch.allclose(factor.grad, theirs, rtol=1e-5, atol=1e-9)


def quadratic(kind: type[FinnMaml]) -> FinnMaml:
    """L = c x^2 / 2 of one number x_0 = 2, inside; two steps."""

    class Quadratic(kind):
        def start(self, embeddings, support):
            return {"rows": self.start_rows.rows[:1, :1]}

        def inner_loss(self, embeddings, support, task):
            return 3.0 / 2 * task["rows"].square().sum()

    head = Quadratic(SHAPE, 16, kind.Options(steps=2, inner_step=0.1)).double().train()
    nn.init.constant_(head.start_rows.rows, 2.0)
    return head


def test_first_order_lacks_the_curvature_along_the_way():
    """x_2 = (1 - a c)^2 x_0; outer x_2^2 / 2: second order x_2 (1 - a c)^2, first order x_2."""
    support = Support(torch.zeros(1, 4), torch.zeros(1, dtype=torch.int64), torch.zeros(1, 4), 1)
    slopes = {}
    for kind in (FinnMaml, Fomaml):
        head = quadratic(kind)
        end = head.learn(support)["rows"]
        (end.square() / 2).sum().backward()
        slopes[kind] = head.start_rows.rows.grad[0, 0].item()
    x2 = (1 - 0.1 * 3.0) ** 2 * 2.0
    assert slopes[FinnMaml] == pytest.approx(x2 * (1 - 0.1 * 3.0) ** 2)
    assert slopes[Fomaml] == pytest.approx(x2)


def test_meta_sgd_with_equal_steps_is_maml():
    meta_sgd, finn = small("meta-sgd"), small("finn-maml")
    for factors in meta_sgd.factors.values():
        nn.init.ones_(factors)
    near, far = exact(0), exact(1)
    for head in (meta_sgd, finn):
        sum(head.episode(near, far).values()).backward()
    ours, theirs = meta_sgd.adapt(near), finn.adapt(near)
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-12) for name in theirs)
    for name, parameter in finn.named_parameters():
        if parameter.grad is not None:
            mine = meta_sgd.get_parameter(name).grad
            assert torch.allclose(mine, parameter.grad, atol=1e-12), name


def joined(near: Regions, far: Regions, head: Head) -> Support:
    first, second = embedded(head, near), embedded(head, far)
    return Support(
        torch.cat([first.embeddings, second.embeddings]),
        torch.cat([near.labels, far.labels]),
        torch.cat([near.deltas, far.deltas]),
        N_WAY,
    )


def theta_of(head: Head) -> list[torch.Tensor]:
    return [head.start_rows.rows, head.trunk.last.weight, head.trunk.last.bias]


def end_of(head: Head, near: Regions, far: Regions) -> list[torch.Tensor]:
    """theta_k by a loop of torch's own SGD, the mean of the categories' rows second."""
    net, both = Net(head), joined(near, far, head)
    plain, hidden, _ = head.parts(both.embeddings)
    groups = [{"params": [getattr(net, name)], "lr": a} for name, a in steps_of(head).items()]
    optimizer = torch.optim.SGD(groups)
    weights = category_weights(both.labels, N_WAY, 4.0).double()
    for _ in range(head.steps):
        optimizer.zero_grad()
        logits = net(plain, hidden)
        (weights @ F.cross_entropy(logits, both.labels, reduction="none")).backward()
        optimizer.step()
    rows = net.rows.detach()
    return [
        torch.stack([rows[0], rows[1:].mean(0)]),
        net.embedding_weight.detach(),
        net.embedding_bias.detach(),
    ]


@pytest.mark.parametrize("steps", [1, 3])
def test_reptiles_gradient_is_the_way_back_from_where_the_steps_end(steps):
    head, near, far = small("reptile"), exact(0), exact(1)
    head.steps = steps
    ends = end_of(head, near, far)
    losses = head.episode(near, far)
    assert losses["loss_start"].item() == 0
    sum(losses.values()).backward()
    for value, end in zip(theta_of(head), ends, strict=True):
        assert (value - end).abs().max() > 1e-4
        assert torch.allclose(value.grad, (value - end).detach(), atol=1e-9)


def test_reptile_with_one_step_descends_the_joint_loss():
    head, near, far = small("reptile"), exact(0), exact(1)
    head.steps = 1
    head.episode(near, far)["loss_start"].backward()
    mine = [value.grad.clone() for value in theta_of(head)]
    head.zero_grad()
    both = joined(near, far, head)
    start = head.start(both.embeddings, both)
    head.inner_loss(both.embeddings, both, start).backward()
    rows, weight, bias = (value.grad for value in theta_of(head))
    # Rows step N times as far; the mean over N categories takes that back from theirs.
    rows = torch.stack([N_WAY * rows[0], rows[1]])
    for found, joint in zip(mine, (rows, weight, bias), strict=True):
        assert torch.allclose(found, STEP * joint, atol=1e-12)


def test_a_step_of_averaging_is_the_mean_of_where_the_tasks_end():
    head = small("averaging")
    episodes = [(exact(2 * i), exact(2 * i + 1)) for i in range(3)]
    ends = [end_of(head, near, far) for near, far in episodes]
    optimizer = head.optimizer(1e-3, 1e-3, 1e-2, 0.01)
    sum(FromBank(head)(episodes).values()).backward()
    optimizer.step()
    for value, *mine in zip(theta_of(head), *ends, strict=True):
        assert torch.allclose(value, torch.stack(mine).mean(0), atol=1e-9)


def test_gradients_and_losses_are_shown_to_the_network_as_in_the_paper():
    x = torch.tensor([math.exp(-5), -1.0, 0.0, math.exp(-11), -math.exp(-12)])
    wanted = [[-0.5, 1], [0, -1], [-1, 0], [-1, math.exp(-1)], [-1, -math.exp(-2)]]
    assert torch.allclose(seen_as(x), torch.tensor(wanted), atol=1e-5)


def test_meta_lstm_starts_as_gradient_descent():
    head, near = small("meta-lstm"), exact(0)
    both = embedded(head, near)
    rows = head.start_rows(N_WAY).detach()
    keep = 1 / (1 + math.exp(-5))
    for _ in range(head.steps):
        rows = rows.requires_grad_()
        (slope,) = torch.autograd.grad(head.inner_loss(both.embeddings, both, {"rows": rows}), rows)
        rows = (keep * rows - STEP * N_WAY * slope).detach()
    assert torch.allclose(head.learn(both)["rows"], rows, atol=1e-6)


def test_meta_lstm_is_the_recurrence_of_the_paper_at_every_coordinate():
    head = small("meta-lstm")
    torch.manual_seed(5)
    for parameter in (*head.forget.parameters(), *head.input.parameters()):
        nn.init.normal_(parameter)
    rows, memory = torch.randn(1 + N_WAY, head.length).double(), {}
    slopes = [
        Slope(t, N_WAY, torch.tensor(2.0 - t).double(), {"rows": torch.randn_like(rows)})
        for t in range(2)
    ]
    place = (2, 5)
    value, f, i = rows[place].reshape(1), torch.zeros(1).double(), torch.zeros(1).double()
    state = (torch.zeros(1, 20).double(), torch.zeros(1, 20).double())
    task = {"rows": rows}
    for slope in slopes:
        task, memory = head.move(task, slope, memory)
        g = N_WAY * slope.gradients["rows"][place]
        seen = [math.log(abs(g)) / 10, math.copysign(1, g), math.log(slope.loss) / 10, 1.0]
        state = head.cell(torch.tensor([seen]).double(), state)
        h = state[0][0]
        f, i = (
            torch.sigmoid(gate.weight[0] @ torch.cat([h, value, old]) + gate.bias)
            for gate, old in ((head.forget, f), (head.input, i))
        )
        value = f * value - i * g
    assert task["rows"][place].item() == pytest.approx(value.item(), rel=1e-6)
