"""Serve a detector over HTTP, also as Label Studio's backend (at /label-studio); see /docs.

examples:
  fsdet serve runs/quickstart --save runs/learned.safetensors
  FSDET_PASSWORD=... fsdet serve runs/mine --host 0.0.0.0
"""

import os
import socket
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fsdet.cli.program import Parser, add_device, add_run, check_range, password_for
from fsdet.errors import InputError, needs

if TYPE_CHECKING:
    from fsdet.apps.serve.service import Service
    from fsdet.apps.serve.source import Source

USAGE = "RUN [options]"
DRAIN = 30  # seconds for the requests that are in progress when SIGTERM arrives


def add_arguments(parser: Parser) -> None:
    add = parser.add_argument
    add_run(parser)
    add("--save", type=Path, metavar="FILE", help="stores registered categories here")
    add("--host", default="127.0.0.1", help="any other needs a password")
    add("--port", type=int, default=8000, help="default: 8000; 0: any free port")
    add("--password", metavar="WORD", help="default: FSDET_PASSWORD")
    add("--megapixels", type=float, default=25, metavar="N", help="per image; default: 25")
    add("--threads", type=int, help="for predictions; default: one per core")
    add("--log", type=Path, metavar="FILE", help="appends a line of JSON for each request")
    add_device(parser)
    add("--label-studio", metavar="URL", help="Label Studio's address, to fetch images")
    add("--label-studio-token", metavar="T")
    add("--label-studio-files", type=Path, metavar="DIR")


def run(arguments: Namespace) -> None:
    needs("the service", ("fastapi", "python_multipart", "uvicorn"), "serve")
    import uvicorn

    from fsdet.apps.hosts import names_of
    from fsdet.apps.serve.app import application
    from fsdet.apps.serve.connections import Protocol, limit_unread
    from fsdet.apps.serve.observer import request_log

    password = password_for(arguments.host, arguments.password)
    check_range(0.01, 100, megapixels=arguments.megapixels)
    check_range(0, 65535, port=arguments.port)
    observers = [request_log(arguments.log)] if arguments.log else []
    service, source = build(arguments)
    server = listen(arguments.host, arguments.port)
    limit_unread(server)
    app = application(service, password, names_of(arguments.host), source, observers)
    config = uvicorn.Config(
        app, http=Protocol, log_level="warning", timeout_graceful_shutdown=DRAIN, backlog=64
    )
    host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    print(
        f"http://{host}:{server.getsockname()[1]}/docs: {service.snapshot.detector!r}", flush=True
    )
    uvicorn.Server(config).run([server])


def build(arguments: Namespace) -> "tuple[Service, Source]":
    """The service around the detector, and the source of Label Studio's images."""
    import torch

    import fsdet
    from fsdet.api import detector_file
    from fsdet.apps.serve.limits import Limits
    from fsdet.apps.serve.service import Service
    from fsdet.apps.serve.source import Source

    threads = torch.get_num_threads() if arguments.threads is None else arguments.threads
    check_range(1, 64, threads=threads)
    limits = replace(Limits(), pixels=round(arguments.megapixels * 1e6))
    token = arguments.label_studio_token or os.environ.get("LABEL_STUDIO_API_KEY")
    source = Source(limits, arguments.label_studio, token, arguments.label_studio_files)
    if arguments.save:
        saved = detector_file.save_path(arguments.save).resolve()
        if detector_file.load_path(arguments.run).resolve() == saved:
            raise InputError(f"--save: expected another file than that of RUN, '{arguments.save}'")
    detector = fsdet.load(arguments.run, arguments.device)
    return Service(detector, limits, arguments.save, threads), source


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any free port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise InputError(f"cannot listen at {host}, port {port}: {error.strerror}") from error
