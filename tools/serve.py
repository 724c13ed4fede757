"""Answer over HTTP, also as Label Studio's machine learning backend (at /label-studio); see /docs.

examples:
  python tools/serve.py runs/quickstart --save runs/learned.safetensors
  FSDET_PASSWORD=... python tools/serve.py runs/mine --host 0.0.0.0
"""

import os
import socket
from dataclasses import replace
from pathlib import Path

import torch

import fsdet
from fsdet.api import detector_file
from fsdet.cli import program
from fsdet.errors import InputError, needs


def main() -> None:
    parser = program.Parser(__doc__, "tools/serve.py RUN [options]")
    parser.add_argument("run", metavar="RUN", help="a run folder or a detector.safetensors")
    parser.add_argument("--save", type=Path, metavar="FILE", help="keeps what is registered")
    parser.add_argument("--host", default="127.0.0.1", help="others need a password")
    parser.add_argument("--port", type=int, default=8000, help="default: 8000; 0: any")
    parser.add_argument(
        "--password", metavar="WORD", help="default: that of the environment, FSDET_PASSWORD"
    )
    parser.add_argument(
        "--megapixels", type=float, default=25, metavar="N", help="of an image; default: 25"
    )
    parser.add_argument("--threads", type=int, help="that predict; default: one a core")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--label-studio", metavar="URL", help="its images are fetched")
    parser.add_argument("--label-studio-token", metavar="T")
    parser.add_argument("--label-studio-files", type=Path, metavar="DIR")
    words = parser.parse_args()
    needs("the service", ("fastapi", "python_multipart", "uvicorn"), "serve")
    import uvicorn

    from fsdet.apps.serve.app import application
    from fsdet.apps.serve.limits import Limits
    from fsdet.apps.serve.service import Service
    from fsdet.apps.serve.source import Source

    password = program.password_for(words.host, words.password)
    threads = torch.get_num_threads() if words.threads is None else words.threads
    program.within(0.01, 100, megapixels=words.megapixels)
    program.within(1, 64, threads=threads)
    program.within(0, 65535, port=words.port)
    limits = replace(Limits(), pixels=round(words.megapixels * 1e6))
    token = words.label_studio_token or os.environ.get("LABEL_STUDIO_API_KEY")
    source = Source(limits, words.label_studio, token, words.label_studio_files)
    if (
        words.save
        and detector_file.file_of(words.run).resolve() == detector_file.place(words.save).resolve()
    ):
        raise InputError(f"--save: expected another file than that of RUN, '{words.save}'")
    service = Service(fsdet.load(words.run, words.device), limits, words.save, threads)
    listening = listen(words.host, words.port)
    app = application(service, password, source=source)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5)
    host = f"[{words.host}]" if ":" in words.host else words.host
    print(
        f"http://{host}:{listening.getsockname()[1]}/docs: {service.snapshot.detector!r}",
        flush=True,
    )
    uvicorn.Server(config).run([listening])


def listen(host: str, port: int) -> socket.socket:
    """A socket that waits for clients; port 0 is any that is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise InputError(f"cannot listen at {host}, port {port}: {error.strerror}") from error


if __name__ == "__main__":
    program.main(main)
