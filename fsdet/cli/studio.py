"""Open the studio: a web page to draw boxes, name a category and correct detections.

examples:
  fsdet studio --detector runs/quickstart
  fsdet studio --detector runs/mine --photos holiday/
  FSDET_PASSWORD=... fsdet studio --host 0.0.0.0
"""

import os
import secrets
import signal
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fsdet.cli.advice import advised
from fsdet.cli.program import Parser, add_device, check_range, password_for
from fsdet.errors import InputError, needs
from fsdet.files import sole_writer, write_whole

USAGE = "[options]"


def add_arguments(parser: Parser) -> None:
    add = parser.add_argument
    add("--detector", default="runs/quickstart", metavar="RUN", help="default: runs/quickstart")
    add("--photos", type=Path, metavar="DIR", help="photographs that the page offers to add")
    add("--folder", type=Path, default=Path("runs/studio"), help="where sessions are stored")
    add("--host", default="127.0.0.1", help="any other needs a password")
    add("--port", type=int, default=7860, help="default: 7860; 0: any free port")
    add("--password", metavar="WORD", help="of the user 'studio'; or FSDET_PASSWORD")
    add("--megabytes", type=int, default=20, help="per photograph; default: 20")
    add("--megapixels", type=int, default=40, help="per photograph; default: 40")
    add("--most", type=int, default=200, help="photographs a session; default: 200")
    add_device(parser)


def run(arguments: Namespace) -> None:
    import fsdet

    needs("the studio", ("gradio", "cachetools"), "studio")
    password = password_for(arguments.host, arguments.password)
    check_range(1, 1000, megabytes=arguments.megabytes)
    check_range(1, 100, megapixels=arguments.megapixels)
    check_range(1, 2000, most=arguments.most)
    check_range(0, 65535, port=arguments.port)
    if arguments.photos is not None and not arguments.photos.is_dir():
        raise InputError(f"--photos: no folder '{arguments.photos}'")
    detector = advised(fsdet.load(arguments.detector, arguments.device), arguments.device)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # gradio reads it when imported
    with sole_writer(arguments.folder), private_uploads():
        from fsdet.apps.studio import page
        from fsdet.apps.studio.store import Limits, Store
        from fsdet.apps.studio.studio import Studio

        limits = Limits(arguments.megabytes, arguments.megapixels, arguments.most)
        studio = Studio(Store(arguments.folder, limits), detector, arguments.photos)
        secret = session_secret(arguments.folder)
        page.serve(studio, arguments.host, arguments.port, password, secret)


@contextmanager
def private_uploads() -> Iterator[None]:
    """A folder for Gradio's uploads and pictures that only this user can open, deleted at the end.

    Gradio's own, in the temporary folder, is open to all users of the machine. GRADIO_TEMP_DIR of
    the environment is kept. Gradio reads it when imported. SIGTERM ends the program as Ctrl-C does,
    so that the folder is deleted then too.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if os.environ.get("GRADIO_TEMP_DIR"):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="fsdet-studio-", ignore_cleanup_errors=True) as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        yield


def session_secret(folder: Path) -> str:
    """The key that encrypts session ids in the browser, created once per folder of sessions."""
    file = folder / "secret"
    if not file.is_file():
        write_whole(file, lambda new: new.write_text(secrets.token_hex(32)))
        file.chmod(0o600)
    return file.read_text()
