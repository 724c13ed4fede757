"""Widgets: components of the page that are written here, as one file each of HTML, CSS and JavaScript."""

from pathlib import Path
from typing import Any

import gradio as gr

HERE = Path(__file__).parent


class Widget(gr.HTML):
    """The component in the files `name`.html, `name`.css and `name`.js; its value is any JSON.

    The markup is the same for every value: the script draws.

    Args:
        options: of `gr.HTML`, which Gradio gives when it makes the component again for an update.
    """

    def __init__(self, name: str, value: Any, **options: Any):
        def part(ending: str) -> str:
            return (HERE / f"{name}.{ending}").read_text(encoding="utf-8")

        super().__init__(
            value,
            html_template=part("html"),
            css_template=part("css"),
            js_on_load=part("js"),
            apply_default_css=False,
            elem_id=f"studio-{name}",
            **options,
        )

    def postprocess(self, value: Any) -> Any:
        return value

    def api_info(self) -> dict[str, Any]:
        return {"type": "object"}
