"""Recurrent learner: class rows from a GRU that reads the support."""

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from fsdet.heads.layers import RegionShape, scaled_cosine
from fsdet.heads.metric.prototype import Prototype
from fsdet.heads.support import to_rounds
from fsdet.types import Support, Task


class Recurrent(Prototype):
    """A recurrent network as learner (Hochreiter et al. 2001, "Learning to Learn Using Gradient Descent";
    inputs as of Santoro et al. 2016): it predicts a region's label first, then reads the true one.

    One GRU cell serves all labels, and every label has a state, so N is arbitrary and names do not matter. In
    round t the region z of label c is scored against the current rows; the cell reads z, the probability of c
    and that of its greatest rival, and updates the state of c:

        h_c <- GRU([P z, p_c, max_{d != c} p_d], h_c);  a = exp(w . h_c)
        row_c = (sum over rounds of n a z) / (sum over rounds of n a) + U h_c, of the last h_c,

    where z is the mean of n regions.

    Differs from the papers: the network there is the whole learner and must discover class means. Here w starts
    at 0 and U near it, so the rows start as prototypes and a few hundred episodes are enough to improve them.
    """

    class Options(Prototype.Options):
        hidden: PositiveInt = 128  # H, length of a state
        rounds: PositiveInt = 16  # most T, steps in which the support is read

    options: Options

    def __init__(self, shape: RegionShape, width: int, options: Options):
        super().__init__(shape, width, options)
        self.project = nn.Linear(self.length, options.hidden)
        self.cell = nn.GRUCell(options.hidden + 2, options.hidden)
        self.weigh = nn.Linear(options.hidden, 1, bias=False)
        self.correct = nn.Linear(options.hidden, self.length, bias=False)
        nn.init.zeros_(self.weigh.weight)
        nn.init.normal_(self.correct.weight, std=0.001)

    def learn(self, support: Support) -> Task:
        with self.full_precision(support) as embeddings:
            return {"rows": self.class_rows(embeddings, support.labels, support.n_way)}

    def class_rows(self, embeddings: Tensor, labels: Tensor, n_way: int) -> Tensor:
        """[S, D], [S] -> [1 + N, D]: the rows after the last round."""
        rounds = to_rounds(embeddings, labels, n_way, self.options.rounds)
        scale = self.log_scale.exp()
        projected = self.project(rounds.means)  # [T, 1 + N, H]
        state = projected.new_zeros(1 + n_way, self.cell.hidden_size)
        total, weight = torch.zeros_like(rounds.means[0]), state.new_zeros(1 + n_way, 1)
        rows = total
        for z, inputs, count in zip(rounds.means, projected, rounds.counts[..., None], strict=True):
            probabilities = scaled_cosine(z, rows, scale).softmax(1)  # [1 + N, 1 + N]
            own = probabilities.diagonal()
            rival = (probabilities - torch.diag(own)).amax(1, keepdim=True)
            next_state = self.cell(torch.cat([inputs, own[:, None], rival], 1), state)
            state = torch.where(count > 0, next_state, state)
            region_weight = count * self.weigh(state).exp()
            total, weight = total + region_weight * z, weight + region_weight
            rows = total / weight.clamp(min=1e-6) + self.correct(state)
        return rows
