"""Checksums in files."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsdet import checksum


@pytest.mark.parametrize("write", [lambda body, mark: mark + body, lambda body, mark: body + mark])
@given(body=st.binary(min_size=300, max_size=2000), place=st.integers(0), bit=st.integers(0, 7))
def test_any_flipped_bit_is_seen(tmp_path_factory, write, body, place, bit):
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_bytes(write(body, checksum.BLANK.encode()))
    checksum.seal(path)
    checksum.verify(path)
    sealed = bytearray(path.read_bytes())
    blank = hashlib.sha256(write(body, checksum.BLANK.encode())).hexdigest()
    assert bytes(sealed) == write(body, b"sha256:" + blank.encode())
    sealed[place % len(sealed)] ^= 1 << bit
    path.write_bytes(sealed)
    with pytest.raises(ValueError, match=r"no checksum|differs from its checksum"):
        checksum.verify(path)


@pytest.mark.parametrize("content", [b"", b"x", b"sha256:", b"x" * 500])
def test_a_file_without_a_checksum_is_named(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    for call in (checksum.seal, checksum.verify):
        with pytest.raises(ValueError, match=r"no checksum|differs"):
            call(tmp_path / "file")
