"""Components of the studio's page in their layout."""

import gradio as gr
from gradio_image_annotation import image_annotator

from fsdet.apps.studio.canvas import MIN_SIDE
from fsdet.apps.studio.studio import Studio
from fsdet.data.formats.write import FORMATS

GUIDE = """
### Teach a detector a new category

1. **Drop photographs** into the field below: about six that show the object, and some that do not.
2. **Draw a box** around the object in two or three of them. In these photographs, box every object of its kind.
3. **Name it** and press *Teach*. The detector searches the other photographs. Accept or reject its detections: each
   answer improves the next round.

At the end, export the labels (COCO, VOC, YOLO) or the detector.
"""
KEYS = (
    "Drag to draw a box; drag a box or its corners to change it. **Delete** removes the selected box,"
    " **Space** switches between drawing and selecting."
)
# Components that follow the session: the outputs of every action, in this order.
OUTPUTS = (
    "token", "key", "guide", "heading", "gallery", "after", "drop", "canvas", "keys", "teaching",
    "name", "message", "answer", "question", "question_image", "detections", "settings", "table",
    "which", "threshold", "beside", "album", "trade",
)  # fmt: skip


class Components:
    """All components of the page, created inside the current `gr.Blocks`.

    Args:
        secret: encrypts the session's token in the browser; with another secret, earlier sessions are lost.
    """

    def __init__(self, studio: Studio, secret: str):
        self.token = gr.BrowserState("", storage_key="fsdet-studio", secret=secret)
        self.key = gr.State("")
        self.question = gr.State(None)
        self.guide = gr.Markdown(GUIDE, elem_id="studio-guide")
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                self._photographs(studio)
            with gr.Column(scale=3, min_width=320):
                self._drawing()
                self._answers()
        with gr.Row(visible=False) as self.settings:
            self._categories()
        with gr.Accordion("Shots and detections", open=False, visible=False) as self.beside:
            self.album = gr.Gallery(show_label=False, columns=8, buttons=[], elem_id="studio-album")
        self.trade = gr.Accordion(
            "Export, import", open=False, visible=False, elem_id="studio-trade"
        )
        with self.trade, gr.Row():
            self._exchange()

    @property
    def outputs(self) -> list[gr.blocks.Block]:
        """The components that every action updates, in the order of `OUTPUTS`."""
        return [getattr(self, name) for name in OUTPUTS]

    def _photographs(self, studio: Studio) -> None:
        """Upload and gallery."""
        self.upload = gr.File(
            label="Drop photographs here",
            file_count="multiple",
            height=120,
            elem_id="studio-upload",
        )
        with gr.Row(visible=studio.shelf is not None):
            self.folder = gr.Dropdown(studio.folders(), label="or choose a folder on the server")
            self.take = gr.Button("Add folder")
        self.heading = gr.Markdown("**Photographs**: choose one to draw in", visible=False)
        self.gallery = gr.Gallery(
            label="Photographs",
            show_label=False,
            buttons=[],
            columns=3,
            allow_preview=False,
            object_fit="cover",
            elem_id="studio-gallery",
            visible=False,
        )
        self.after = gr.Button("What to label next", visible=False, elem_id="studio-next")
        self.drop = gr.Button("Remove this photograph", visible=False, size="sm")

    def _drawing(self) -> None:
        """The canvas, the category of new boxes, teach and undo."""
        self.canvas = image_annotator(
            label="Draw boxes",
            sources=[],
            disable_edit_boxes=True,
            show_download_button=False,
            show_clear_button=False,
            show_remove_button=True,
            box_min_size=MIN_SIDE,
            visible=False,
            elem_id="studio-canvas",
        )
        self.keys = gr.Markdown(KEYS, visible=False)
        with gr.Row(visible=False) as self.teaching:
            self.name = gr.Dropdown(
                [],
                value=None,
                allow_custom_value=True,
                label="Category of new boxes",
                elem_id="studio-name",
                scale=2,
            )
            self.teach = gr.Button("Teach", variant="primary", elem_id="studio-teach", scale=1)
            self.undo = gr.Button("Undo", elem_id="studio-undo", scale=1)

    def _answers(self) -> None:
        """The message of the last action, the detection in question, and all detections."""
        self.message = gr.Markdown(elem_id="studio-said")
        with gr.Row(visible=False, elem_classes="studio-answer") as self.answer:
            self.question_image = gr.Image(
                label="Is this right?", interactive=False, height=220, buttons=[], scale=2
            )
            with gr.Column(min_width=120, scale=1):
                self.yes = gr.Button("✓ Yes", variant="primary", elem_id="studio-yes")
                self.no = gr.Button("✗ No", variant="stop", elem_id="studio-no")
                self.yes_to_all = gr.Button("✓ All in this photograph", elem_id="studio-every")
        self.detections = gr.Image(
            label="Detections",
            interactive=False,
            visible=False,
            buttons=["fullscreen"],
            elem_id="studio-found",
        )

    def _categories(self) -> None:
        """Categories with their thresholds."""
        with gr.Column(scale=2, min_width=300):
            self.table = gr.HTML(elem_id="studio-table")
        with gr.Column(scale=3, min_width=300):
            with gr.Row():
                self.which = gr.Dropdown(
                    [], label="Category", elem_id="studio-which", min_width=120
                )
                self.threshold = gr.Slider(
                    0.05, 0.95, 0.5, step=0.01, label="Minimum score", elem_id="studio-threshold"
                )
            with gr.Row():
                self.choose = gr.Button("Choose the score from the shots", size="sm")
                self.new_name = gr.Textbox(label="New name", max_lines=1, min_width=100)
                self.rename = gr.Button("Rename", size="sm")
                self.remove = gr.Button("Delete category", size="sm", variant="stop")

    def _exchange(self) -> None:
        """Export of labels and detector, import of both."""
        with gr.Column(min_width=280):
            self.kind = gr.Radio(
                list(FORMATS), value="COCO", label="Format of the labels", elem_id="studio-kind"
            )
            self.with_photos = gr.Checkbox(True, label="with the photographs")
            self.pack = gr.Button("Export labels", elem_id="studio-pack")
            self.save = gr.Button("Export detector", elem_id="studio-save")
            self.ready = gr.File(label="Exported file", interactive=False, elem_id="studio-away")
        with gr.Column(min_width=280):
            self.labels = gr.File(label="Import labels: a zip (COCO, VOC, YOLO) or a COCO JSON")
            self.detector = gr.File(label="Import a detector: a .safetensors file")
