"""Fixtures of the tests of data sets."""

import pytest


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    """An empty cache for each test."""
    monkeypatch.setenv("FSDET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
