"""Files written whole or not at all."""

import errno
import os
import resource
import signal
import subprocess
import sys

import pytest
import torch
from helpers.paths import ROOT
from safetensors.torch import save_file

from fsdet.errors import InputError
from fsdet.files import sole_writer, write_whole


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_are_those_of_the_umask(umask, mode, tmp_path):
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "a" / "file", lambda file: file.write_text("x"))
    finally:
        os.umask(before)
    assert (tmp_path / "a" / "file").stat().st_mode & 0o777 == mode


def test_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    (tmp_path / "file").write_text("old")

    def write(file):
        file.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(tmp_path / "file", write)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize(
    "write",
    [
        lambda file: file.write_bytes(bytes(200_000)),
        lambda file: torch.save(torch.zeros(50_000), file),
        lambda file: save_file({"a": torch.zeros(50_000)}, file),
    ],
)
def test_a_full_disk_is_named_and_leaves_the_old_file(tmp_path, write):
    (tmp_path / "file").write_text("old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError) as caught:
            write_whole(tmp_path / "file", write)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.errno == errno.EFBIG and caught.value.filename == str(tmp_path / "file")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


HOLD = """
import sys, time
from pathlib import Path
from fsdet.files import sole_writer, write_whole
with sole_writer(Path(sys.argv[1])):
    def write(file):
        file.write_text("half")
        print("held", flush=True)
        time.sleep(60)
    write_whole(Path(sys.argv[1]) / "shots" / "file", write)
"""


def test_a_folder_has_one_writer_and_a_killed_one_leaves_nothing(tmp_path):
    (tmp_path / ".gitignore").write_text("*")
    (tmp_path / ".notes.part").write_text("of the user")
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
    assert other.stdout is not None and other.stdout.readline() == b"held\n"
    with (
        pytest.raises(InputError, match=f"in use by another run .process {other.pid}."),
        sole_writer(tmp_path),
    ):
        pass
    other.kill()
    other.communicate()
    assert list(tmp_path.glob("shots/.file.*.part"))
    with sole_writer(tmp_path):
        assert not list(tmp_path.glob("shots/.*"))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        ".gitignore",
        ".notes.part",
        "shots",
    ]
