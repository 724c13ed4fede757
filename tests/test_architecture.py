"""Who may know whom: a part imports the parts below it, and nothing else of the package."""

import ast

import pytest
from helpers.paths import ROOT

# Each room, and the rooms that it may import; those of `VOCABULARY` serve all of them.
ROOMS = {
    "errors": "",
    "types": "",
    "files": "",
    "safe_yaml": "",
    "progress": "",
    "checksum": "",
    "tensor_file": "checksum files",
    "boxes": "",
    "config": "",
    "data": "",
    "heads": "boxes",
    "model": "boxes heads",
    "build": "config heads model",
    "importers": "build config data heads model",
    "training": "data heads model",
    "evaluation": "boxes data heads model",
    "report": "evaluation",
    "api": "build config data evaluation heads importers model report training",
    "interop": "api",
    "tracking": "api interop",
    "export": "api data model",
    "experiment": "api boxes build config data evaluation heads model report training",
    "apps": "api data interop model report tracking",
    "cli": "api apps build config data evaluation experiment export importers interop report tracking",
}
VOCABULARY = {"errors", "types", "files", "safe_yaml", "progress", "checksum", "tensor_file"}


def imports(path):
    """Full names of what a file imports, wherever in it; a name taken from a module counts with it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def files(room):
    folder = ROOT / "fsdet" / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def imported_rooms(room):
    return {
        name.split(".")[1]
        for path in files(room)
        for name in imports(path)
        if name.startswith("fsdet.")
    } - {room}


def test_every_file_is_in_a_room():
    names = {
        path.stem for path in (ROOT / "fsdet").iterdir() if path.suffix == ".py" or path.is_dir()
    }
    assert names - {"__init__", "__pycache__"} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_the_rooms_below_it(room):
    assert files(room)
    allowed = set(ROOMS[room].split()) | (VOCABULARY if room not in VOCABULARY else {"errors"})
    assert imported_rooms(room) <= allowed


def test_no_room_imports_one_that_imports_it():
    below = {room: set(allowed.split()) for room, allowed in ROOMS.items()}
    order = list(ROOMS)
    for room, rooms in below.items():
        assert all(order.index(other) < order.index(room) for other in rooms), room


def test_heads_know_nothing_of_images_and_files():
    for path in files("heads"):
        assert not {name.split(".")[0] for name in imports(path)} & {
            "PIL",
            "cv2",
            "pathlib",
            "os",
            "yaml",
        }
