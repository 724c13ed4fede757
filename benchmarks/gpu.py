"""Everything that a GPU decides: correctness on the card, training, inference, episodes, memory, profile.

  python benchmarks/gpu.py [--minutes 8] [--out runs/gpu] [--tiny]

Nothing is downloaded: images are drawn, weights are random. Each part has its share of the time; one that fails is
named, and the others run. `gpu.json` in the folder is rewritten after each part, `gpu.md` is its table. The exit
status is 1 if a part or a check of correctness failed. --tiny runs the same parts on a CPU, in seconds.
"""

import argparse
import json
import platform
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torchvision
from gpu.correctness import attempt, correctness
from gpu.episodes import end_to_end, from_bank
from gpu.inference import inference, registering
from gpu.setting import Setting, on_card, stored, tiny, with_weights
from gpu.table import markdown
from gpu.training import profile, training

from fsdet.cli import program
from fsdet.errors import InputError

# Each part and its share of the time.
PARTS = {
    "correctness": (correctness, 0.2),
    "training": (training, 0.28),
    "inference": (inference, 0.2),
    "episodes": (from_bank, 0.14),
    "end-to-end": (end_to_end, 0.08),
    "registering": (registering, 0.03),
    "profile": (profile, 0.07),
}


def about(setting: Setting) -> dict[str, str]:
    """The card and the versions."""
    is_card = setting.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(setting.device) if is_card else "CPU",
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "Python": platform.python_version(),
        "network": f"{setting.network}-FPN at {setting.detector.min_size} pixels",
    }


def failures(parts: dict[str, Any]) -> list[str]:
    """A line for each part that ended with an error, and for each check that did not pass."""
    lines = []
    for name, part in parts.items():
        checks = part["result"].items() if name == "correctness" else ()
        for where, result in ((name, part["result"]), *((f"{name}, {n}", r) for n, r in checks)):
            if not isinstance(result, dict):
                continue
            if "error" in result:
                lines.append(f"{where}: {result['error']}")
            elif not result.get("passed", True):
                lines.append(f"{where}: {result['difference']:.3g} > {result['tolerance']:.3g}")
    return lines


def measure(setting: Setting, seconds: float, out: Path) -> list[str]:
    """Run all parts and write their results; returns the failures."""
    out.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"about": about(setting), "parts": {}, "failed": []}
    data = stored(setting)
    for name, (part, share) in PARTS.items():
        start = time.perf_counter()
        result = attempt(partial(part, setting, data, share * seconds))
        spent = time.perf_counter() - start
        results["parts"][name] = {"seconds": spent, "result": result}
        results["failed"] = failures(results["parts"])
        (out / "gpu.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
        (out / "gpu.md").write_text(markdown(results), encoding="utf-8")
        print(f"{name}: {spent:.0f} s", *results["failed"][-1:], flush=True)
    return results["failed"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"))
    parser.add_argument("--tiny", action="store_true")
    words = parser.parse_args()
    if not words.tiny and not torch.cuda.is_available():
        raise InputError("no GPU: expected a CUDA device, or --tiny for a CPU")
    with tempfile.TemporaryDirectory() as folder:
        setting = with_weights(tiny() if words.tiny else on_card(), Path(folder))
        failed = measure(setting, 0.0 if words.tiny else 60 * words.minutes, words.out)
    print((words.out / "gpu.md").read_text(encoding="utf-8"))
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    program.exit_with(main)
