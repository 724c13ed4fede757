"""Context of an experiment: configuration, data, device, losses and times."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from lightning_fabric import Fabric

from fsdet import config as cfg
from fsdet.experiment import run_folder
from fsdet.experiment.fabric import check_shared, fabric_of
from fsdet.experiment.few_shot_data import Problem
from fsdet.experiment.run_log import Clock, LossLog, log_to
from fsdet.files import write_whole

logger = logging.getLogger("fsdet")
SPLIT_FILE = "split.json"  # the images of both subsets, where the test images were split off


@dataclass(frozen=True)
class Context:
    """Everything that the stages of an experiment share."""

    config: cfg.Config
    problem: Problem
    fabric: Fabric
    losses: LossLog  # checkpoints of trainings are in its folder
    clock: Clock

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.config.run)


def claim(
    config: cfg.Config, problem: Problem, batches: dict[str, int], detector: str = ""
) -> Context:
    """Claim the run folder and launch the Fabric.

    Args:
        batches: batch sizes that the devices share, by configuration key.
        detector: fingerprint of a detector that the run starts from, if any.

    Raises:
        InputError: a run folder with another run (`run_folder.claim`), one that the nodes do not share
            (`check_shared`), or a wrong device (`fabric_of`).
    """
    subsets = {config.data.train: problem.train, config.data.test: problem.test}
    fingerprints = run_folder.data_fingerprints(subsets)
    if detector:
        fingerprints[run_folder.DETECTOR] = detector
    folder = Path(config.run)
    run_folder.claim(folder, config, fingerprints)
    fabric = fabric_of(config, batches)
    check_shared(fabric, folder)
    first = fabric.is_global_zero
    if first and problem.is_split_off:
        write_split(folder / SPLIT_FILE, problem, config.data)
    if first:
        log_to(folder)
        logger.info(summary(config, problem, fabric))
    return Context(config, problem, fabric, LossLog(folder, first), Clock(first))


def write_split(file: Path, problem: Problem, config: cfg.Data) -> None:
    """Write down which images were split off, by their paths from the root of the data."""
    subsets = {config.train: problem.train, config.test: problem.test}
    images = {name: [data.paths[i] for i in range(len(data))] for name, data in subsets.items()}
    draw = {"root": config.root, "share": config.split_off, "seed": config.split_seed}
    text = json.dumps(draw | {"images": images}, indent=1)
    write_whole(file, lambda path: path.write_text(text, encoding="utf-8"))


def summary(config: cfg.Config, problem: Problem, fabric: Fabric) -> str:
    """What a run is about, in a line: folder, images, categories and device."""
    split, device = problem.split, fabric.device
    base = f"{len(split.base)} base and " if split.base else ""
    source = f" (split off '{config.data.train}')" if problem.is_split_off else ""
    return (
        f"{config.run}: {len(problem.train)} training and {len(problem.test)} test images{source} of"
        f" {config.data.root}, {base}{len(split.novel)} novel categories; {device}, {config.precision}"
    )
