"""Widgets: components of the page that are written here, as one file each of HTML, CSS and JavaScript."""

from pathlib import Path
from typing import Any

import gradio as gr

HERE = Path(__file__).parent


def widget(name: str, value: Any) -> gr.HTML:
    """The component in the files `name`.html, `name`.css and `name`.js; its value is any JSON.

    The markup is the same for every value: the script draws. (A sub-class would make Gradio write a file
    beside its module.)
    """

    def part(ending: str) -> str:
        return (HERE / f"{name}.{ending}").read_text(encoding="utf-8")

    return gr.HTML(
        value,
        html_template=part("html"),
        css_template=part("css"),
        js_on_load=part("js"),
        apply_default_css=False,
        elem_id=f"studio-{name}",
    )
