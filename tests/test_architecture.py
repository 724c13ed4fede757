"""Who may know whom: a part imports the parts below it, and nothing else of the package."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = [
    "types",
    "heads",
    "proposals",
    "detector",
    "data",
    "config",
    "engine",
    "build",
    "experiment",
    "report",
]


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


def files(part):
    folder = ROOT / "fsdet" / part
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


@pytest.mark.parametrize(
    ("part", "unknown"),
    [
        ("types", "config errors data heads detector engine build api experiment report"),
        ("errors", "types config data heads detector engine build api experiment report"),
        ("config", "types data heads detector engine build api experiment report"),
        ("heads", "config data detector engine build api experiment report inputs"),
        ("data", "config heads detector backbones engine build api experiment report"),
        ("backbones", "config data heads detector engine build api experiment report"),
        ("postprocess", "config data heads detector engine build api experiment report"),
        ("proposals", "config data detector engine build api experiment report inputs"),
        ("detector", "config data engine build api experiment report inputs"),
        ("engine", "config build api experiment report"),
        ("report", "config data heads detector build api experiment"),
        ("build", "data engine api experiment report"),
        ("api", "experiment report interop tracking visualize serve studio"),
        ("interop", "experiment report tracking visualize serve studio"),
        ("tracking", "experiment report visualize serve studio"),
        ("serve", "config engine build experiment report studio"),
        ("studio", "config engine build experiment serve"),
    ],
)
def test_a_part_knows_nothing_of_those_above_it(part, unknown):
    assert files(part)
    for path in files(part):
        known = {name.split(".")[1] for name in imports(path) if name.startswith("fsdet.")}
        assert not known & set(unknown.split()), path


def test_heads_know_nothing_of_images_and_files():
    for path in files("heads"):
        assert not {name.split(".")[0] for name in imports(path)} & {
            "PIL",
            "cv2",
            "pathlib",
            "os",
            "yaml",
        }


def test_only_tools_know_the_experiment():
    for path in (*(ROOT / "fsdet").rglob("*.py"), *(ROOT / "tools").glob("*.py")):
        if any(name.startswith("fsdet.experiment") for name in imports(path)):
            assert "experiment" in path.parts or path.parent.name == "tools", path


def test_no_two_parts_import_each_other():
    known = {
        part: {
            name.split(".")[1]
            for path in files(part)
            for name in imports(path)
            if name.startswith("fsdet.")
        }
        for part in PARTS
    }
    for one in PARTS:
        for other in known[one] - {one}:
            assert one not in known.get(other, ()), (one, other)
