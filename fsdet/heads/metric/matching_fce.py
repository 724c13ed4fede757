"""Attention over support regions that have read each other, by regions that have read them."""

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from fsdet.heads.layers import RegionShape, beside
from fsdet.heads.metric.matching import Matching, MatchingOptions
from fsdet.heads.options import (
    STRICT,
    Count,
    Positive,
)
from fsdet.types import Support, Task


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MatchingFCEOptions(MatchingOptions):
    """Options of full context embeddings."""

    context: Count = 64  # d, length of a context embedding
    steps: Count = 3  # K, reading steps of a query region
    context_share: Positive = (
        0.3  # weight of context beside plain embeddings; learned from this start
    )


class MatchingFCE(Matching):
    """Matching networks with the paper's full context embeddings: a region is described in view of the support.

    With x = P z, a projection to d, as f' and g' of the paper:
    g_i = forward LSTM(x_1 .. x_i) + backward LSTM(x_S .. x_i) + x_i over the support regions, and for a query
    region, K times: r = sum_i a_i g_i, a = softmax_i(h . g_i), h = LSTM(x; h, r) + x, from h = 0. Then h and g_i
    stand beside the plain descriptions of either, at a weight of their own: K steps over R regions in all of D
    would cost more than the comparison itself. In the attention too categories count alike.

    An LSTM reads in some order, and the support has none. It is read from its least typical region to its most
    typical, by the cosine with its mean, so the head does not depend on the order the support comes in.
    """

    Options = MatchingFCEOptions

    def __init__(self, shape: RegionShape, width: int, options: MatchingFCEOptions):
        super().__init__(shape, width, options)
        context = options.context
        self.steps = options.steps
        self.project = nn.Linear(self.length, context, bias=False)  # P
        # Embeddings have unit length: entries of x are about 0.5, a useful range for an LSTM.
        nn.init.normal_(self.project.weight, std=0.5)
        self.reader = nn.LSTM(context, context, bidirectional=True)
        # The paper's state is [h, r]; a gate that sees both is one that has r in its input.
        self.cell = nn.LSTMCell(2 * context, context)
        self.log_context_share = nn.Parameter(torch.tensor(options.context_share).log())

    def learn(self, support: Support) -> Task:
        task = super().learn(support)
        keys, counts = task["keys"], task["counts"]
        context = self.read(keys)
        return {
            "keys": beside(keys, context, self.log_context_share),
            "counts": counts,
            "context": context,  # [S, d]
            "log_counts": torch.repeat_interleave(
                counts.clamp(min=1).to(keys).log(), counts
            ),  # [S]
        }

    def read(self, keys: Tensor) -> Tensor:
        """g: [S, D] -> [S, d]."""
        order = torch.argsort((keys * keys.mean(0)).sum(1), stable=True)
        x = self.project(keys[order])
        forward, backward = self.reader(x)[0].chunk(2, dim=1)
        return (forward + backward + x)[torch.argsort(order)]

    def look(self, x: Tensor, task: Task) -> Tensor:
        """f: [R, d] -> [R, d]."""
        context = task["context"]
        h, c = torch.zeros_like(x), torch.zeros_like(x)
        for _ in range(self.steps):
            attention = torch.softmax(h @ context.T - task["log_counts"], 1)  # [R, S]
            h, c = self.cell(torch.cat([x, attention @ context], 1), (h, c))
            h = h + x
        return h

    def logits(self, what: Tensor, task: Task) -> Tensor:
        seen = self.look(self.project(what), task)
        return super().logits(beside(what, seen, self.log_context_share), task)
