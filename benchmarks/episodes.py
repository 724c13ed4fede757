"""Speed of meta-training: second-order 5-way 5-shot episodes per second from the region bank of a run."""

import argparse
import time
from pathlib import Path

import torch

from fsdet import build
from fsdet import config as cfg
from fsdet.cli import program
from fsdet.experiment.feature_store import load_bank
from fsdet.experiment.few_shot_data import open_problem
from fsdet.training.episodes import EpisodeSampler
from fsdet.training.objectives import FromBank


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, nargs="?", default=Path("runs/shapes"))
    parser.add_argument("--episodes", type=int, default=100)
    arguments = parser.parse_args()
    config = cfg.load(arguments.run / "config.yaml")
    base = open_problem(config.data).split.base
    model = build.detector(config.detector, config.head, len(base), pretrained=False)
    bank = load_bank(arguments.run / "base.bank.safetensors", base, model.shape.means)
    objective = FromBank(model.head).train()
    optimizer = torch.optim.AdamW(model.head.parameters(), 1e-5)
    for known, chimeras in ((0, 0.0), (0, 1.0), (config.meta.known, config.meta.chimeras)):
        sampler = EpisodeSampler(bank, (5, 5), (5, 5), known=known, chimeras=chimeras)
        start = time.perf_counter()
        for i in range(arguments.episodes):
            losses = objective([sampler(i)])
            optimizer.zero_grad()
            sum(losses.values()).backward()
            optimizer.step()
        rate = arguments.episodes / (time.perf_counter() - start)
        print(f"known {known:2d}, chimeras {chimeras:.0f}: {rate:.1f} episodes per second")


if __name__ == "__main__":
    program.exit_with(main)
