"""An external memory, written with the support and read by content."""

from dataclasses import dataclass

import pydantic
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.heads.frozen_embedding import FrozenEmbeddingHead
from fsdet.heads.layers import Background, RegionShape, unit
from fsdet.heads.options import (
    STRICT,
    Count,
    CountOrZero,
    Positive,
    ShareOptions,
)
from fsdet.heads.support import in_rounds
from fsdet.types import Features, Support, Task


@dataclass(frozen=True)
class Memory:
    """L slots of each label."""

    keys: Tensor  # [1 + N, L, D], as they were added up
    written: Tensor  # [1 + N, L]: how much
    usage: Tensor  # [1 + N, L]


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=STRICT)
class MannOptions(ShareOptions):
    """Options of the memory-augmented network."""

    slots: Count = 4  # L, slots per label; memory grows with the task
    rounds: Count = 16  # reading steps of the support, at most
    rank: Count = 64  # of the correction B A of a key
    gate: Positive = 9.0  # odds g / (1 - g)
    memory: Positive = 19.0  # odds gamma / (1 - gamma)
    focus: Positive = 20.0  # sharpness of reading while writing
    scale: Positive = 20.0  # of the logits, and the first sharpness of a query's reading
    n_background: CountOrZero = 8  # learned background rows


class Mann(FrozenEmbeddingHead):
    """Santoro et al. 2016, "Meta-Learning with Memory-Augmented Neural Networks": least recently used access.

    In a round every label's region, of key k, reads what is there and, the truth being told, is written:

        w^r ~ V exp(focus * cos(k, M))                                                          read
        w^w = g w^r + (1 - g) w^lu        write: to where it is known, and to the least used slot
        M <- M + w^w k;  V <- V + w^w                                (w^lu's slot emptied first)
        w^u <- gamma w^u + w^r + w^w                                                            usage

    g and gamma are learned as the logarithms of their odds. A label's first region goes all to w^lu. A query
    reads with a sharpness of its own; its logit is the logarithm of what it reads of a label:

        logit_c = scale / sharpness * log sum_i share_ci exp(sharpness * cos(k, M_ci)),
        share_ci = V_ci (w^u_ci)^eta / (its sum over i)

    so that a label's share is one however many regions it had. With all of a label in one slot this is
    scale * cos(k, mean): a gate near 1 starts as prototypes, a gate near 0 as a memory of examples.

    What differs from the paper: the controller is a projection, k = z + B A z of unit length with B = 0 at
    the start, no LSTM: regions to be told apart come in no sequence. What a slot holds of labels is one
    label, part of its address: memory grows with N, names do not matter, a category of many regions pushes
    out none of few, and regions are not written where a look-alike of another label is kept. Reading weighs a
    slot by V, how much it holds, or what was written last would always be what is nearest. A write goes where
    the same round has read, not the one before: there is no controller to wait for. And usage counts
    in a query's reading, eta being 0 at the start, or nothing could teach gamma: which slot is the least
    used has no derivative.
    """

    Options = MannOptions

    def __init__(self, shape: RegionShape, width: int, options: MannOptions):
        super().__init__(shape, width, options)
        self.slots, self.rounds = options.slots, options.rounds
        back = nn.Linear(options.rank, self.length, bias=False)
        nn.init.zeros_(back.weight)
        self.correct = nn.Sequential(nn.Linear(self.length, options.rank, bias=False), back)
        self.background = Background(options.n_background, self.length)
        self.log_gate = nn.Parameter(torch.tensor(options.gate).log())
        self.log_memory = nn.Parameter(torch.tensor(options.memory).log())
        self.log_focus = nn.Parameter(torch.tensor(options.focus).log())
        self.log_sharpness = nn.Parameter(torch.tensor(options.scale).log())
        self.log_scale = nn.Parameter(torch.tensor(options.scale).log())
        self.eta = nn.Parameter(torch.zeros(()))

    def described(self, features: Features) -> Tensor:
        what = super().described(features)
        return unit(what + self.correct(what))

    def blank(self, keys: Tensor, n_way: int) -> Memory:
        """Memory of a task before its first round, for keys [..., D] to come."""
        size = (1 + n_way, self.slots)
        return Memory(
            keys.new_zeros(*size, keys.shape[-1]), keys.new_zeros(size), keys.new_zeros(size)
        )

    def step(self, memory: Memory, keys: Tensor, there: Tensor) -> Memory:
        """A round: the labels that are `there` [1 + N] read and write with their `keys` [1 + N, D]."""
        there = there[:, None].to(keys)
        alike = (unit(memory.keys) @ keys[..., None])[..., 0]  # [1 + N, L]
        found = memory.written * (self.log_focus.exp() * (alike - 1)).exp()
        read = there * found / found.sum(1, keepdim=True).clamp(min=1e-30)
        least = there * F.one_hot(memory.usage.argmin(1), self.slots)
        gate = self.log_gate.sigmoid() * (memory.written.sum(1, keepdim=True) > 0)
        write = gate * read + (1 - gate) * least
        return Memory(
            (1 - least)[..., None] * memory.keys + write[..., None] * keys[:, None],
            (1 - least) * memory.written + write,
            self.log_memory.sigmoid() * memory.usage + read + write,
        )

    def learn(self, support: Support) -> Task:
        labels, n_way = support.labels, support.n_way
        with self.exactly(support) as what:
            rounds = in_rounds(what, labels, n_way, self.rounds)
            memory = self.blank(what, n_way)
            for keys, counts in zip(unit(rounds.what), rounds.counts, strict=True):
                memory = self.step(memory, keys, counts > 0)
            shares = memory.written * memory.usage.clamp(min=1e-6).pow(self.eta)
            shares = shares / shares.sum(1, keepdim=True).clamp(min=1e-6)
            return {"keys": unit(memory.keys), "shares": shares}

    def logits(self, what: Tensor, task: Task) -> Tensor:
        sharpness, scale = self.log_sharpness.exp(), self.log_scale.exp()
        scores = what @ (sharpness * task["keys"].flatten(0, 1)).T  # [R, (1 + N) L]
        shares = task["shares"].clamp(min=1e-30).log()  # of a slot that holds nothing: next to none
        read = (scores.view(-1, *shares.shape) + shares).logsumexp(2)  # [R, 1 + N]
        return self.background(what, scale / sharpness * read, scale)
