"""Packed names: the strings that were packed."""

import os

from hypothesis import given
from hypothesis import strategies as st

from fsdet.data.paths import PackedNames


@given(st.lists(st.text(), max_size=20))
def test_packed_names_equal_the_names(names):
    names = [name.encode("utf-8", "ignore").decode() for name in names]
    packed = PackedNames.pack(names)
    assert [packed[i] for i in range(len(packed))] == names


def test_a_file_name_that_is_not_unicode_survives_packing():
    name = os.fsdecode(b"caf\xe9.jpg")
    assert PackedNames.pack([name, "x"])[0] == name
