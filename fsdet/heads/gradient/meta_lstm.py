"""A recurrent network in the place of the update rule."""

import math
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from fsdet.heads.gradient.anil import Anil
from fsdet.heads.gradient.base import FixedStepOptions, Slope
from fsdet.heads.layers import RegionShape
from fsdet.heads.options import (
    STRICT,
    Count,
    CountOrZero,
)
from fsdet.types import Task

P = 10.0  # of the paper's equation: gradients are told apart down to e^-p


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MetaLstmOptions(FixedStepOptions):
    """Options of the meta-learner LSTM."""

    test_steps: CountOrZero = 5
    inner_step: Annotated[float, Field(gt=0, lt=1)] = 0.01  # start of i_t
    hidden: Count = 20  # units of the LSTM that reads gradient and loss


class MetaLstm(Anil):
    """Ravi & Larochelle 2017, "Optimization as a Model for Few-Shot Learning" (meta-learner LSTM).

    theta_t = f_t o theta_{t-1} - i_t o g_t, where g_t = dL(support; theta_{t-1}) / dtheta_{t-1},
    h_t = LSTM(x(g_t), x(L_t)), f_t = sigmoid(W_f [h_t, theta_{t-1}, f_{t-1}] + b_f) and
    i_t = sigmoid(W_i [h_t, theta_{t-1}, i_{t-1}] + b_i): the state of an LSTM's cell, whose weights all
    coordinates share. theta_0 is learned. As in the paper the outer gradient takes g_t and L_t for constants.

    It begins as gradient descent: W_f and W_i are zero, b_f is 5 and b_i so that i_t is `inner_step`. g_t of
    the rows is taken N times, as its step is elsewhere. The coordinates are those of the class rows: fc7 would
    be a quarter of a million more at width 512.
    """

    Options = MetaLstmOptions

    second_order = False

    def __init__(self, shape: RegionShape, width: int, options: MetaLstmOptions):
        super().__init__(shape, width, options)
        hidden, inner_step = options.hidden, options.inner_step
        self.cell = nn.LSTMCell(4, hidden)
        self.forget, self.input = nn.Linear(hidden + 2, 1), nn.Linear(hidden + 2, 1)
        for gate, bias in (
            (self.forget, 5.0),
            (self.input, math.log(inner_step / (1 - inner_step))),
        ):
            nn.init.zeros_(gate.weight)
            nn.init.constant_(gate.bias, bias)

    def move(self, task: Task, slope: Slope, memory: Task) -> tuple[Task, Task]:
        """One step of the network, for every coordinate of the rows by itself, with all digits."""
        rows = task["rows"]
        with torch.autocast(rows.device.type, enabled=False):
            state = memory or self._nothing(rows)
            gradient = slope.n_way * slope.gradients["rows"]
            loss = seen_as(slope.loss.detach().to(rows)).expand(*rows.shape, 2)
            seen = torch.cat([seen_as(gradient), loss], -1)  # [1 + N, D, 4]
            h, c = self.cell(seen.flatten(0, 1), (state["h"], state["c"]))
            read = torch.cat([h.unflatten(0, rows.shape), rows[..., None]], -1)
            with_forget, with_input = (
                torch.cat([read, state[gate][..., None]], -1) for gate in ("forget", "input")
            )
            f, i = (
                self.forget(with_forget)[..., 0].sigmoid(),
                self.input(with_input)[..., 0].sigmoid(),
            )
            moved = f * rows - i * gradient
        return {"rows": moved}, {"h": h, "c": c, "forget": f, "input": i}

    def _nothing(self, rows: Tensor) -> Task:
        """What the rule remembers before the first step."""
        none, hidden = torch.zeros_like(rows), rows.new_zeros(rows.numel(), self.cell.hidden_size)
        return {"h": hidden, "c": hidden, "forget": none, "input": none}


def seen_as(x: Tensor) -> Tensor:
    """Numbers of any magnitude -> [..., 2]: (log|x| / p, sign x) where |x| >= e^-p, else (-1, e^p x)."""
    size = x.abs()
    large = size >= math.exp(-P)
    logs = size.clamp(min=math.exp(-P)).log() / P
    return torch.stack(
        [torch.where(large, logs, -1.0), torch.where(large, x.sign(), math.exp(P) * x)], -1
    )
