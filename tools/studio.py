"""The studio: a page on which boxes are drawn, a category is named, and seen found.

examples:
  python tools/studio.py --detector runs/quickstart
  python tools/studio.py --detector runs/mine --photos holiday/
  FSDET_PASSWORD=... python tools/studio.py --host 0.0.0.0
"""

import os
import secrets
from pathlib import Path

import fsdet
from fsdet.cli import program
from fsdet.errors import InputError, needs
from fsdet.files import write_whole


def main() -> None:
    parser = program.Parser(__doc__, "tools/studio.py [options]")
    parser.add_argument(
        "--detector", default="runs/quickstart", metavar="RUN", help="default: runs/quickstart"
    )
    parser.add_argument(
        "--photos", type=Path, metavar="DIR", help="that may be added from the page"
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/studio"), help="keeps the sessions"
    )
    parser.add_argument("--host", default="127.0.0.1", help="others need a password")
    parser.add_argument("--port", type=int, default=7860, help="default: 7860; 0: any")
    parser.add_argument(
        "--password", metavar="WORD", help="of the user 'studio'; or FSDET_PASSWORD"
    )
    parser.add_argument("--megabytes", type=int, default=20, help="of a photograph; default: 20")
    parser.add_argument("--megapixels", type=int, default=40, help="of a photograph; default: 40")
    parser.add_argument("--most", type=int, default=200, help="photographs a session; default: 200")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    words = parser.parse_args()
    needs("the studio", ("gradio", "gradio_image_annotation", "cachetools"), "studio")
    password = program.password_for(words.host, words.password)
    program.within(1, 1000, megabytes=words.megabytes)
    program.within(1, 100, megapixels=words.megapixels)
    program.within(1, 2000, most=words.most)
    program.within(0, 65535, port=words.port)
    if words.photos is not None and not words.photos.is_dir():
        raise InputError(f"--photos: no folder '{words.photos}'")
    detector = fsdet.load(words.detector, words.device)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before it is imported: no word to anybody
    from fsdet.apps.studio import page
    from fsdet.apps.studio.store import Limits, Store
    from fsdet.apps.studio.studio import Studio

    limits = Limits(words.megabytes, words.megapixels, words.most)
    studio = Studio(Store(words.folder, limits), detector, words.photos)
    page.serve(studio, words.host, words.port, password, secret_of(words.folder))


def secret_of(folder: Path) -> str:
    """What a browser's note of its session is locked with: made once."""
    place = folder / "secret"
    if not place.is_file():
        write_whole(place, lambda to: to.write_text(secrets.token_hex(32)))
        place.chmod(0o600)
    return place.read_text()


if __name__ == "__main__":
    program.main(main)
