"""Load of the HTTP service: answers a second, their times, answers under teaching, memory over registrations.

Clients send JPEG files, each the next one as soon as the last is answered. With --before, a second service runs
the code of another checkout, and the two take turns. Memory is that of the service's process (Linux), while images
of many sizes are registered and forgotten.

examples:
  python benchmarks/serve_load.py runs/quickstart --images bccd/JPEGImages --before ../fsdet-before
  python benchmarks/serve_load.py runs/quickstart --images bccd/JPEGImages --turns 0 --registrations 1000
"""

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fsdet.cli import program
from fsdet.errors import InputError

HERE = Path(__file__).parents[1]
DETECT = "/detect?threshold=0.05"
LESSON = "/categories/lesson"
BOUNDARY = "fsdet-load"


def main() -> None:
    usage = "RUN --images FOLDER [options]"
    parser = program.Parser("benchmarks/serve_load.py", usage, __doc__)
    add = parser.add_argument
    add("run", metavar="RUN")
    add("--images", type=Path, required=True, metavar="FOLDER", help="of JPEG files")
    add("--before", type=Path, metavar="CHECKOUT", help="its service takes turns with this one")
    add("--clients", type=int, default=8, help="default: 8")
    add("--seconds", type=float, default=15, help="of a turn; default: 15")
    add("--turns", type=int, default=4, help="of each service; default: 4; 0: only memory")
    add("--registrations", type=int, default=0, help="registered and forgotten; default: 0")
    arguments = parser.parse_args()
    files = [file.read_bytes() for file in sorted(arguments.images.glob("*.jpg"))[:32]]
    if not files:
        raise InputError(f"--images: no JPEG file (*.jpg) in '{arguments.images}'")
    checkouts = {"before": arguments.before, "now": HERE} if arguments.before else {"now": HERE}
    with ExitStack() as stack:
        services = {
            name: stack.enter_context(serving(checkout, arguments.run))
            for name, checkout in checkouts.items()
        }
        if arguments.turns:
            load(services, files, arguments.clients, arguments.turns, arguments.seconds)
        if arguments.registrations:
            memory(services, arguments.registrations)


class Service:
    """A running service: its port and its process."""

    def __init__(self, port: int, pid: int):
        self.port, self.pid = port, pid

    def client(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def megabytes(self) -> float:
        """Resident memory of the process."""
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in rollup if line.startswith("Rss:")) / 1024


@contextmanager
def serving(checkout: Path, run: str) -> Iterator[Service]:
    """A service with the code of a checkout, in a process of its own."""
    command = [sys.executable, "tools/serve.py", str(Path(run).absolute()), "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(checkout.absolute())}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, cwd=checkout
    ) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().removeprefix("http://127.0.0.1:").split("/")[0]
            yield Service(int(port), process.pid)
        finally:
            process.terminate()


def load(
    services: dict[str, Service], files: list[bytes], clients: int, turns: int, seconds: float
) -> None:
    """Print answers a second and their times, alone and while a client teaches, turn by turn."""
    expected = {name: answers(service, files) for name, service in services.items()}
    for teaching in (False, True):
        times: dict[str, list[float]] = {name: [] for name in services}
        wrong = dict.fromkeys(services, 0)
        for _ in range(turns):
            for name, service in services.items():
                stop = threading.Event()
                teacher = threading.Thread(target=teach, args=(service, files[0], stop))
                if teaching:
                    teacher.start()
                took, differing = turn(service, files, expected[name], clients, seconds)
                times[name] += took
                wrong[name] += differing
                stop.set()
                if teaching:
                    teacher.join()
        for name, took in times.items():
            middle, late = 1000 * np.percentile(took, [50, 99])
            print(
                f"{name}{', while a client teaches' if teaching else ''}: {clients} clients,"
                f" {len(took) / (turns * seconds):.1f} answers a second, p50 {middle:.0f} ms, p99"
                f" {late:.0f} ms; {wrong[name]} of {len(took)} inconsistent",
                flush=True,
            )


def answers(service: Service, files: list[bytes]) -> dict[str, list[Any]]:
    """The detections in each file by version of the detector: without the lesson, and with it."""
    client, known = service.client(), {}
    for learned in (False, True):
        if learned:
            register(client, files[0])
        found = [ask(client, file) for file in files]
        known[found[0]["version"]] = [one["detections"] for one in found]
    forget(client)
    return known


def turn(
    service: Service, files: list[bytes], known: dict, clients: int, seconds: float
) -> tuple[list[float], int]:
    """Seconds of each answer of a turn, and how many differ from those of their version."""
    end = time.monotonic() + seconds
    times, wrong = [], []

    def work(first: int) -> None:
        client, n = service.client(), first
        while time.monotonic() < end:
            start = time.monotonic()
            answer = ask(client, files[n % len(files)])
            times.append(time.monotonic() - start)
            if not equal(answer["detections"], known[answer["version"]][n % len(files)]):
                wrong.append(n)
            n += 1

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(work, range(0, 5 * clients, 5)))
    return times, len(wrong)


def equal(found: list[dict], expected: list[dict]) -> bool:
    """Whether detections are the same up to rounding: 1e-4 in scores, a hundredth of a pixel in boxes."""
    return len(found) == len(expected) and all(
        one["name"] == other["name"]
        and abs(one["score"] - other["score"]) < 1e-4
        and np.allclose(one["box"], other["box"], atol=1e-2)
        for one, other in zip(found, expected, strict=True)
    )


def teach(service: Service, file: bytes, stop: threading.Event) -> None:
    client = service.client()
    while not stop.is_set():
        register(client, file)
        forget(client)


def memory(services: dict[str, Service], registrations: int) -> None:
    """Print resident memory while images of many sizes are registered and forgotten."""
    rng = np.random.default_rng(0)
    clients = {name: service.client() for name, service in services.items()}
    for n in range(registrations + 1):
        if n % max(1, registrations // 10) == 0:
            shown = (f"{name} {service.megabytes():.0f} MB" for name, service in services.items())
            print(f"after {n} registrations: {', '.join(shown)}", flush=True)
        height, width = rng.integers(100, 1200, 2).tolist()
        image = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
        file = cv2.imencode(".jpg", image)[1].tobytes()
        for client in clients.values():
            register(client, file)
            ask(client, file)
            forget(client)


def ask(client: http.client.HTTPConnection, file: bytes) -> dict:
    return request(client, "POST", DETECT, file, "image/jpeg")


def register(client: http.client.HTTPConnection, file: bytes) -> None:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="boxes"\r\n\r\n[[[10,10,60,60]]]\r\n',
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n',
    ]
    body = "".join(parts).encode() + file + f"\r\n--{BOUNDARY}--\r\n".encode()
    request(client, "POST", LESSON, body, f"multipart/form-data; boundary={BOUNDARY}")


def forget(client: http.client.HTTPConnection) -> None:
    request(client, "DELETE", LESSON, b"", "text/plain")


def request(client: http.client.HTTPConnection, method: str, path: str, body: bytes, kind: str):
    """The JSON of an answer.

    Raises:
        InputError: it is a refusal.
    """
    client.request(method, path, body, {"Content-Type": kind})
    answer = client.getresponse()
    content = json.loads(answer.read())
    client.close()  # the service would close it, after five idle seconds; the next request opens another
    if answer.status >= 300:
        raise InputError(f"{method} {path}: {answer.status} {content}")
    return content


if __name__ == "__main__":
    program.exit_with(main)
