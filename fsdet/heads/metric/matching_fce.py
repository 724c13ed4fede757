"""Matching networks with full context embeddings."""

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from fsdet.heads.layers import RegionShape, log_parameter, weighted_concat
from fsdet.heads.metric.matching import Matching
from fsdet.types import Support, Task


class MatchingFce(Matching):
    """Vinyals et al. 2016: matching networks whose embeddings depend on the whole support.

    With x = P z, a projection to d, as f' and g' of the paper:
    g_i = forward LSTM(x_1 .. x_i) + backward LSTM(x_S .. x_i) + x_i over the support regions, and for a query
    region, K times: r = sum_i a_i g_i, a = softmax_i(h . g_i), h = LSTM(x; h, r) + x, from h = 0.

    Differs from the paper: h and g_i are concatenated with the class embeddings, with a weight of their own,
    because K steps over R regions in all of D would cost more than the comparison itself. Categories have
    the same weight in the attention. The support has no order, so it is read from its least typical region to
    its most typical, by the cosine with its mean: the head does not depend on the order of the support.
    """

    class Options(Matching.Options):
        context: PositiveInt = 64  # d
        steps: PositiveInt = 3  # K
        context_share: PositiveFloat = 0.3  # initial weight of the context embeddings

    options: Options

    def __init__(self, shape: RegionShape, width: int, options: Options):
        super().__init__(shape, width, options)
        context = options.context
        self.project = nn.Linear(self.length, context, bias=False)  # P
        # Embeddings have unit length: entries of x are about 0.5, a good range for an LSTM.
        nn.init.normal_(self.project.weight, std=0.5)
        self.reader = nn.LSTM(context, context, bidirectional=True)
        # The paper's state is [h, r]; gates over both are gates with r in their input.
        self.cell = nn.LSTMCell(2 * context, context)
        self.log_context_share = log_parameter(options.context_share)

    def learn(self, support: Support) -> Task:
        task = super().learn(support)
        keys, counts = task["keys"], task["counts"]
        context = self.support_context(keys)
        log_counts = counts.clamp(min=1).to(keys).log()
        return {
            "keys": weighted_concat(keys, context, self.log_context_share),
            "counts": counts,
            "context": context,  # [S, d]
            "log_counts": torch.repeat_interleave(log_counts, counts),  # [S]
        }

    def support_context(self, keys: Tensor) -> Tensor:
        """g: [S, D] -> [S, d]."""
        order = torch.argsort((keys * keys.mean(0)).sum(1), stable=True)
        x = self.project(keys[order])
        forward, backward = self.reader(x)[0].chunk(2, dim=1)
        return (forward + backward + x)[torch.argsort(order)]

    def query_context(self, x: Tensor, task: Task) -> Tensor:
        """f: [R, d] -> [R, d]."""
        context = task["context"]
        h, c = torch.zeros_like(x), torch.zeros_like(x)
        for _ in range(self.options.steps):
            attention = torch.softmax(h @ context.T - task["log_counts"], 1)  # [R, S]
            h, c = self.cell(torch.cat([x, attention @ context], 1), (h, c))
            h = h + x
        return h

    def logits(self, embeddings: Tensor, task: Task) -> Tensor:
        context = self.query_context(self.project(embeddings), task)
        return super().logits(weighted_concat(embeddings, context, self.log_context_share), task)
