"""Components of the studio's page in their layout."""

import gradio as gr

from fsdet.apps.studio.review import ALL_CATEGORIES
from fsdet.apps.studio.studio import Studio
from fsdet.apps.studio.view import EVERY, FILTERS
from fsdet.apps.studio.widget import widget
from fsdet.data.formats.write import FORMATS

GUIDE = """
### Teach a detector a new category

1. **Drop photographs** into the field below: some that show the object, and some that do not.
2. **Type the category** and **draw a box** around every object of it. Press **Enter** for the next photograph.
3. From then on, boxes that the detector has found are dashed. Correct them, and press **Enter** when all is right:
   each answer improves the next photograph.

At the end, export the labels (COCO, VOC, YOLO) or the detector.
"""
# Components that follow the session: the outputs of every action, in this order.
OUTPUTS = (
    "token", "key", "guide", "progress", "gallery", "work", "side", "canvas", "message", "table",
    "which", "threshold", "review_name",
)  # fmt: skip


class Components:
    """All components of the page, created inside the current `gr.Blocks`.

    Args:
        secret: encrypts the session's token in the browser; with another secret, earlier sessions are lost.
    """

    def __init__(self, studio: Studio, secret: str):
        self.token = gr.BrowserState("", storage_key="fsdet-studio", secret=secret)
        self.key = gr.State("")
        self.progress = gr.HTML(elem_id="studio-progress")
        self.guide = gr.Markdown(GUIDE, elem_id="studio-guide")
        with gr.Row(elem_id="studio-columns"):
            with gr.Column(scale=2, min_width=230, elem_id="studio-strip"):
                self._photographs(studio)
            with gr.Column(scale=7, min_width=320, visible=False) as self.work:
                self.canvas = widget("canvas", None)
                self.message = gr.Markdown(elem_id="studio-message")
                with gr.Accordion(
                    "Review of all photographs", open=False, elem_id="studio-reviewing"
                ):
                    self._review()
            with gr.Column(
                scale=3, min_width=260, visible=False, elem_id="studio-side"
            ) as self.side:
                self._categories()
                with gr.Accordion("Export, import", open=False, elem_id="studio-trade"):
                    self._exchange()
                with gr.Accordion("Move the detector", open=False, elem_id="studio-moving"):
                    self._moving()

    @property
    def outputs(self) -> list[gr.blocks.Block]:
        """The components that every action updates, in the order of `OUTPUTS`."""
        return [getattr(self, name) for name in OUTPUTS]

    def _photographs(self, studio: Studio) -> None:
        """Gallery and upload."""
        self.filter = gr.Dropdown(
            list(FILTERS), value=EVERY, show_label=False, container=False, elem_id="studio-filter"
        )
        self.gallery = gr.Gallery(
            show_label=False,
            buttons=[],
            columns=2,
            allow_preview=False,
            object_fit="cover",
            elem_id="studio-gallery",
            visible=False,
        )
        self.upload = gr.File(
            label="Add photographs or videos",
            file_count="multiple",
            height=110,
            elem_id="studio-upload",
        )
        with gr.Row(visible=studio.shelf is not None):
            self.folder = gr.Dropdown(studio.folders(), label="or choose a folder on the server")
            self.take = gr.Button("Add folder")
        self.drop = gr.Button("Remove this photograph", size="sm")

    def _categories(self) -> None:
        """Categories with their thresholds, and what is found in all photographs."""
        self.table = gr.HTML(elem_id="studio-table")
        with gr.Group():
            self.least = gr.Slider(
                0.05, 0.99, 0.8, step=0.01, label="Score", elem_id="studio-least"
            )
            self.accept = gr.Button(
                "Accept all above this score", elem_id="studio-accept", variant="primary"
            )
        with gr.Accordion("Categories", open=False, elem_id="studio-categories"):
            self.which = gr.Dropdown([], label="Category", elem_id="studio-which")
            self.threshold = gr.Slider(
                0.05,
                0.95,
                0.5,
                step=0.01,
                label="Confidence threshold",
                elem_id="studio-threshold",
            )
            self.auto = gr.Button("Auto", size="sm", elem_id="studio-auto")
            self.new_name = gr.Textbox(label="New name", max_lines=1)
            with gr.Row():
                self.rename = gr.Button("Rename", size="sm", min_width=80)
                self.remove = gr.Button("Delete", size="sm", min_width=80)

    def _exchange(self) -> None:
        """Export of labels and detector, import of both."""
        self.kind = gr.Radio(
            list(FORMATS), value="COCO", label="Format of the labels", elem_id="studio-kind"
        )
        self.with_photos = gr.Checkbox(True, label="with the photographs")
        self.pack = gr.Button("Export labels", elem_id="studio-pack")
        self.save = gr.Button("Export detector", elem_id="studio-save")
        self.ready = gr.File(label="Exported file", interactive=False, elem_id="studio-away")
        self.labels = gr.File(label="Import labels: a zip of any layout, or one JSON", height=110)
        self.detector = gr.File(label="Import a detector: a .safetensors file", height=110)

    def _moving(self) -> None:
        """Training of the detector itself."""
        gr.Markdown(
            "Trains proposals and box head on the complete photographs: minutes. It helps where the objects look"
            " like nothing that the detector was trained on. *Undo* takes it back."
        )
        self.move = gr.Button("Move the detector", elem_id="studio-move")

    def _review(self) -> None:
        """Grid of the boxes of all photographs."""
        with gr.Row():
            self.review_name = gr.Dropdown(
                [ALL_CATEGORIES],
                value=ALL_CATEGORIES,
                label="Category",
                elem_id="studio-review-name",
            )
            self.review_kind = gr.Radio(
                ["found", "drawn or accepted"],
                value="found",
                label="Boxes",
                elem_id="studio-review-kind",
            )
            self.look = gr.Button("Show them", elem_id="studio-look")
        self.review = widget("review", None)
