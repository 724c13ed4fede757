"""Several processes and nodes: what one computes alone, to rounding; a killed job resumes to the same bits."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import tiny
from helpers.paths import ROOT

from fsdet import build
from fsdet import config as cfg
from fsdet.data.loading.stream import Share
from fsdet.errors import InputError
from fsdet.experiment.context import Context
from fsdet.experiment.fabric import batches_of, check_shared, fabric_of
from fsdet.experiment.run_log import Clock, LossLog
from fsdet.experiment.stages import training
from fsdet.heads.layers import RegionShape
from fsdet.training.episodes import EpisodeSampler
from fsdet.training.loop import Loop, Schedule, train
from fsdet.training.objectives import FromBank

pytestmark = pytest.mark.slow

STEPS, BATCH = 3, 2
SAMPLER = EpisodeSampler(tiny.bank(), (2, 3), (1, 2), known=1, background=3, chimeras=0.5)


def settings():
    return tiny.config(f"meta.batch={BATCH}", f"meta.steps={STEPS}", "meta.end_to_end=2")


def head(second_order=True):
    torch.manual_seed(0)
    spec = cfg.Head("maml", {"steps": 2, "second_order": second_order})
    return spec, build.head(spec, RegionShape(4, 2, (2, 3)), 8, 6)


def doubled(regions):
    features = regions.features.to(torch.float64)
    return replace(regions, features=features, deltas=regions.deltas.double())


def in_doubles(fabric, second_order):
    """Weights after some steps of meta-training in fp64, and the outer gradients of the first step."""
    torch.set_default_dtype(torch.float64)
    learner, gradients = head(second_order)[1], {}

    def batches(first):
        dealt = Share(range(STEPS * BATCH), BATCH, fabric.global_rank, fabric.world_size)
        for start in range(first, len(dealt), dealt.share):
            mine = [SAMPLER(dealt[start + i]) for i in range(dealt.share)]
            yield [(doubled(near), doubled(far)) for near, far in mine]

    def log(step, values):
        if step == 0:
            gradients.update({name: p.grad.clone() for name, p in learner.named_parameters()})

    optimizer = torch.optim.SGD(learner.parameters(), 0.1, momentum=0.9)
    train(fabric, FromBank(learner), batches, optimizer, Loop(Schedule(STEPS)), None, log)
    torch.set_default_dtype(torch.float32)
    return {"weights": learner.state_dict(), "gradients": gradients}


def work(folder):
    """Run the trainings of a process and write their results to a file."""
    config = settings()
    fabric = fabric_of(config, {})
    results = {f"doubles-{second}": in_doubles(fabric, second) for second in (True, False)}
    losses = LossLog(folder, fabric.is_global_zero)
    context = Context(config, tiny.problem(), fabric, losses, Clock())
    spec, learner = head()
    training.meta_training(context, spec, learner, SAMPLER)
    results["meta"] = {"weights": learner.state_dict()}
    model = training.base_training(context)
    results["base"] = {"weights": model.state_dict()}
    model = training.end_to_end(context, "e2e", tiny.model(config))
    results["e2e"] = {"weights": model.state_dict()}
    torch.save(results, folder / f"{fabric.world_size}-{fabric.global_rank}.pt")


class DyingLog(LossLog):
    """The log of a process that is killed after its third step: one step after a checkpoint."""

    @contextmanager
    def record(self, stage, steps):
        def log(step, values):
            if step == 2:
                os.kill(os.getpid(), signal.SIGKILL)

        yield log


def work_on_base(folder, dies):
    """Base training, in which the second process is killed if the job `dies`; resumed if there is a checkpoint."""
    config = settings()
    fabric = fabric_of(config, {})
    check_shared(fabric, folder)
    dying = dies and fabric.global_rank == 1
    losses = DyingLog(folder) if dying else LossLog(folder, fabric.is_global_zero)
    model = training.base_training(Context(config, tiny.problem(), fabric, losses, Clock()))
    torch.save(model.state_dict(), folder / f"base-{fabric.global_rank}.pt")


def start(call, nodes):
    """Start two processes on one or two nodes of loopback, with the environment of torchrun."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests", Path(__file__).parent)))
    code = f"import pathlib, test_distributed; test_distributed.{call}"
    names = {"WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2 // nodes, "GROUP_WORLD_SIZE": nodes}
    names |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "x"}
    names |= {"OMP_NUM_THREADS": 1, "PYTHONPATH": path}
    processes = []
    for rank in range(2):
        node, local = divmod(rank, 2 // nodes)
        of_rank = names | {"RANK": rank, "LOCAL_RANK": local, "GROUP_RANK": node}
        env = os.environ | {name: str(value) for name, value in of_rank.items()}
        pipe = subprocess.PIPE
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", code], env=env, stdout=pipe, stderr=pipe, text=True
            )
        )
    return processes


