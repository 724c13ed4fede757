"""Files from a server, whole or to be continued.

`torchvision.datasets.utils` and pooch check what they download but start anew after every interruption, which
is no way to 20 GB; huggingface_hub goes on, but with its own host only. So: urllib, byte ranges, a checksum.
"""

import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tqdm import tqdm

from fsdet.errors import InputError

CHUNK = 2**20
TIMEOUT = 60.0  # seconds without a byte
PAUSE = 5.0  # seconds before a cut connection is taken up again
RESUME_HINT = "downloaded parts are kept, the same command resumes"
MEANS = {404: "has no such file", 416: "has a shorter file than expected"}

bytes_bar = partial(tqdm, unit="B", unit_scale=True, disable=None, leave=False)


def fetch(url: str, to: Path, size: int, sha256: str) -> None:
    """Download a file; under its name it is whole.

    Until then it is `to` with `.part` behind it, and the next call goes on from there if the server
    can. A cut connection is taken up again as long as something comes. A file that has the name
    already, from elsewhere, counts as what has come: it is completed if need be, and checked.

    Args:
        url: http or https.
        to: the file, in a folder that exists.
        size: bytes of the whole file.
        sha256: its checksum, in lower case.

    Raises:
        InputError: no connection, no such file, or one of another size; the part is kept. Another
            checksum: the file is kept with `.wrong` behind its name, and the next call starts anew.
    """
    part = beside(to, ".part")
    if to.exists():
        os.replace(to, part)
    _receive(url, part, size)
    actual = _sha256(part)
    if actual != sha256:
        wrong = beside(to, ".wrong")
        os.replace(part, wrong)
        raise InputError(
            f"{url}: expected a file with SHA-256 {sha256}, got {actual}; it is kept as '{wrong}', "
            "which may be removed; the same command downloads it anew, with --mirror URL from elsewhere"
        )
    os.replace(part, to)


def beside(file: Path, ending: str) -> Path:
    """The file with something behind its name."""
    return file.with_name(file.name + ending)


def length(file: Path) -> int:
    """Bytes of a file; 0 if there is none."""
    return file.stat().st_size if file.exists() else 0


def _receive(url: str, part: Path, size: int) -> None:
    """Append to the part until it has the size; without ranges from the server, begin again."""
    with bytes_bar(desc=part.stem, total=size, initial=length(part)) as bar:
        while (before := length(part)) < size:
            with _ask(url, before, size) as answer:
                mode = "ab" if answer.status == http.client.PARTIAL_CONTENT else "wb"
                with open(part, mode) as file:
                    bar.n = file.tell()
                    for chunk in _chunks(answer, size - bar.n):
                        file.write(chunk)
                        bar.update(len(chunk))
            now = length(part)
            if now <= before:  # nothing, or no more than the last time from the beginning
                anew = "the server cannot go on with a file, the same command begins again"
                rest = anew if before and mode == "wb" else RESUME_HINT
                raise InputError(f"{url}: cut at {now} of {size} bytes; {rest}")
            if now < size:
                time.sleep(PAUSE)


def _ask(url: str, start: int, size: int) -> http.client.HTTPResponse:
    """An answer with the bytes of a file from `start` on, or with all, as its status says."""
    if not url.startswith(("http://", "https://")):
        raise InputError(f"expected an address that begins with http:// or https://, got '{url}'")
    headers = {"User-Agent": "fsdet"}  # some hosts refuse urllib's
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        request = urllib.request.Request(url, headers=headers)
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        means = MEANS.get(error.code, "does not give it")
        raise InputError(
            f"{url}: the server {means} ({error.code} {error.reason}); "
            "another server of the same files: --mirror URL"
        ) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise InputError(
            f"{url}: no connection ({getattr(error, 'reason', None) or error}); needed: a network, "
            f"perhaps https_proxy in the environment, or --mirror URL; {RESUME_HINT}"
        ) from None
    content_range = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
    if answer.status == http.client.PARTIAL_CONTENT:
        promised = (int(content_range[1]), int(content_range[2])) if content_range else (-1, -1)
        expected = (start, size)
    else:
        promised = (0, size if answer.length is None else answer.length)
        expected = (0, size)
    if promised != expected:
        answer.close()
        raise InputError(
            f"{url}: expected a file of {size} bytes from byte {expected[0]} on, the server has "
            f"one of {promised[1]} from byte {promised[0]} on; another server: --mirror URL"
        )
    return answer


def _chunks(answer: http.client.HTTPResponse, most: int) -> Iterator[bytes]:
    """What comes, until it ends, is cut or is more than expected: the length tells which it was."""
    while most >= 0:
        try:
            chunk = answer.read1(CHUNK)
        except (OSError, http.client.HTTPException):
            return
        if not chunk:
            return
        most -= len(chunk)
        yield chunk


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with open(file, "rb") as content, bytes_bar(desc="checking", total=length(file)) as bar:
        while chunk := content.read(CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()
