"""Writes docs/api.md: what the package offers to a program, out of its docstrings.

python docs/make_api.py
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

FILE = Path(__file__).with_name("api.md")
MODULES = ("fsdet", "fsdet.interop", "fsdet.export", "fsdet.tracking")
TOP = """# API

Made from docstrings by `docs/make_api.py`. Guides: [README](../README.md), [your own data](own-data.md),
[how it works](how-it-works.md). Boxes are x1, y1, x2, y2 in pixels; a user's mistake is an `InputError`.
"""


def page() -> str:
    """The whole reference, Markdown."""
    return "\n".join([TOP, *(line for name in MODULES for line in of_module(import_module(name)))])


def of_module(module: ModuleType) -> Iterator[str]:
    """A heading, the module's sentence, and every public name."""
    yield f"## `{module.__name__}`\n\n{inspect.getdoc(module)}\n"
    for name in public(module):
        yield from entry(name, getattr(module, name), "###")


def public(module: ModuleType) -> list[str]:
    """`__all__`, or the functions and classes that are defined in a module, in their order."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    here = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    return [
        name
        for name, value in here.items()
        if (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__ == module.__name__
    ]


def entry(name: str, value: object, level: str) -> Iterator[str]:
    """A function or property, or a class and its public methods."""
    yield f"{level} `{signature(name, value)}`\n\n{described(inspect.getdoc(value) or '')}\n"
    if inspect.isclass(value):
        for inner, member in vars(value).items():
            if not inner.startswith("_") and (
                inspect.isfunction(member) or isinstance(member, property)
            ):
                yield from entry(f"{name}.{inner}", member, f"{level}#")


def signature(name: str, value: object) -> str:
    """A name with its arguments, as the source has them."""
    source = value.fget if isinstance(value, property) else value
    node = ast.parse(textwrap.dedent(inspect.getsource(source))).body[0]
    if isinstance(node, ast.ClassDef):
        fields = [ast.unparse(line) for line in node.body if isinstance(line, ast.AnnAssign)]
        makers = [arguments(f) for f in node.body if getattr(f, "name", "") == "__init__"]
        return f"class {name}({', '.join(makers or fields) or ast.unparse(node.bases[0])})"
    returned = f" -> {ast.unparse(node.returns)}" if ast.unparse(node.returns) != "None" else ""
    return f"{name}{'' if isinstance(value, property) else f'({arguments(node)})'}{returned}"


def arguments(node: ast.FunctionDef) -> str:
    """What a function takes, a method's own object left out."""
    return ast.unparse(node.args).removeprefix("self, ").removeprefix("self")


def described(text: str) -> str:
    """A docstring as Markdown: `Args`, `Returns` and `Raises` are lists."""
    prose, *rest = re.split(r"^(Args|Returns|Raises):\n", text, flags=re.MULTILINE)
    parts = [prose.strip()]
    for title, body in zip(rest[::2], rest[1::2], strict=True):
        lines = re.split(r"\n(?!\s)", textwrap.dedent(body).strip())
        items = (" ".join(line.split()) for line in lines)
        rows = [re.sub(r"^([\w, ]+): ", r"`\1`: ", item) for item in items]
        parts.append("\n".join([f"{title}:\n", *(f"- {row}" for row in rows)]))
    return "\n\n".join(part for part in parts if part)


if __name__ == "__main__":
    FILE.write_text(page(), encoding="utf-8")
