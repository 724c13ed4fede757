"""Folders that tests read."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(
    os.environ.get("FSDET_DATA", ROOT.parent / "shared" / "data")
)  # real photographs, if any
