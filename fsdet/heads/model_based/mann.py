"""Memory-augmented network: an external memory, written with the support and read by content."""

from dataclasses import dataclass

import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.heads.frozen_embedding import FrozenEmbeddingHead
from fsdet.heads.layers import Background, RegionShape, log_parameter, unit
from fsdet.heads.support import to_rounds
from fsdet.types import Features, Support, Task


@dataclass(frozen=True)
class Slots:
    """The memory: L slots of each label."""

    keys: Tensor  # [1 + N, L, D], sums of written keys
    written: Tensor  # [1 + N, L], V: sums of write weights
    usage: Tensor  # [1 + N, L], w^u


class Mann(FrozenEmbeddingHead):
    """Santoro et al. 2016, "Meta-Learning with Memory-Augmented Neural Networks": least recently used access.

    In a round every label's region, with key k, reads the slots of its label and is written to them:

        w^r ~ V exp(focus * cos(k, M))                                                          read
        w^w = g w^r + (1 - g) w^lu        write: to similar slots, and to the least used one
        M <- M + w^w k;  V <- V + w^w                                (w^lu's slot emptied first)
        w^u <- gamma w^u + w^r + w^w                                                            usage

    g and gamma are learned as the logarithms of their odds. A label's first region is written to w^lu alone. A
    query reads with a sharpness of its own; its logit is the logarithm of its reading of a label:

        logit_c = scale / sharpness * log sum_i share_ci exp(sharpness * cos(k, M_ci)),
        share_ci = V_ci (w^u_ci)^eta / (its sum over i)

    so that the shares of a label add up to one for any number of regions. With all of a label in one slot this
    is scale * cos(k, mean): a gate near 1 starts as prototypes, a gate near 0 as a memory of examples.

    Differs from the paper: the controller is a projection, k = z + B A z of unit length with B = 0 at the
    start, not an LSTM, because regions come in no sequence. A slot belongs to one label, which is part of
    its address: memory grows with N, names do not matter, a category of many regions evicts none of
    another, and no region is written to a similar slot of another label. Reading weighs a slot by V, or the
    last region written would always be the nearest. A write uses the reading of the same round, not of the one
    before, because no controller delays it. Usage counts in a query's reading (eta is 0 at the start), or
    nothing could train gamma: the choice of the least used slot has no derivative.
    """

    class Options(FrozenEmbeddingHead.Options):
        slots: PositiveInt = 4  # L
        rounds: PositiveInt = 16  # most steps in which the support is read
        rank: PositiveInt = 64  # of the key's correction B A
        gate: PositiveFloat = 9.0  # initial odds g / (1 - g)
        memory: PositiveFloat = 19.0  # initial odds gamma / (1 - gamma)
        focus: PositiveFloat = 20.0  # initial sharpness of reading while writing
        scale: PositiveFloat = (
            20.0  # initial scale of the logits and sharpness of a query's reading
        )
        n_background: NonNegativeInt = 8  # learned background rows

    options: Options

    def __init__(self, shape: RegionShape, width: int, options: Options):
        super().__init__(shape, width, options)
        back = nn.Linear(options.rank, self.length, bias=False)
        nn.init.zeros_(back.weight)
        self.correct = nn.Sequential(nn.Linear(self.length, options.rank, bias=False), back)
        self.background = Background(options.n_background, self.length)
        self.log_gate = log_parameter(options.gate)
        self.log_memory = log_parameter(options.memory)
        self.log_focus = log_parameter(options.focus)
        self.log_sharpness = log_parameter(options.scale)
        self.log_scale = log_parameter(options.scale)
        self.eta = nn.Parameter(torch.zeros(()))

    def embed_class(self, features: Features) -> Tensor:
        embeddings = super().embed_class(features)
        return unit(embeddings + self.correct(embeddings))

    def empty_slots(self, keys: Tensor, n_way: int) -> Slots:
        """The memory of a task before its first round, for keys like [..., D]."""
        size = (1 + n_way, self.options.slots)
        return Slots(
            keys.new_zeros(*size, keys.shape[-1]), keys.new_zeros(size), keys.new_zeros(size)
        )

    def write(self, slots: Slots, keys: Tensor, present: Tensor) -> Slots:
        """Run one round: the labels that are `present` [1 + N] read and write their `keys` [1 + N, D]."""
        present = present[:, None].to(keys)
        cosines = (unit(slots.keys) @ keys[..., None])[..., 0]  # [1 + N, L]
        content = slots.written * (self.log_focus.exp() * (cosines - 1)).exp()
        read = present * content / content.sum(1, keepdim=True).clamp(min=1e-30)
        least = present * F.one_hot(slots.usage.argmin(1), self.options.slots)
        gate = self.log_gate.sigmoid() * (slots.written.sum(1, keepdim=True) > 0)
        write = gate * read + (1 - gate) * least
        return Slots(
            (1 - least)[..., None] * slots.keys + write[..., None] * keys[:, None],
            (1 - least) * slots.written + write,
            self.log_memory.sigmoid() * slots.usage + read + write,
        )

    def learn(self, support: Support) -> Task:
        labels, n_way = support.labels, support.n_way
        with self.full_precision(support) as embeddings:
            rounds = to_rounds(embeddings, labels, n_way, self.options.rounds)
            slots = self.empty_slots(embeddings, n_way)
            for keys, counts in zip(unit(rounds.means), rounds.counts, strict=True):
                slots = self.write(slots, keys, counts > 0)
            shares = slots.written * slots.usage.clamp(min=1e-6).pow(self.eta)
            shares = shares / shares.sum(1, keepdim=True).clamp(min=1e-6)
            return {"keys": unit(slots.keys), "shares": shares}

    def logits(self, embeddings: Tensor, task: Task) -> Tensor:
        sharpness, scale = self.log_sharpness.exp(), self.log_scale.exp()
        scores = embeddings @ (sharpness * task["keys"].flatten(0, 1)).T  # [R, (1 + N) L]
        log_shares = task["shares"].clamp(min=1e-30).log()  # finite for empty slots
        read = (scores.view(-1, *log_shares.shape) + log_shares).logsumexp(2)  # [R, 1 + N]
        return self.background(embeddings, scale / sharpness * read, scale)
