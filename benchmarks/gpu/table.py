"""The results as Markdown, for benchmarks/README.md."""

from collections.abc import Iterator, Mapping
from typing import Any


def markdown(results: Mapping[str, Any]) -> str:
    """A heading and a table for each part."""
    about = ", ".join(f"{name} {value}" for name, value in results["about"].items())
    lines = [f"{about}.", ""]
    for name, part in results["parts"].items():
        lines += [f"**{name}** ({part['seconds']:.0f} s)", "", "| measured | value |", "|---|---|"]
        lines += [
            f"| {', '.join(path)} | {_text(value)} |" for path, value in _leaves(part["result"])
        ]
        lines.append("")
    failed = [f"- {line}" for line in results["failed"]] or ["Every part ran, every check passed."]
    return "\n".join([*lines, *failed, ""])


def _leaves(
    tree: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key.replace("|", "\\|")), value


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|")
