"""Process pool: its processes end with their parent."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import as_completed

import pytest

from fsdet.errors import InputError
from fsdet.experiment.benchmark.processes import process_pool

pytestmark = pytest.mark.slow  # a process imports PyTorch

BEGUN = """
import os, signal, time
from fsdet.experiment.benchmark.processes import process_pool
if __name__ == "__main__":
    with process_pool(1) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 300)
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_exception_in_the_parent_terminates_the_pool():
    start = time.monotonic()
    with pytest.raises(ValueError, match="invalid literal"), process_pool(2) as pool:
        jobs = [pool.submit(int, "x"), *(pool.submit(time.sleep, 300) for _ in range(3))]
        for job in as_completed(jobs):
            job.result()
    assert time.monotonic() - start < 100
    with pytest.raises(InputError, match="a process died"), process_pool(1) as pool:
        pool.submit(os._exit, 1).result()


def test_processes_exit_when_the_parent_is_killed(tmp_path):
    (tmp_path / "begun.py").write_text(BEGUN)
    command = [sys.executable, str(tmp_path / "begun.py")]
    # The pipe is open as long as anyone lives who could write to it.
    ended = subprocess.run(command, capture_output=True, check=False, timeout=240)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    assert int(ended.stdout) > 0
