"""Configuration files that come with the package: `configs/` of a checkout, inside the package of a wheel."""

from pathlib import Path

from fsdet.errors import InputError, nearest

_PACKAGED = Path(__file__).parents[1] / "configs"
FOLDER = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[2] / "configs"


def find(name: str | Path) -> Path:
    """A configuration file: a file of the user's, else the recipe of that name.

    Args:
        name: a path such as `mine.yaml`, or a recipe: `voc`, `voc.yaml`, `configs/voc.yaml`,
            `benchmark/fod`.

    Raises:
        InputError: neither a file nor a recipe has this name.
    """
    path = Path(name)
    if path.is_file():
        return path
    recipe = path.relative_to("configs") if path.parts[:1] == ("configs",) else path
    file = FOLDER / recipe.with_suffix(".yaml")
    if not path.is_absolute() and ".." not in path.parts and file.is_file():
        return file
    names = [str(file.relative_to(FOLDER).with_suffix("")) for file in FOLDER.rglob("*.yaml")]
    raise InputError(
        f"no configuration file '{name}', and no recipe of that name"
        f"{nearest(str(recipe.with_suffix('')), names)}"
    )
