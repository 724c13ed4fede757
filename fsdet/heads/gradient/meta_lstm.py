"""Meta-learner LSTM: a recurrent network as the update rule."""

import math
from typing import Annotated

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from fsdet.heads.gradient.anil import Anil
from fsdet.heads.gradient.base import InnerGradient
from fsdet.heads.layers import RegionShape
from fsdet.types import Task

P = 10.0  # of the paper's preprocessing: gradients above e^-p are represented by their logarithm


class MetaLstm(Anil):
    """Ravi & Larochelle 2017, "Optimization as a Model for Few-Shot Learning" (meta-learner LSTM).

    theta_t = f_t o theta_{t-1} - i_t o g_t, where g_t = dL(support; theta_{t-1}) / dtheta_{t-1},
    h_t = LSTM(x(g_t), x(L_t)), f_t = sigmoid(W_f [h_t, theta_{t-1}, f_{t-1}] + b_f) and
    i_t = sigmoid(W_i [h_t, theta_{t-1}, i_{t-1}] + b_i): the state of an LSTM's cell, whose weights all
    coordinates share. theta_0 is learned. As in the paper the outer gradient takes g_t and L_t as constants.

    It starts as gradient descent: W_f and W_i are zero, b_f is 5 and b_i gives i_t = `inner_step`. g_t of the
    rows is multiplied by N, like the steps of other heads. The coordinates are those of the class rows: fc7 would
    add a quarter of a million at width 512.
    """

    class Options(Anil.Options):
        test_steps: NonNegativeInt = 5
        inner_step: Annotated[float, Field(gt=0, lt=1)] = 0.01  # initial i_t
        hidden: PositiveInt = 20  # units of the LSTM over gradient and loss

    options: Options
    second_order = False

    def __init__(self, shape: RegionShape, width: int, options: Options):
        super().__init__(shape, width, options)
        self.cell = nn.LSTMCell(4, options.hidden)
        self.forget = nn.Linear(options.hidden + 2, 1)
        self.input = nn.Linear(options.hidden + 2, 1)
        log_odds = math.log(options.inner_step / (1 - options.inner_step))
        for gate, bias in ((self.forget, 5.0), (self.input, log_odds)):
            nn.init.zeros_(gate.weight)
            nn.init.constant_(gate.bias, bias)

    def update(self, task: Task, inner: InnerGradient, state: Task) -> tuple[Task, Task]:
        """Step the network once for every coordinate of the rows, without autocast."""
        rows = task["rows"]
        with torch.autocast(rows.device.type, enabled=False):
            state = state or self._initial_state(rows)
            gradient = inner.n_way * inner.gradients["rows"]
            loss = preprocess(inner.loss.detach().to(rows)).expand(*rows.shape, 2)
            inputs = torch.cat([preprocess(gradient), loss], -1)  # [1 + N, D, 4]
            h, c = self.cell(inputs.flatten(0, 1), (state["h"], state["c"]))
            h_rows = torch.cat([h.unflatten(0, rows.shape), rows[..., None]], -1)
            f, i = (
                gate(torch.cat([h_rows, previous[..., None]], -1))[..., 0].sigmoid()
                for gate, previous in (
                    (self.forget, state["forget"]),
                    (self.input, state["input"]),
                )
            )
            updated = f * rows - i * gradient
        return {"rows": updated}, {"h": h, "c": c, "forget": f, "input": i}

    def _initial_state(self, rows: Tensor) -> Task:
        zeros, hidden = torch.zeros_like(rows), rows.new_zeros(rows.numel(), self.cell.hidden_size)
        return {"h": hidden, "c": hidden, "forget": zeros, "input": zeros}


def preprocess(x: Tensor) -> Tensor:
    """Numbers of any magnitude -> [..., 2]: (log|x| / p, sign x) where |x| >= e^-p, else (-1, e^p x)."""
    size = x.abs()
    large = size >= math.exp(-P)
    logs = size.clamp(min=math.exp(-P)).log() / P
    return torch.stack(
        [torch.where(large, logs, -1.0), torch.where(large, x.sign(), math.exp(P) * x)], -1
    )
