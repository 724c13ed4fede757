"""Context of an experiment: configuration, data, device, losses and times."""

from dataclasses import dataclass
from pathlib import Path

from lightning_fabric import Fabric

from fsdet import config as cfg
from fsdet.experiment import run_folder
from fsdet.experiment.fabric import fabric_of
from fsdet.experiment.few_shot_data import Problem
from fsdet.experiment.run_log import Clock, LossLog


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
        InputError: a run folder with another run (`run_folder.claim`), or a wrong device (`fabric_of`).
    """
    subsets = {config.data.train: problem.train, config.data.test: problem.test}
    fingerprints = run_folder.data_fingerprints(subsets)
    if detector:
        fingerprints[run_folder.DETECTOR] = detector
    folder = Path(config.run)
    run_folder.claim(folder, config, fingerprints)
    fabric = fabric_of(config, batches)
    losses = LossLog(folder, fabric.is_global_zero)
    return Context(config, problem, fabric, losses, Clock())
