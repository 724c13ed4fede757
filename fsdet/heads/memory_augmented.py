"""An external memory, written with the support and read by content."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.heads.base import RegionShape, above_zero
from fsdet.heads.described import Background, Described
from fsdet.heads.embedding import unit
from fsdet.heads.rounds import in_rounds
from fsdet.types import Features, Support, Task


@dataclass(frozen=True)
class Memory:
    """M = (1 + N) L slots, L of each label, and what the next round must know."""

    keys: Tensor  # [M, D], as they were added up
    values: Tensor  # [M, 1 + N]: how much of each label was written there
    usage: Tensor  # [M]
    read: Tensor  # [1 + N, M]: where each label's last region read; zero before the first


class MemoryAugmented(Described):
    """Santoro et al. 2016, "Meta-Learning with Memory-Augmented Neural Networks": least recently used access.

    Every label reads and writes at its own pace, all labels of a round side by side. For its region's key k:

        w^w = g w^r_before + (1 - g) w^lu        write: where it read last, or where memory is least used
        M <- M + w^w k (w^lu's slot emptied first);  V <- V + w^w (one-hot label)
        w^r = softmax over slots of focus * (cos(k, M) + V of the label / V of all labels)       read
        w^u <- gamma w^u + w^r + w^w                                                            usage

    g and gamma are learned as the logarithms of their odds. Its first region goes all to w^lu. A query reads
    with a sharpness of its own, and its logit is the logarithm of what it reads of a label:

        logit_c = scale / sharpness * log sum_i exp(sharpness cos(k, M_i)) share_ic,
        share_ic = V_ic (w^u_i)^eta / (its sum over i)

    so that a label's share is one however many regions it had. With all of a label in one slot this is
    scale * cos(k, mean): a gate near 1 starts as prototypes, a gate near 0 as a memory of examples.

    What differs from the paper: the controller is a projection, k = z + B A z of unit length with B = 0 at
    the start, no LSTM, so that tests' regions need no sequence; `w^lu` is looked for among the label's own
    slots, so that a category of many regions pushes out none of few, and renaming labels renames slots, but
    reads and the gated writes go anywhere; usage counts in reading, by eta = 0 at the start, or nothing
    could teach gamma: the choice of the least used slot has no derivative.

    Args:
        shape, width: as of every head.
        slots: L; memory grows with the task.
        rounds: the support is read in so many steps at most.
        rank: of the key's correction B A.
        gate: odds g / (1 - g).
        memory: odds gamma / (1 - gamma).
        focus: sharpness of reading while writing.
        scale: of the logits, and where the sharpness of a query's reading starts.
        n_background: learned background rows.
        share: weight of the learned layers beside the plain averages, learned from there on.
    """

    def __init__(
        self,
        shape: RegionShape,
        width: int,
        slots: int = 4,
        rounds: int = 16,
        rank: int = 64,
        gate: float = 9.0,
        memory: float = 19.0,
        focus: float = 20.0,
        scale: float = 20.0,
        n_background: int = 8,
        share: float = 1.2,
    ):
        super().__init__(shape, width, share)
        above_zero(slots=slots, rounds=rounds, rank=rank)
        above_zero(gate=gate, memory=memory, focus=focus, scale=scale)
        self.slots, self.rounds = slots, rounds
        back = nn.Linear(rank, self.length, bias=False)
        nn.init.zeros_(back.weight)
        self.correct = nn.Sequential(nn.Linear(self.length, rank, bias=False), back)
        self.background = Background(n_background, self.length)
        self.log_gate = nn.Parameter(torch.tensor(gate).log())
        self.log_memory = nn.Parameter(torch.tensor(memory).log())
        self.log_focus = nn.Parameter(torch.tensor(focus).log())
        self.log_sharpness = nn.Parameter(torch.tensor(scale).log())
        self.log_scale = nn.Parameter(torch.tensor(scale).log())
        self.eta = nn.Parameter(torch.zeros(()))

    def embed(self, features: Features) -> Tensor:
        what, where = super().embed(features).tensor_split([self.length], dim=1)
        return torch.cat([unit(what + self.correct(what)), where], 1)

    def blank(self, keys: Tensor, n_way: int) -> Memory:
        """Memory of a task before its first round, for keys [..., D] to come."""
        size = (1 + n_way) * self.slots
        return Memory(
            keys.new_zeros(size, keys.shape[-1]),
            keys.new_zeros(size, 1 + n_way),
            keys.new_zeros(size),
            keys.new_zeros(1 + n_way, size),
        )

    def step(self, memory: Memory, keys: Tensor, there: Tensor) -> Memory:
        """A round: the labels that are `there` [1 + N] write their `keys` [1 + N, D] and read."""
        there = there[:, None].to(keys)
        own = memory.usage.view(-1, self.slots).argmin(
            1
        )  # [1 + N], the place among a label's slots
        least = torch.block_diag(*F.one_hot(own, self.slots)).to(keys) * there  # [1 + N, M]
        before = memory.read.sum(1, keepdim=True) > 0
        gate = self.log_gate.sigmoid() * before
        write = (gate * memory.read + (1 - gate) * least) * there
        kept = 1 - least.sum(0)[:, None]
        stored = kept * memory.keys + write.T @ keys
        values = kept * memory.values + write.T
        read = self.attention(keys, stored, values) * there
        usage = self.log_memory.sigmoid() * memory.usage + read.sum(0) + write.sum(0)
        return Memory(stored, values, usage, torch.where(there > 0, read, memory.read))

    def attention(self, keys: Tensor, stored: Tensor, values: Tensor) -> Tensor:
        """Of each label's key [1 + N, D] over slots [M, D], [M, 1 + N] -> [1 + N, M], rows adding up to one."""
        written = values.sum(1)
        alike = keys @ unit(stored).T + (values / written.clamp(min=1e-6)[:, None]).T
        return (self.log_focus.exp() * alike).masked_fill(written == 0, -torch.inf).softmax(1)

    def learn(self, support: Support) -> Task:
        labels, n_way = support.labels, support.n_way
        with (
            torch.set_grad_enabled(self.training and torch.is_grad_enabled()),
            torch.autocast(labels.device.type, enabled=False),
        ):
            what = self.describe(support.embeddings)
            what = what.to(torch.promote_types(what.dtype, torch.float32))
            rounds = in_rounds(what, labels, n_way, self.rounds)
            memory = self.blank(what, n_way)
            for keys, counts in zip(unit(rounds.what), rounds.counts, strict=True):
                memory = self.step(memory, keys, counts > 0)
            used = (self.eta * memory.usage.clamp(min=1e-6).log()).exp()
            shares = memory.values * used[:, None]
            shares = shares / shares.sum(0).clamp(min=1e-6)
            return {"keys": unit(memory.keys), "shares": shares}

    def logits(self, what: Tensor, task: Task) -> Tensor:
        sharpness, scale = self.log_sharpness.exp(), self.log_scale.exp()
        scores = what @ (sharpness * task["keys"]).T  # [R, M]
        most = scores.amax(1, keepdim=True).detach()  # so that nothing overflows
        found = ((scores - most).exp() @ task["shares"]).clamp(min=1e-30)  # [R, 1 + N]
        return self.background(what, scale / sharpness * (found.log() + most), scale)