def end(processes):
    """Exit statuses, in order of the ranks, and error texts."""
    errors = [process.communicate(timeout=120)[1] for process in processes]
    return [process.returncode for process in processes], errors


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Results of one process, then of each of two processes, one on each of two nodes."""
    folder = tmp_path_factory.mktemp("two")
    processes = start(f"work(pathlib.Path({str(folder)!r}))", nodes=2)
    alone = tmp_path_factory.mktemp("one")
    work(alone)
    statuses, errors = end(processes)
    assert statuses == [0, 0], errors[0][-3000:] + errors[1][-3000:]
    assert [r["stage"] for r in LossLog(folder).records] == [
        r["stage"] for r in LossLog(alone).records
    ]
    return [torch.load(file) for file in (alone / "1-0.pt", folder / "2-0.pt", folder / "2-1.pt")]


def test_job_of_a_killed_node_resumes_to_the_same_bits_on_another_number_of_nodes(
    results, tmp_path
):
    call = f"work_on_base(pathlib.Path({str(tmp_path)!r}), dies=%s)"
    (first, second), _ = end(start(call % True, nodes=2))
    assert second == -signal.SIGKILL and first != 0  # the first ends too, and does not wait
    assert torch.load(tmp_path / "base.state")["step"] == 2
    statuses, errors = end(start(call % False, nodes=1))
    assert statuses == [0, 0], errors[0][-3000:] + errors[1][-3000:]
    for rank in range(2):
        resumed, undisturbed = torch.load(tmp_path / f"base-{rank}.pt"), results[1]["base"]
        assert all(torch.equal(resumed[k], v) for k, v in undisturbed["weights"].items())


def test_run_folder_that_another_node_does_not_see_is_refused(tmp_path):
    node = SimpleNamespace(
        world_size=2, global_rank=1, is_global_zero=False, broadcast=lambda _: "x", barrier=int
    )
    with pytest.raises(InputError, match="expected a folder that all nodes share"):
        check_shared(node, tmp_path)


@pytest.mark.parametrize("second_order", [True, False])
@pytest.mark.parametrize("quantity", ["gradients", "weights"])
def test_two_processes_meta_train_like_one(results, second_order, quantity):
    one, *two = (each[f"doubles-{second_order}"][quantity] for each in results)
    assert all(value.abs().sum() > 0 for value in results[0]["doubles-True"]["gradients"].values())
    for other in two:
        assert one.keys() == other.keys()
        for name in one:
            torch.testing.assert_close(other[name], one[name], atol=1e-9, rtol=1e-6)


def test_second_order_gradients_differ_in_two_processes(results):
    first, second = (
        each["gradients"] for each in (results[1]["doubles-False"], results[1]["doubles-True"])
    )
    assert any((first[name] - second[name]).abs().max() > 1e-4 for name in first)


def test_stage_distributes_its_episodes(results):
    # Base training differs from one process by more than rounding: each process draws the regions of its losses.
    one, *two = (each["meta"]["weights"] for each in results)
    for other in two:
        for name in one:
            torch.testing.assert_close(other[name], one[name], atol=1e-4, rtol=0)


@pytest.mark.parametrize("stage", ["meta", "base", "e2e"])
def test_two_processes_end_with_the_same_weights(results, stage):
    one, two = (each[stage]["weights"] for each in results[1:])
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(("batch", "processes"), [(1, 1), (4, 1), (4, 2), (6, 3), (2, 2)])
def test_shares_partition_every_batch(batch, processes):
    whole = list(range(100, 100 + 5 * batch))
    shares = [Share(whole, batch, rank, processes) for rank in range(processes)]
    mine = batch // processes
    for n in range(5):
        parts = [[share[n * mine + i] for i in range(mine)] for share in shares]
        assert list(chain(*parts)) == whole[n * batch : (n + 1) * batch]
    assert all(len(share) == 5 * mine for share in shares)


def test_indivisible_batch_is_refused(monkeypatch):

    def launched(config):
        fabric_of(config, batches_of(config))

    with pytest.raises(InputError, match="a batch of 3 cannot be divided evenly among 2 processes"):
        Share(range(9), 3, 0, 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(
        InputError, match=r"meta\.batch: 1 cannot be divided evenly among 2 devices"
    ):
        launched(tiny.config())
    even = ["train.batch=4", "meta.batch=4"]
    with pytest.raises(InputError, match="stages, 'late': batch: 5 cannot be divided"):
        launched(tiny.config(*even, "stages=[{name: late, batch: 5}]"))
    with pytest.raises(InputError, match=r"proposals\.batch: 7 cannot be divided"):
        launched(tiny.config(*even, "proposals.name=attention", "proposals.batch=7"))
    monkeypatch.setenv("GROUP_WORLD_SIZE", "3")
    with pytest.raises(
        InputError, match=r"train\.batch: 4 cannot be divided evenly among 6 devices"
    ):
        launched(tiny.config(*even))
