"""Class rows from a recurrent network that reads the support."""

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from fsdet.heads.layers import RegionShape, scaled_cosine
from fsdet.heads.metric.prototype import Prototype, PrototypeOptions
from fsdet.heads.options import (
    STRICT,
    Count,
)
from fsdet.heads.support import in_rounds
from fsdet.types import Support, Task


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RecurrentOptions(PrototypeOptions):
    """Options of the recurrent learner."""

    hidden: Count = 128  # H, length of a state
    rounds: Count = 16  # T, reading steps of the support, at most


class Recurrent(Prototype):
    """A learner that is a recurrent network (Hochreiter et al. 2001, "Learning to Learn Using Gradient
    Descent"; Santoro et al. 2016 for what it is shown): first it answers, then it sees the truth.

    One GRU cell serves all labels, and every label has a state, so that N is any and names do not matter.
    In round t the region z of label c meets the rows so far; the cell reads z and what was said of it, the
    probabilities of c and of its greatest rival, and moves the state of c:

        h_c <- GRU([P z, p_c, max_{d != c} p_d], h_c);  a = exp(w . h_c)
        row_c = (sum over rounds of n a z) / (sum over rounds of n a) + U h_c, of the last h_c,

    n being how many regions z is the mean of. There the network is all of the learner and must find out that
    means are a good idea; here w starts at 0 and U near it, so that the rows start as prototypes, from which
    a few hundred episodes are enough to get on.
    """

    Options = RecurrentOptions

    def __init__(self, shape: RegionShape, width: int, options: RecurrentOptions):
        super().__init__(shape, width, options)
        hidden, self.rounds = options.hidden, options.rounds
        self.project = nn.Linear(self.length, hidden)
        self.cell = nn.GRUCell(hidden + 2, hidden)
        self.weigh = nn.Linear(hidden, 1, bias=False)
        self.correct = nn.Linear(hidden, self.length, bias=False)
        nn.init.zeros_(self.weigh.weight)
        nn.init.normal_(self.correct.weight, std=0.001)

    def learn(self, support: Support) -> Task:
        labels, n_way = support.labels, support.n_way
        with self.exactly(support) as what:
            return {"rows": self.read(what, labels, n_way)}

    def read(self, what: Tensor, labels: Tensor, n_way: int) -> Tensor:
        """[S, D], [S] -> [1 + N, D]: the rows after the last round."""
        rounds, scale = in_rounds(what, labels, n_way, self.rounds), self.log_scale.exp()
        projected = self.project(rounds.what)  # [T, 1 + N, H]
        state = projected.new_zeros(1 + n_way, self.cell.hidden_size)
        total, weight = torch.zeros_like(rounds.what[0]), state.new_zeros(1 + n_way, 1)
        rows = total
        for z, seen, count in zip(rounds.what, projected, rounds.counts[..., None], strict=True):
            said = scaled_cosine(z, rows, scale).softmax(1)  # [1 + N, 1 + N]
            own = said.diagonal()[:, None]
            rival = (said - torch.diag(said.diagonal())).amax(1, keepdim=True)
            moved = self.cell(torch.cat([seen, own, rival], 1), state)
            state = torch.where(count > 0, moved, state)
            counts = count * self.weigh(state).exp()
            total, weight = total + counts * z, weight + counts
            rows = total / weight.clamp(min=1e-6) + self.correct(state)
        return rows
