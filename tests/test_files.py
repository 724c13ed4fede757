"""Files written whole or not at all."""

import os

import pytest

from fsdet.files import write_whole


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
